//! Looking at stores from outside, while nothing runs on them.

use std::{collections::BTreeMap, sync::Arc};

use hanse_log::tables::{CURSORS, LOG, RELAYED, SLOTS as SLOTS_TABLE};
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Direction, Key, Kind, Outcome, Range, Row,
    Scan, Store, Table, Value,
};
use hanse_store_embedded::EmbeddedStore;

use crate::world::SLOTS;

/// Segments that are looked for in a slot.
const SEGMENTS_MAX: i64 = 16;

/// Every stored stamped row: by table and key, the bytes.
pub(crate) type Dump = BTreeMap<(&'static str, Vec<u8>), Vec<u8>>;

/// All stamped tables there are.
fn stamped() -> Vec<&'static Table> {
    let tables = [hanse_room::tables(), hanse_user::tables(), vec![&RELAYED]].concat();
    let stamped = tables
        .into_iter()
        .filter(|table| table.kind == Kind::Stamped);
    stamped.collect()
}

pub(crate) async fn dump(store: &Arc<EmbeddedStore>) -> Dump {
    let mut dump = Dump::new();
    store.create_tables(&stamped()).await.unwrap();
    for table in stamped() {
        let mut add = |key: &[u8], row: &[u8]| {
            dump.insert((table.name, key.to_vec()), row.to_vec());
        };
        store.each_stored_row(table, &mut add).unwrap();
    }
    dump
}

/// How many rows.
pub(crate) fn rows(dump: &Dump) -> usize {
    dump.len()
}

/// The rows that are in one only, or not the same in both.
pub(crate) fn differences(before: &Dump, after: &Dump) -> Vec<String> {
    let keys = before
        .keys()
        .chain(after.keys().filter(|key| !before.contains_key(*key)));
    let differing = keys.filter(|key| before.get(*key) != after.get(*key));
    differing
        .map(|(table, key)| format!("{table}: {}", String::from_utf8_lossy(key)))
        .collect()
}

async fn log_tables(store: &Arc<EmbeddedStore>) {
    let tables: [&'static Table; 4] = [&LOG, &SLOTS_TABLE, &CURSORS, &RELAYED];
    store.create_tables(&tables).await.unwrap();
}

async fn segment(store: &Arc<EmbeddedStore>, slot: u32, segment: i64) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    loop {
        let last = rows.last().map(|row| row.clustering.clone());
        let scan = Scan {
            table: &LOG,
            partition: vec![i64::from(slot).into(), segment.into()],
            range: last.map_or_else(Range::all, Range::after),
            direction: Direction::Forward,
            limit: 1_000,
        };
        let page = store.scan(scan).await.unwrap();
        rows.extend(page.rows);
        if !page.more {
            return rows;
        }
    }
}

fn named(columns: &[hanse_store::Column], values: &[Value]) -> Vec<(&'static str, Value)> {
    let pairs = columns
        .iter()
        .map(|column| column.name)
        .zip(values.iter().cloned());
    pairs.filter(|(_, value)| *value != Value::Null).collect()
}

async fn write(
    store: &Arc<EmbeddedStore>,
    table: &'static Table,
    partition: Vec<Value>,
    step: ConditionalStep,
) {
    let batch = ConditionalBatch {
        table,
        partition,
        steps: vec![step],
    };
    let outcome = store.conditional(batch).await.unwrap();
    assert_eq!(outcome, Outcome::Applied);
}

/// Copies every slot's log, and nothing else, into an empty store.
pub(crate) async fn copy_log(from: &Arc<EmbeddedStore>, to: &Arc<EmbeddedStore>) {
    log_tables(from).await;
    log_tables(to).await;
    for slot in 0..SLOTS {
        for number in 0..SEGMENTS_MAX {
            let partition: Vec<Value> = vec![i64::from(slot).into(), number.into()];
            let key = Key::partition(partition.clone());
            let Some(head) = from.get(&LOG, &key, Consistency::Serial).await.unwrap() else {
                break;
            };
            let set = named(LOG.statics, &head.statics);
            let step = ConditionalStep::InsertStaticsIfNotExists { set };
            write(to, &LOG, partition.clone(), step).await;
            for row in segment(from, slot, number).await {
                let step = ConditionalStep::InsertIfNotExists {
                    set: named(LOG.values, &row.values),
                    clustering: row.clustering,
                };
                write(to, &LOG, partition.clone(), step).await;
            }
        }
    }
}

/// Makes the next owner replay every slot from its first batch.
pub(crate) async fn forget_checkpoints(store: &Arc<EmbeddedStore>) {
    log_tables(store).await;
    for slot in 0..SLOTS {
        let partition: Vec<Value> = vec![i64::from(slot).into()];
        let key = Key::partition(partition.clone());
        let row = store
            .get(&SLOTS_TABLE, &key, Consistency::Serial)
            .await
            .unwrap()
            .unwrap();
        let checkpoint = SLOTS_TABLE.value_index("checkpoint").unwrap();
        let step = ConditionalStep::Update {
            clustering: Vec::new(),
            set: vec![("segment", 0.into()), ("checkpoint", 0.into())],
            conditions: vec![("checkpoint", row.values[checkpoint].clone())],
        };
        write(store, &SLOTS_TABLE, partition, step).await;
    }
}

/// What a replay would use that took its stamps from a later clock.
pub(crate) async fn move_stamps(store: &Arc<EmbeddedStore>, by: i64) {
    log_tables(store).await;
    let column = LOG.value_index("stamp_start").unwrap();
    for slot in 0..SLOTS {
        for number in 0..SEGMENTS_MAX {
            for row in segment(store, slot, number).await {
                let stamp = row.values[column].as_i64().unwrap();
                let step = ConditionalStep::Update {
                    clustering: row.clustering,
                    set: vec![("stamp_start", (stamp + by).into())],
                    conditions: vec![("stamp_start", stamp.into())],
                };
                let partition = vec![i64::from(slot).into(), number.into()];
                write(store, &LOG, partition, step).await;
            }
        }
    }
}
