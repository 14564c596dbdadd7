//! What must hold at the end of a run: the tables against the truth, and replays against the tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hanse_log::{
    LogParts, SlotLogs, SlotMap,
    tables::{CURSORS, HEADS, LOG, SLOTS},
};
use hanse_runtime::Clock;
use hanse_store::{ConditionalBatch, ConditionalStep, Key, Outcome, StoreError, Table, Value};
use tokio::time::Instant;

use crate::{
    clock::SimClock,
    dice::Dice,
    domain::{ARCHIVES, HISTORY, Recorder},
    executor::ProcessId,
    store::{Cell, Commit, Data, Link, ProcessStore, Rates, SimStore, Weather},
    truth::Truth,
    world::World,
};

/// Every stored row of the archives.
type Dump = BTreeMap<(&'static str, Key), Cell>;

pub(crate) async fn check(world: &Arc<World>) {
    let ground = &world.ground;
    world.check_all_acknowledged();
    check_log(world);
    let mut found = ground.store.inspect(dump);
    let lost = still_lost(&ground.truth, &found);
    let without_lost = |mut dump: Dump| {
        dump.retain(|at, _| !lost.contains(at));
        dump
    };
    found = without_lost(found);
    let expected = without_lost(expected(&ground.truth, ground.plan.slots));
    compare(
        "the archives are what the log says",
        world,
        &expected,
        &found,
    );
    for time in ["first", "second"] {
        match replay(world, time).await {
            Ok(replayed) => {
                let replayed = without_lost(replayed);
                compare("replay writes the same rows", world, &found, &replayed);
            }
            Err(error) => ground
                .scene
                .violated("a log can be replayed", format_args!("{error}")),
        }
    }
}

/// Rows that a disk lost and that nobody had to write again yet: they are still in the log.
fn still_lost(truth: &Truth, found: &Dump) -> BTreeSet<(&'static str, Key)> {
    let at = |key: &Key| (HISTORY.name, key.clone());
    let is_there = |key: &Key, stamp| {
        let cell = found.get(&at(key));
        cell.is_some_and(|cell| cell.stamp >= Some(stamp))
    };
    let lost = truth.still_lost(is_there);
    lost.iter().map(at).collect()
}

fn dump(data: &Data) -> Dump {
    let tables = ARCHIVES.iter();
    let cells = tables.flat_map(|table| {
        data.cells(table)
            .map(|(key, cell)| ((table.name, key), cell.clone()))
    });
    cells.collect()
}

fn compare(check: &'static str, world: &World, expected: &Dump, found: &Dump) {
    if expected == found {
        return;
    }
    let differs = expected
        .iter()
        .find(|(key, cell)| found.get(key) != Some(cell));
    let extra = found.iter().find(|(key, _)| !expected.contains_key(key));
    world.ground.scene.violated(
        check,
        format_args!(
            "expected {differs:?}, found {:?}; too much: {extra:?}",
            differs.and_then(|(key, _)| found.get(key))
        ),
    );
}

/// The rows that all batches that ever landed leave behind.
fn expected(truth: &Truth, slots: u32) -> Dump {
    let mut dump = Dump::new();
    for slot in 0..slots {
        for batch in truth.batches(slot) {
            for row in batch.rows() {
                let at = (row.table().name, row.key().clone());
                let cell = Cell::of(row, 0);
                match dump.get(&at) {
                    Some(before) if before.stamp >= cell.stamp => {}
                    _ => {
                        dump.insert(at, cell);
                    }
                }
            }
        }
    }
    dump
}

/// What is still in table `log` is what landed there.
fn check_log(world: &World) {
    let ground = &world.ground;
    let bodies: BTreeMap<Key, Value> = ground.store.inspect(|data| {
        let rows = data.cells(&LOG);
        let body = |(key, cell): (Key, &Cell)| Some((key, cell.values.as_ref()?.get(2)?.clone()));
        rows.filter_map(body).collect()
    });
    let mut expected = BTreeMap::new();
    for slot in 0..ground.plan.slots {
        for (seq, batch) in (1i64..).zip(ground.truth.batches(slot)) {
            if ground.truth.is_trimmed(slot, seq) {
                continue;
            }
            let key = Key::new(
                vec![i64::from(slot).into(), batch.segment.into()],
                vec![seq.into()],
            );
            expected.insert(key, Value::from(batch.body.clone()));
        }
    }
    if bodies != expected {
        let (found, landed) = (bodies.len(), expected.len());
        ground.scene.violated(
            "the log keeps what landed",
            format_args!("{found} rows, {landed} landed"),
        );
    }
}

/// A store that holds nothing but the logs, replayed by the code under test.
async fn replay(world: &Arc<World>, time: &str) -> Result<Dump, String> {
    let ground = &world.ground;
    let process = ground.next_process();
    let clock = SimClock::starting_at(Instant::now());
    let store = SimStore::new(clock.clone());
    let tables: Vec<&Table> = [&LOG, &SLOTS, &CURSORS, &HEADS]
        .into_iter()
        .chain(ARCHIVES)
        .collect();
    store
        .create_tables(&tables)
        .map_err(|error| error.to_string())?;
    for slot in 0..ground.plan.slots {
        copy_log(&store, process, slot, &ground.truth).map_err(|error| error.to_string())?;
    }
    let dice = Dice::new(ground.seed, &format!("replay {time}"));
    let reached = ProcessStore {
        scene: ground.scene.clone(),
        store: store.clone(),
        process,
        link: Arc::new(Link::default()),
        weather: Weather::new(Rates::calm()),
        dice: dice.clone(),
        death: Arc::new(|_, _| {}),
        calls: Arc::default(),
    };
    let tasks = ground.scene.executor.tasks(process);
    let parts = LogParts {
        store: Arc::new(reached),
        applier: Arc::new(Recorder),
        clock: Arc::new(clock) as Arc<dyn Clock>,
        random: dice.random(),
        tasks: tasks.clone(),
        map: SlotMap::initial(ground.plan.slots),
        owner: "replay".to_owned(),
        segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
        consumers: Vec::new(),
        cluster: None,
    };
    let opened = tasks.spawn("replay", SlotLogs::open(parts)).await;
    ground.scene.executor.kill(process);
    match opened {
        Ok(Ok(Ok(_))) => Ok(store.inspect(dump)),
        other => Err(format!("{other:?}")),
    }
}

fn copy_log(
    store: &SimStore,
    process: ProcessId,
    slot: u32,
    truth: &Truth,
) -> Result<(), StoreError> {
    let batches = truth.batches(slot);
    let partition: Vec<Value> = vec![i64::from(slot).into(), 0.into()];
    let step = |steps| {
        let partition = partition.clone();
        let batch = ConditionalBatch {
            table: &LOG,
            partition,
            steps,
        };
        store.decide(process, &batch, Commit::Now)
    };
    let stamp_end = batches.last().map_or(0, |batch| batch.stamp_end);
    let set = vec![
        ("epoch", 0.into()),
        ("next", (batches.len() as i64 + 1).into()),
        ("stamp_end", stamp_end.into()),
    ];
    step(vec![ConditionalStep::InsertStaticsIfNotExists { set }])?;
    for (seq, batch) in (1i64..).zip(&batches) {
        let set = vec![
            ("batch", batch.body.clone().into()),
            ("stamp_start", batch.stamp_start.into()),
            ("body", batch.body.clone().into()),
        ];
        let clustering = vec![seq.into()];
        let copied = step(vec![ConditionalStep::InsertIfNotExists { clustering, set }])?;
        debug_assert_eq!(copied, Outcome::Applied);
    }
    Ok(())
}
