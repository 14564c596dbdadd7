//! The store as one process reaches it.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::future::BoxFuture;
use hanse_store::{
    ConditionalBatch, Consistency, Durability, Key, Mutation, Outcome, Page, Row, Scan, Store,
    StoreError, Table, Value,
};
use parking_lot::Mutex;
use tokio::{sync::oneshot, time::sleep};

use super::{
    Commit, Link, Moment, Rates, SimStore, Step,
    fate::{Fate, Landing},
};
use crate::{
    dice::Dice,
    domain::HISTORY,
    executor::{ProcessId, WORLD},
    scene::Scene,
};

/// A page that is shorter than it could be has at most so many rows.
const SHORT_PAGE_MAX: usize = 8;

/// Ends a process where it stands.
pub(crate) type Death = Arc<dyn Fn(ProcessId, &str) + Send + Sync>;

/// The rates that hold at present. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    rates: Arc<Mutex<Arc<Rates>>>,
}

impl Weather {
    pub(crate) fn new(rates: Rates) -> Self {
        Self {
            rates: Arc::new(Mutex::new(Arc::new(rates))),
        }
    }

    pub(crate) fn now(&self) -> Arc<Rates> {
        Arc::clone(&self.rates.lock())
    }

    /// No fault begins from now on; what is under way still lands.
    pub(crate) fn calm_down(&self) {
        *self.rates.lock() = Arc::new(Rates::calm());
    }
}

/// One process's way to the store. Clones are the same way.
#[derive(Clone)]
pub(crate) struct ProcessStore {
    pub(crate) scene: Scene,
    pub(crate) store: SimStore,
    pub(crate) process: ProcessId,
    pub(crate) link: Arc<Link>,
    pub(crate) weather: Weather,
    pub(crate) dice: Dice,
    pub(crate) death: Death,
    pub(crate) calls: Arc<AtomicU64>,
}

/// One call under way.
struct Call {
    step: Step,
    number: u64,
    fate: Fate,
    /// What the caller is told if it has no answer in time.
    doubt: StoreError,
}

type Landed<T> = BoxFuture<'static, Result<T, StoreError>>;

impl ProcessStore {
    /// Sends a call, unless the process dies before that.
    async fn call<T: Send + 'static>(
        &self,
        call: Call,
        what: String,
        land: impl FnMut() -> Landed<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let Call {
            step, number, fate, ..
        } = call;
        self.die_at(Moment::Before, step).await;
        if self.stalls_at(Moment::Before, step) {
            // Goes on once it has thawed.
            tokio::task::yield_now().await;
        }
        let fault = fate.fault.unwrap_or("-");
        self.note(format_args!("#{number} {} {what} [{fault}]", step.name()));
        if let Some(fault) = fate.fault {
            self.scene.tally.count(format!("store: {fault}"));
        }
        let (answer, answered) = oneshot::channel();
        let carried = self.clone().carry(step, number, fate, land, answer);
        self.scene.executor.spawn(WORLD, carried);
        if let Ok(Ok(answer)) = tokio::time::timeout(fate.doubt, answered).await {
            return answer;
        }
        self.note(format_args!("#{number} in doubt"));
        Err(call.doubt)
    }

    /// The call's way there and back.
    async fn carry<T: 'static>(
        self,
        step: Step,
        number: u64,
        fate: Fate,
        mut land: impl FnMut() -> Landed<T>,
        answer: oneshot::Sender<Result<T, StoreError>>,
    ) {
        let mut answer = Some(answer);
        sleep(fate.out).await;
        let cut = self.link.is_cut() && self.dice.chance(500);
        if cut || fate.landing == Landing::Never {
            self.note(format_args!("#{number} never lands"));
        } else {
            let landed = land().await;
            self.note(format_args!("#{number} lands: {}", Shown(&landed)));
            if self.link.is_fatal(Moment::After, step) {
                self.dies(Moment::After, step);
            }
            self.stalls_at(Moment::After, step);
            sleep(fate.back).await;
            if !fate.mute && !self.link.is_cut() {
                let _ = answer.take().map(|answer| answer.send(landed));
            }
            if let Landing::Twice(later) = fate.landing {
                sleep(later).await;
                let landed = land().await;
                self.note(format_args!("#{number} lands again: {}", Shown(&landed)));
            }
        }
        // Whoever waits does so until its patience ends: a lost answer is not a closed line.
        if let Some(answer) = &mut answer {
            answer.closed().await;
        }
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        self.scene.note(self.process, what);
    }

    async fn die_at(&self, moment: Moment, step: Step) {
        if self.link.is_fatal(moment, step) {
            self.dies(moment, step);
            std::future::pending::<()>().await;
        }
    }

    fn dies(&self, moment: Moment, step: Step) {
        let when = match moment {
            Moment::Before => "before",
            Moment::After => "after",
        };
        (self.death)(self.process, &format!("{when} {}", step.name()));
    }

    /// Freezes the process if it is to stand still here.
    fn stalls_at(&self, moment: Moment, step: Step) -> bool {
        let Some(lasts) = self.link.stall(moment, step) else {
            return false;
        };
        let scene = self.scene.clone();
        self.note(format_args!(
            "stalls {moment:?} {} for {lasts:?}",
            step.name()
        ));
        scene.tally.count("stalls at a step");
        scene.executor.freeze(self.process);
        let (executor, process) = (scene.executor.clone(), self.process);
        executor.spawn(WORLD, async move {
            sleep(lasts).await;
            scene.note(process, format_args!("thaws"));
            scene.executor.thaw(process);
        });
        true
    }

    fn number(&self) -> u64 {
        self.calls.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether the call fails before it is sent, as if no node could be reached.
    async fn unreachable(&self, step: Step, rates: &Rates) -> Result<(), StoreError> {
        let cut = self.link.is_cut() && self.dice.chance(500);
        if !cut && !self.dice.chance(rates.unavailable) {
            return Ok(());
        }
        let fault = if cut { "cut off" } else { "unavailable" };
        self.scene.tally.count(format!("store: {fault}"));
        self.note(format_args!("{} finds the store {fault}", step.name()));
        sleep(self.dice.ms(1..=50)).await;
        Err(unavailable())
    }

    fn read(&self, step: Step, rates: &Rates) -> Call {
        let mut fate = Fate::fair(rates, &self.dice);
        if self.dice.chance(rates.lost) {
            fate.fault = Some("read lost");
            fate.mute = true;
        }
        Call {
            step,
            number: self.number(),
            fate,
            doubt: unavailable(),
        }
    }

    fn write(&self, step: Step, rates: &Rates, table: &'static str, conditional: bool) -> Call {
        let doubt = StoreError::Unknown {
            table,
            source: "no answer".into(),
        };
        Call {
            step,
            number: self.number(),
            fate: Fate::of_write(rates, &self.dice, conditional),
            doubt,
        }
    }

    /// Loses one row of a write that will be acknowledged: a disk may. Only of a table that no decision
    /// rests on, so that all else that is checked still holds; and never of a write that must be synced.
    fn forget_one(&self, rates: &Rates, mutations: &mut Vec<Mutation>) {
        let loses = |mutation: &Mutation| matches!(mutation, Mutation::Put(put) if put.table.name == HISTORY.name);
        if let Some(at) = mutations.iter().position(loses)
            && self.dice.chance(rates.forgotten)
        {
            self.scene.tally.count("store: acknowledged row lost");
            let lost = mutations.remove(at);
            self.note(format_args!("loses {}", KeyText(lost.key())));
            self.store.forget(&lost);
        }
    }

    /// How a plain write's rows land: in which groups, how far apart, and whether all of them.
    fn pieces(&self, rates: &Rates, mutations: Vec<Mutation>) -> Pieces {
        let whole = mutations.len();
        let mut pieces = Pieces {
            groups: vec![mutations],
            apart: Duration::ZERO,
            fails: false,
            synced: false,
        };
        if whole > 1 && self.dice.chance(rates.partial) {
            self.scene.tally.count("store: rows written in part");
            pieces.fails = true;
            let keep = self.dice.below(whole);
            pieces.groups = pieces
                .groups
                .concat()
                .into_iter()
                .take(keep)
                .map(|row| vec![row])
                .collect();
        } else if whole > 1 && self.dice.chance(rates.piecewise) {
            self.scene.tally.count("store: rows written piece by piece");
            let rows = pieces.groups.concat();
            let size = self.dice.below(whole) + 1;
            pieces.groups = rows.chunks(size).map(<[_]>::to_vec).collect();
            pieces.apart = self.dice.ms(1..=20);
            if self.dice.chance(500) {
                pieces.groups.reverse();
            }
        }
        pieces
    }
}

#[derive(Clone)]
struct Pieces {
    groups: Vec<Vec<Mutation>>,
    apart: Duration,
    fails: bool,
    /// They survive a loss of power once the write is acknowledged.
    synced: bool,
}

impl Pieces {
    async fn land(self, store: SimStore) -> Result<(), StoreError> {
        for group in &self.groups {
            store.apply(group)?;
            if !self.apart.is_zero() {
                sleep(self.apart).await;
            }
        }
        if self.fails {
            Err(unavailable())
        } else if self.synced {
            store.sync()
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl Store for ProcessStore {
    async fn create_tables(&self, tables: &[&'static Table]) -> Result<(), StoreError> {
        self.store.create_tables(tables)
    }

    async fn get(
        &self,
        table: &'static Table,
        key: &Key,
        consistency: Consistency,
    ) -> Result<Option<Row>, StoreError> {
        table.check_get(key, consistency)?;
        let rates = self.weather.now();
        self.unreachable(Step::Get, &rates).await?;
        let call = self.read(Step::Get, &rates);
        let (store, wanted) = (self.store.clone(), key.clone());
        self.call(
            call,
            format!("{} {}", table.name, KeyText(key)),
            move || {
                let found = store.get(table, &wanted, consistency);
                Box::pin(std::future::ready(found))
            },
        )
        .await
    }

    async fn scan(&self, mut scan: Scan) -> Result<Page, StoreError> {
        scan.check()?;
        let rates = self.weather.now();
        self.unreachable(Step::Scan, &rates).await?;
        let call = self.read(Step::Scan, &rates);
        if self.dice.chance(rates.short_page) {
            self.scene.tally.count("store: short page");
            scan.limit = self.dice.below(scan.limit.min(SHORT_PAGE_MAX)) + 1;
        }
        let (store, name) = (self.store.clone(), scan.table.name);
        let partition = ValuesText(&scan.partition).to_string();
        self.call(call, format!("{name} {partition}"), move || {
            Box::pin(std::future::ready(store.scan(&scan)))
        })
        .await
    }

    async fn apply(
        &self,
        mut mutations: Vec<Mutation>,
        durability: Durability,
    ) -> Result<(), StoreError> {
        let Some(first) = mutations.first() else {
            return Ok(());
        };
        mutations.iter().try_for_each(Mutation::check)?;
        Mutation::check_total(&mutations)?;
        let step = match first.table().name {
            "heads" => Step::Heads,
            _ => Step::Rows,
        };
        let rates = self.weather.now();
        self.unreachable(step, &rates).await?;
        let call = self.write(step, &rates, first.table().name, false);
        let (store, count) = (self.store.clone(), mutations.len());
        let synced = durability == Durability::Synced;
        if !synced {
            self.forget_one(&rates, &mut mutations);
        }
        let pieces = Pieces {
            synced,
            ..self.pieces(&rates, mutations)
        };
        self.call(call, format!("{count} rows"), move || {
            Box::pin(pieces.clone().land(store.clone()))
        })
        .await
    }

    async fn conditional(&self, batch: ConditionalBatch) -> Result<Outcome, StoreError> {
        batch.check()?;
        let step = Step::of(&batch);
        let rates = self.weather.now();
        self.unreachable(step, &rates).await?;
        let call = self.write(step, &rates, batch.table.name, true);
        let commit = match call.fate.landing {
            Landing::Uncommitted => Commit::Later,
            _ => Commit::Now,
        };
        let (store, process) = (self.store.clone(), self.process);
        let what = BatchText(&batch).to_string();
        self.call(call, what, move || {
            let decided = store.decide(process, &batch, commit);
            Box::pin(std::future::ready(decided))
        })
        .await
    }

    async fn sync(&self) -> Result<(), StoreError> {
        let rates = self.weather.now();
        self.unreachable(Step::Sync, &rates).await?;
        let call = self.read(Step::Sync, &rates);
        let store = self.store.clone();
        self.call(call, String::new(), move || {
            Box::pin(std::future::ready(store.sync()))
        })
        .await
    }
}

fn unavailable() -> StoreError {
    StoreError::Unavailable {
        source: "no node answers".into(),
    }
}

/// An answer, short.
struct Shown<'a, T>(&'a Result<T, StoreError>);

impl<T: 'static> fmt::Display for Shown<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = self.0.as_ref().map(|found| found as &dyn std::any::Any);
        match outcome.map(|found| found.downcast_ref::<Outcome>()) {
            Ok(Some(Outcome::Applied)) => f.write_str("applied"),
            Ok(Some(Outcome::Refused { .. })) => f.write_str("refused"),
            Ok(None) => f.write_str("ok"),
            Err(error) => write!(f, "{error}"),
        }
    }
}

struct ValuesText<'a>(&'a [Value]);

impl fmt::Display for ValuesText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, value) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            match value {
                Value::BigInt(number) => write!(f, "{comma}{number}")?,
                Value::Text(text) => write!(f, "{comma}{text}")?,
                Value::Boolean(flag) => write!(f, "{comma}{flag}")?,
                Value::Null => write!(f, "{comma}null")?,
                Value::Blob(bytes) => write!(f, "{comma}{} B", bytes.len())?,
            }
        }
        Ok(())
    }
}

struct KeyText<'a>(&'a Key);

impl fmt::Display for KeyText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}",
            ValuesText(&self.0.partition),
            ValuesText(&self.0.clustering)
        )
    }
}

/// A batch's partition, what it sets, and under which conditions.
struct BatchText<'a>(&'a ConditionalBatch);

impl fmt::Display for BatchText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", ValuesText(&self.0.partition))?;
        let named = |f: &mut fmt::Formatter<'_>, named: &[(&str, Value)]| {
            named.iter().try_for_each(|(name, value)| {
                write!(f, " {name}={}", ValuesText(std::slice::from_ref(value)))
            })
        };
        for step in &self.0.steps {
            named(f, step.set())?;
            if !step.conditions().is_empty() {
                f.write_str(" if")?;
                named(f, step.conditions())?;
            }
        }
        Ok(())
    }
}
