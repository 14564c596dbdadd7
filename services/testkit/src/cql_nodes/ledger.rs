//! A writer that writes down what was acknowledged, and at the end reads all of it back.
//!
//! Its log is appended to as the slot log is: one batch at a position until that is decided.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail, ensure};
use hanse_store::{
    Column, ConditionalBatch, ConditionalStep, Consistency, Direction, Durability, Key, Kind,
    Mutation, Outcome, Range, Scan, StampedPut, Store, StoreError, Table, Value,
};
use tokio::{sync::watch, time::sleep};

use super::watched::Faults;

/// How often a statement is tried that was refused by the fault.
const TRIES_MAX: u32 = 300;
const TRY_PAUSE: Duration = Duration::from_millis(100);
/// Rows written beside each batch.
const ROWS: i64 = 8;
/// Keys that are written over and over.
const KEYS: i64 = 64;
/// When the rows of the `Once` table vanish: long after the run.
const LIFE_MS: i64 = 24 * 60 * 60 * 1_000;
/// Read back at once.
const PAGE: usize = 500;

static LOG: Table = Table {
    name: "ledger_log",
    kind: Kind::Cas,
    partition: &[Column::text("name")],
    clustering: &[Column::bigint("seq")],
    statics: &[Column::bigint("epoch"), Column::bigint("next")],
    values: &[Column::text("batch_id")],
};

static ROWS_TABLE: Table = Table {
    name: "ledger_rows",
    kind: Kind::Stamped,
    partition: &[Column::bigint("key")],
    clustering: &[],
    statics: &[],
    values: &[Column::bigint("number")],
};

static ONCE: Table = Table {
    name: "ledger_once",
    kind: Kind::Once,
    partition: &[Column::bigint("number")],
    clustering: &[],
    statics: &[],
    values: &[Column::text("words")],
};

/// The ledger's tables.
pub(super) fn tables() -> [&'static Table; 3] {
    [&LOG, &ROWS_TABLE, &ONCE]
}

/// What was acknowledged.
pub(super) struct Ledger {
    store: Arc<dyn Store>,
    sabotage: bool,
    /// Batches acknowledged: their positions are 0 and on.
    batches: i64,
    /// Of each key, the last number acknowledged.
    numbers: Vec<i64>,
    /// Batches acknowledged while a node was away.
    away: u64,
    /// Errors by which an answer was delayed.
    retried: u64,
    /// Of them, unknown outcomes, and those that a read of the row settled.
    unknown: u64,
    settled_by_row: u64,
}

/// What was read back.
#[derive(Clone, Debug, Default)]
pub(super) struct Checked {
    pub(super) batches: u64,
    pub(super) batches_away: u64,
    pub(super) rows: u64,
    pub(super) retried: u64,
    pub(super) unknown: u64,
    pub(super) settled_by_row: u64,
    /// What is missing, double or another's.
    pub(super) wrong: Vec<String>,
}

fn partition() -> Vec<Value> {
    vec!["ledger".into()]
}

fn batch_id(seq: i64) -> String {
    format!("batch {seq}")
}

fn append(seq: i64) -> ConditionalBatch {
    ConditionalBatch {
        table: &LOG,
        partition: partition(),
        steps: vec![
            ConditionalStep::UpdateStatics {
                set: vec![("next", (seq + 1).into())],
                conditions: vec![("epoch", 1.into()), ("next", seq.into())],
            },
            ConditionalStep::Insert {
                clustering: vec![seq.into()],
                set: vec![("batch_id", batch_id(seq).into())],
            },
        ],
    }
}

impl Ledger {
    pub(super) fn new(store: Arc<dyn Store>, sabotage: bool) -> Self {
        Self {
            store,
            sabotage,
            batches: 0,
            numbers: vec![-1; KEYS as usize],
            away: 0,
            retried: 0,
            unknown: 0,
            settled_by_row: 0,
        }
    }

    /// Writes until it is told to stop.
    pub(super) async fn write(
        mut self,
        faults: Arc<Faults>,
        stopped: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        let set = vec![("epoch", 1.into()), ("next", 0.into())];
        let create = ConditionalBatch {
            table: &LOG,
            partition: partition(),
            steps: vec![ConditionalStep::InsertStaticsIfNotExists { set }],
        };
        ensure!(self.store.conditional(create).await? == Outcome::Applied);
        while !*stopped.borrow() {
            let seq = self.batches;
            self.append(seq).await?;
            self.batches += 1;
            self.apply(seq).await?;
            self.away += u64::from(faults.is_away());
        }
        Ok(self)
    }

    async fn append(&mut self, seq: i64) -> anyhow::Result<()> {
        let mut in_doubt = false;
        for _ in 0..TRIES_MAX {
            match self.store.conditional(append(seq)).await {
                Ok(Outcome::Applied) => return Ok(()),
                Ok(Outcome::Refused { .. }) if in_doubt => return self.check_row(seq).await,
                Ok(Outcome::Refused { current }) => {
                    bail!("batch {seq} was refused without a doubt: {current:?}")
                }
                Err(StoreError::Unknown { .. }) => {
                    self.unknown += 1;
                    in_doubt = true;
                }
                Err(StoreError::Unavailable { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            self.retried += 1;
            sleep(TRY_PAUSE).await;
        }
        bail!("position {seq} stays undecided")
    }

    /// Refused after a doubt: there is nobody else, so that the row must be ours.
    async fn check_row(&mut self, seq: i64) -> anyhow::Result<()> {
        let key = Key::new(partition(), vec![seq.into()]);
        for _ in 0..TRIES_MAX {
            match self.store.get(&LOG, &key, Consistency::Serial).await {
                Ok(row) => {
                    let row = row.with_context(|| format!("position {seq} is taken and empty"))?;
                    ensure!(row.values.first() == Some(&batch_id(seq).into()));
                    self.settled_by_row += 1;
                    return Ok(());
                }
                Err(StoreError::Unavailable { .. }) => sleep(TRY_PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
        bail!("position {seq} cannot be read")
    }

    /// Writes the rows of a batch; the last of them is the sabotage's.
    async fn apply(&mut self, seq: i64) -> anyhow::Result<()> {
        let numbers = seq * ROWS..(seq + 1) * ROWS;
        let kept = |number: &i64| !(self.sabotage && *number == ROWS - 1);
        let rows = numbers.clone().filter(kept);
        let rows: Vec<_> = rows
            .flat_map(|number| [row(number), once(number)])
            .collect();
        for _ in 0..TRIES_MAX {
            match self.store.apply(rows.clone(), Durability::Synced).await {
                Ok(()) => {
                    for number in numbers {
                        let key = number.rem_euclid(KEYS) as usize;
                        if let Some(last) = self.numbers.get_mut(key) {
                            *last = number;
                        }
                    }
                    return Ok(());
                }
                Err(StoreError::Unavailable { .. }) => self.retried += 1,
                Err(error) => return Err(error.into()),
            }
            sleep(TRY_PAUSE).await;
        }
        bail!("the rows of batch {seq} cannot be written")
    }

    /// Reads everything back.
    pub(super) async fn read_back(self) -> anyhow::Result<Checked> {
        let mut checked = Checked {
            batches_away: self.away,
            retried: self.retried,
            unknown: self.unknown,
            settled_by_row: self.settled_by_row,
            ..Checked::default()
        };
        self.read_log(&mut checked).await?;
        for (key, last) in (0..).zip(&self.numbers) {
            let key = Key::partition(vec![Value::BigInt(key)]);
            let found = self
                .store
                .get(&ROWS_TABLE, &key, Consistency::Quorum)
                .await?;
            let found = found.and_then(|row| row.values.first().and_then(Value::as_i64));
            if found.unwrap_or(-1) != *last {
                let wrong = format!("key {key:?}: {last} was acknowledged, {found:?} is there");
                checked.wrong.push(wrong);
            }
        }
        for number in 0..self.batches * ROWS {
            let key = Key::partition(vec![Value::BigInt(number)]);
            let found = self.store.get(&ONCE, &key, Consistency::Quorum).await?;
            if found.is_none() {
                checked.wrong.push(format!("row {number} is missing"));
            }
            checked.rows += 1;
        }
        Ok(checked)
    }

    async fn read_log(&self, checked: &mut Checked) -> anyhow::Result<()> {
        let mut scan = Scan {
            table: &LOG,
            partition: partition(),
            range: Range::all(),
            direction: Direction::Forward,
            limit: PAGE,
        };
        let mut seq = 0;
        loop {
            let page = self.store.scan(scan.clone()).await?;
            for row in &page.rows {
                let wanted = [Value::from(batch_id(seq))];
                if row.clustering != [seq.into()] || row.values != wanted {
                    checked.wrong.push(format!("position {seq} holds {row:?}"));
                }
                seq += 1;
            }
            let Some(last) = page.rows.last().filter(|_| page.more) else {
                break;
            };
            scan.range = Range::after(last.clustering.clone());
        }
        checked.batches = seq.unsigned_abs();
        if seq != self.batches {
            let (wanted, there) = (self.batches, seq);
            let wrong = format!("{wanted} batches were acknowledged, {there} are there");
            checked.wrong.push(wrong);
        }
        Ok(())
    }
}

fn row(number: i64) -> Mutation {
    Mutation::Put(StampedPut {
        table: &ROWS_TABLE,
        key: Key::partition(vec![number.rem_euclid(KEYS).into()]),
        values: vec![number.into()],
        stamp: number + 1,
        expires_at_ms: None,
    })
}

fn once(number: i64) -> Mutation {
    Mutation::Put(StampedPut {
        table: &ONCE,
        key: Key::partition(vec![number.into()]),
        values: vec![format!("row {number}").into()],
        stamp: 0,
        expires_at_ms: Some(hanse_runtime::SystemClock::shared().now_ms() + LIFE_MS),
    })
}
