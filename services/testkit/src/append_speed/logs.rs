//! The real slot logs: senders that wait until their entry is applied, spread over the slots.

use std::sync::Arc;

use hanse_loadtest::Latency;
use hanse_log::{AppendError, Applier, LogParts, Position, Rows, Slot, SlotLogs, SlotMap};
use hanse_proto::log::Entry;
use hanse_runtime::Tasks;
use hanse_store::{Column, Key, Kind, Store, Table};
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep, sleep_until},
};

use super::{AppendSpeed, Line, Period, surroundings};

/// Before a sender that was refused hands its entry in again.
const AGAIN_AFTER: Duration = Duration::from_millis(20);

static MEASURED: Table = Table {
    name: "measured",
    kind: Kind::Stamped,
    partition: &[Column::bigint("part")],
    clustering: &[Column::bigint("position"), Column::bigint("row")],
    statics: &[],
    values: &[Column::text("text")],
};

/// Rows of one partition of `MEASURED`: the archives of a room are cut into buckets likewise.
const PART: i64 = 1_000;

/// Writes so many rows for each entry, each with a part of its text.
struct Archive {
    rows: u32,
}

impl Applier for Archive {
    fn rows(&self, entry: &Entry, position: Position, rows: &mut Rows) {
        for row in 0..self.rows {
            let part = vec![(position.seq() / PART).into()];
            let key = Key::new(part, vec![position.packed().into(), i64::from(row).into()]);
            rows.put(&MEASURED, key, vec![entry.trace_parent.as_str().into()]);
        }
    }

    fn tables(&self) -> Vec<&'static Table> {
        vec![&MEASURED]
    }
}

pub(super) async fn measure(
    speed: &AppendSpeed,
    store: &Arc<dyn Store>,
    slots: u32,
    senders: u32,
) -> anyhow::Result<Line> {
    let (clock, random) = surroundings();
    let tasks = Tasks::new();
    let logs = SlotLogs::open(LogParts {
        store: Arc::clone(store),
        applier: Arc::new(Archive { rows: speed.rows }),
        clock,
        owner: random.alphanumeric(8),
        random,
        tasks: tasks.clone(),
        map: SlotMap::initial(slots),
        segment_bytes_max: LogParts::SEGMENT_BYTES_MAX,
        consumers: Vec::new(),
        cluster: None,
    })
    .await?;
    let period = Period::of(speed);
    let mut senders_left = JoinSet::new();
    for sender in 0..senders {
        let slot = Slot(sender % slots);
        senders_left.spawn(send(logs.clone(), slot, speed.bytes, period));
    }
    sleep_until(period.begin).await;
    let before = batches(&logs);
    sleep_until(period.end).await;
    let batches = batches(&logs) - before;
    let (mut latency, mut errors) = (Latency::new()?, 0);
    for found in senders_left.join_all().await {
        let (its, refused) = found?;
        latency.merge(&its)?;
        errors += refused;
    }
    tasks.finish().await;
    Ok(Line {
        what: format!(
            "slot logs, {slots} slots, {senders} senders of {} bytes, {} rows each",
            speed.bytes, speed.rows
        ),
        seconds: speed.measured.as_secs_f64(),
        batches,
        entries: latency.count(),
        latency,
        errors,
    })
}

/// Batches applied so far, over all slots.
fn batches(logs: &SlotLogs) -> u64 {
    let slots = logs.map().slots();
    slots
        .map(|slot| logs.applied(slot).seq().unsigned_abs())
        .sum()
}

async fn send(
    logs: SlotLogs,
    slot: Slot,
    bytes: usize,
    period: Period,
) -> anyhow::Result<(Latency, u64)> {
    let (mut latency, mut refused) = (Latency::new()?, 0);
    let entry = Entry {
        trace_parent: "x".repeat(bytes),
        ..Entry::default()
    };
    while !period.is_over() {
        let began = Instant::now();
        match applied(&logs, slot, entry.clone()).await {
            Ok(()) => {
                let ended = Instant::now();
                if period.holds(began, ended) {
                    latency.record(ended - began);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "an entry was refused");
                refused += 1;
                sleep(AGAIN_AFTER).await;
            }
        }
    }
    Ok((latency, refused))
}

async fn applied(logs: &SlotLogs, slot: Slot, entry: Entry) -> Result<(), AppendError> {
    let ticket = logs.submit(slot, None, vec![entry])?;
    ticket.applied().await.map(drop)
}
