//! The bare conditional batch: for each slot, one after the other.

use std::sync::Arc;

use anyhow::ensure;
use hanse_loadtest::Latency;
use hanse_log::tables::LOG;
use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Key, Outcome, Store, StoreError, Value,
};
use tokio::{task::JoinSet, time::Instant};

use super::{AppendSpeed, Line, Period};

/// Segments of the bare loop, so that it does not meet those of the real logs.
const SEGMENT: i64 = 1_000_000;

/// What one slot's loop found.
struct Found {
    latency: Latency,
    errors: u64,
}

pub(super) async fn measure(
    speed: &AppendSpeed,
    store: &Arc<dyn Store>,
    slots: u32,
    entries: u32,
) -> anyhow::Result<Line> {
    let period = Period::of(speed);
    let mut loops = JoinSet::new();
    for slot in 0..slots {
        let log = Log {
            store: Arc::clone(store),
            partition: vec![
                i64::from(slot).into(),
                (SEGMENT + i64::from(entries)).into(),
            ],
            body: Value::from(vec![0x5A; speed.bytes * entries as usize]),
        };
        loops.spawn(log.run(period));
    }
    let (mut latency, mut errors) = (Latency::new()?, 0);
    for found in loops.join_all().await {
        let found = found?;
        latency.merge(&found.latency)?;
        errors += found.errors;
    }
    let batches = latency.count();
    Ok(Line {
        what: format!(
            "bare conditional batch, {slots} slots, {entries} x {} bytes",
            speed.bytes
        ),
        seconds: speed.measured.as_secs_f64(),
        batches,
        entries: batches * u64::from(entries),
        latency,
        errors,
    })
}

struct Log {
    store: Arc<dyn Store>,
    partition: Vec<Value>,
    body: Value,
}

impl Log {
    async fn run(self, period: Period) -> anyhow::Result<Found> {
        let set = vec![
            ("epoch", 1.into()),
            ("next", 0.into()),
            ("stamp_end", 0.into()),
        ];
        let create = self.batch(vec![ConditionalStep::InsertStaticsIfNotExists { set }]);
        ensure!(self.store.conditional(create).await? == Outcome::Applied);
        let mut found = Found {
            latency: Latency::new()?,
            errors: 0,
        };
        for seq in 0.. {
            let began = Instant::now();
            found.errors += self.append(seq).await?;
            let ended = Instant::now();
            if period.holds(began, ended) {
                found.latency.record(ended - began);
            }
            if period.is_over() {
                break;
            }
        }
        Ok(found)
    }

    /// Proposes a batch until it is decided; gives the number of times that it was not.
    async fn append(&self, seq: i64) -> anyhow::Result<u64> {
        let mut undecided = 0;
        loop {
            match self.store.conditional(self.proposal(seq)).await {
                Ok(Outcome::Applied) => return Ok(undecided),
                Ok(Outcome::Refused { .. }) => {
                    let key = Key::new(self.partition.clone(), vec![seq.into()]);
                    let row = self.store.get(&LOG, &key, Consistency::Serial).await?;
                    ensure!(undecided > 0 && row.is_some(), "batch {seq} was refused");
                    return Ok(undecided);
                }
                Err(StoreError::Unknown { .. } | StoreError::Unavailable { .. }) => undecided += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn proposal(&self, seq: i64) -> ConditionalBatch {
        let batch_id = Value::from(u128::from(seq.unsigned_abs()).to_be_bytes().to_vec());
        let head = ConditionalStep::UpdateStatics {
            set: vec![
                ("next", (seq + 1).into()),
                ("stamp_end", seq.into()),
                ("batch_id", batch_id.clone()),
            ],
            conditions: vec![("epoch", 1.into()), ("next", seq.into())],
        };
        let row = ConditionalStep::Insert {
            clustering: vec![seq.into()],
            set: vec![
                ("batch", batch_id),
                ("stamp_start", seq.into()),
                ("body", self.body.clone()),
            ],
        };
        self.batch(vec![head, row])
    }

    fn batch(&self, steps: Vec<ConditionalStep>) -> ConditionalBatch {
        ConditionalBatch {
            table: &LOG,
            partition: self.partition.clone(),
            steps,
        }
    }
}
