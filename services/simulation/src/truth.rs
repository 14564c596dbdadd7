//! What really happened to the logs, seen at the moment at which each conditional batch is applied,
//! and what must hold at that moment.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, OnceLock},
};

use hanse_log::{LogPoint, Position, tables::HEADS};
use hanse_proto::log::{Batch, Entry};
use hanse_store::{ConditionalBatch, ConditionalStep, Key, Mutation, Value};
use parking_lot::Mutex;
use prost::Message;

use crate::{
    audit::Audit,
    domain::{Said, expected_rows},
    executor::ProcessId,
    scene::Scene,
    store::{Cell, Data, Observer, SimStore, Step},
};

/// The durable consumers of a run.
const CONSUMERS: [&str; 2] = [Audit::NAME, "relay"];

/// A batch in a slot's log.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) segment: i64,
    pub(crate) epoch: i64,
    pub(crate) stamp_start: i64,
    pub(crate) stamp_end: i64,
    pub(crate) body: bytes::Bytes,
    pub(crate) entries: Vec<Entry>,
    rows: Vec<Mutation>,
}

/// A segment's head, and who set its epoch.
#[derive(Clone, Debug)]
struct Head {
    epoch: i64,
    next: i64,
    stamp_end: i64,
    sealed: Option<i64>,
    taken_by: ProcessId,
}

#[derive(Default)]
struct SlotTruth {
    /// Batch `seq` is at index `seq - 1`.
    batches: Vec<Arc<Landed>>,
    heads: BTreeMap<i64, Head>,
    /// Up to here everything was seen in the archives.
    archived: i64,
    /// Up to here everything was seen where a loss of power leaves it.
    durable: i64,
    /// Up to which batch each consumer has done its work.
    consumed: BTreeMap<String, i64>,
    slot_row_epoch: i64,
    /// To whom the slot's row gave each epoch.
    claims: BTreeMap<i64, ProcessId>,
    checkpoint: i64,
    /// Segments that are gone.
    trimmed: BTreeSet<i64>,
}

#[derive(Default)]
struct State {
    slots: BTreeMap<u32, SlotTruth>,
    /// Where each key stands: a second time would be a repeat that was not recognised.
    keys: BTreeMap<String, (u32, i64, u32)>,
    /// The last key of each room.
    rooms: BTreeMap<String, String>,
    /// Submissions of which their caller was told that nothing was written.
    refused: BTreeSet<String>,
    /// Submissions that are in the log.
    attempts: BTreeSet<String>,
    /// Rows that were lost although their write was acknowledged, with their stamps.
    forgotten: Forgotten,
}

/// Rows by key and stamp.
type Forgotten = BTreeSet<(Key, i64)>;

/// The truth of a run.
pub(crate) struct Truth {
    scene: Scene,
    store: OnceLock<SimStore>,
    state: Mutex<State>,
}

impl Truth {
    pub(crate) fn new(scene: Scene) -> Arc<Self> {
        Arc::new(Self {
            scene,
            store: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// The store whose batches are watched.
    pub(crate) fn watch(&self, store: SimStore) {
        let _ = self.store.set(store);
    }

    /// The number of batches of a slot.
    pub(crate) fn tail(&self, slot: u32) -> i64 {
        let state = self.state.lock();
        state
            .slots
            .get(&slot)
            .map_or(0, |truth| truth.batches.len() as i64)
    }

    pub(crate) fn batch(&self, slot: u32, seq: i64) -> Option<Arc<Landed>> {
        let state = self.state.lock();
        state.slots.get(&slot)?.at(seq).cloned()
    }

    pub(crate) fn batches(&self, slot: u32) -> Vec<Arc<Landed>> {
        let state = self.state.lock();
        state
            .slots
            .get(&slot)
            .map(|truth| truth.batches.clone())
            .unwrap_or_default()
    }

    /// Where a key stands in the log.
    pub(crate) fn place_of(&self, key: &str) -> Option<(u32, Position)> {
        let (slot, seq, index) = *self.state.lock().keys.get(key)?;
        Some((slot, Position::new(seq, index)))
    }

    /// Somebody is shown the slot up to `seq`: all of it must be in the archives.
    pub(crate) fn shown(&self, slot: u32, seq: i64, how: &str) {
        let missing = self.missing(slot, seq, false);
        if let Some(missing) = missing {
            self.scene.violated(
                "nothing is shown above what is in the archives",
                format_args!("slot {slot}, {seq}, {how}: {missing}"),
            );
        }
    }

    /// What of the batches up to `seq` is not in the archives.
    pub(crate) fn missing(&self, slot: u32, seq: i64, durably: bool) -> Option<String> {
        let store = self.store.get()?;
        let mut state = self.state.lock();
        let State {
            slots, forgotten, ..
        } = &mut *state;
        let truth = slots.entry(slot).or_default();
        if seq > truth.batches.len() as i64 {
            return Some(format!("the log ends at {}", truth.batches.len()));
        }
        let seen = if durably {
            truth.durable
        } else {
            truth.archived
        };
        for at in seen + 1..=seq {
            let batch = truth.at(at).cloned()?;
            let look = |data: &Data| batch.missing_row(data, forgotten);
            let missing = if durably {
                store.inspect_durable(look)
            } else {
                store.inspect(look)
            };
            if let Some(row) = missing {
                return Some(format!("batch {at} lacks {row}"));
            }
            if durably {
                truth.durable = at;
            } else {
                truth.archived = at;
            }
        }
        None
    }

    /// Power was lost: what was seen in the archives may be gone.
    pub(crate) fn power_lost(&self) {
        for truth in self.state.lock().slots.values_mut() {
            truth.archived = truth.durable;
        }
    }

    /// A batch is handed to a reader: it must be the one that is in the log there.
    pub(crate) fn handed(&self, slot: u32, point: LogPoint, entries: &[Entry], to: &str) {
        self.shown(slot, point.seq, to);
        let Some(batch) = self.batch(slot, point.seq) else {
            return;
        };
        if batch.entries != entries || point.segment > batch.segment {
            self.scene.violated(
                "readers see what is in the log",
                format_args!("slot {slot}, {point:?}, {to}: another batch is there"),
            );
        }
    }

    /// A consumer begins with a batch. It may begin again, and after a failure where another process
    /// has come to; it may not leave out what nobody has done.
    pub(crate) fn consuming(&self, consumer: &str, slot: u32, seq: i64) {
        let done = self.consumed(consumer, slot);
        if seq > done + 1 {
            self.scene.violated(
                "a consumer sees every batch, in order",
                format_args!("{consumer}, slot {slot}: {seq}, done up to {done}"),
            );
        }
    }

    /// A consumer has done its work for a batch.
    pub(crate) fn consumed_one(&self, consumer: &str, slot: u32, seq: i64) {
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        let done = truth.consumed.entry(consumer.to_owned()).or_default();
        *done = (*done).max(seq);
    }

    pub(crate) fn consumed(&self, consumer: &str, slot: u32) -> i64 {
        let state = self.state.lock();
        let truth = state.slots.get(&slot);
        truth
            .and_then(|truth| truth.consumed.get(consumer))
            .copied()
            .unwrap_or_default()
    }

    /// Somebody was told that nothing of this submission was written, and nothing will be.
    pub(crate) fn refused(&self, key: &str, attempt: &str) {
        let mut state = self.state.lock();
        state.refused.insert(attempt.to_owned());
        let landed = state.attempts.contains(attempt);
        drop(state);
        if landed {
            self.refused_landed(key);
        }
    }

    fn refused_landed(&self, key: &str) {
        self.scene.violated(
            "what was refused is not in the log",
            format_args!("{key} is, after its caller was told that nothing was written"),
        );
    }

    /// The first relayed effect of the batches up to `seq` that is not in its target's log.
    pub(crate) fn missing_effect(&self, slot: u32, seq: i64) -> Option<String> {
        let state = self.state.lock();
        let truth = state.slots.get(&slot)?;
        let batches = truth.batches.get(..seq as usize)?;
        let entries = batches.iter().flat_map(|batch| &batch.entries);
        let effects = entries.flat_map(|entry| &entry.relays);
        let mut keys =
            effects.filter_map(|relay| Some(Said::of(relay.entry.as_ref()?)?.key().to_owned()));
        keys.find(|key| !state.keys.contains_key(key))
    }
}

impl Landed {
    pub(crate) fn rows(&self) -> &[Mutation] {
        &self.rows
    }

    /// A row that is not in the archives, and not excused.
    fn missing_row(&self, data: &Data, excused: &Forgotten) -> Option<String> {
        let missing = self.rows.iter().find(|row| {
            !is_archived(data, row) && !excused.contains(&(row.key().clone(), stamp_of(row)))
        });
        missing.map(|row| format!("a row of {}: {:?}", row.table().name, row.key()))
    }
}

/// Whether the row, or one that replaced it, is there.
fn is_archived(data: &Data, row: &Mutation) -> bool {
    let Some(cell) = data.cell(row.table(), row.key()) else {
        return false;
    };
    let expected = Cell::of(row, 0);
    cell.stamp > expected.stamp || *cell == expected
}

fn stamp_of(row: &Mutation) -> i64 {
    match row {
        Mutation::Put(put) => put.stamp,
        Mutation::Delete(delete) => delete.stamp,
    }
}

impl SlotTruth {
    fn at(&self, seq: i64) -> Option<&Arc<Landed>> {
        self.batches.get(usize::try_from(seq - 1).ok()?)
    }
}

impl Observer for Truth {
    fn applied(&self, process: ProcessId, batch: &ConditionalBatch) {
        let number = |at: usize| {
            batch
                .partition
                .get(at)
                .and_then(Value::as_i64)
                .unwrap_or(-1)
        };
        let slot = number(0) as u32;
        let named = Named::of(batch);
        let step = Step::of(batch);
        match step {
            Step::Append => self.appended(process, slot, number(1), batch, &named),
            Step::CreateSegment | Step::TakeOver | Step::Correct | Step::Seal | Step::Trim => {
                self.head_changed(process, slot, number(1), step, &named);
            }
            Step::Claim => self.claimed(process, slot, &named),
            Step::Checkpoint => self.checkpointed(slot, &named),
            Step::Cursor => self.cursor_moved(slot, batch, &named),
            _ => {}
        }
    }

    fn written(&self, mutations: &[Mutation]) {
        for mutation in mutations {
            if let Mutation::Put(put) = mutation
                && put.table == &HEADS
            {
                let number = |values: &[Value], at| values.get(at).and_then(Value::as_i64);
                let slot = number(&put.key.clustering, 0).unwrap_or(-1) as u32;
                let applied = number(&put.values, 1).unwrap_or(i64::MAX);
                self.shown(slot, applied, "table heads");
            }
        }
        self.restored(mutations);
    }

    fn forgotten(&self, mutation: &Mutation) {
        let lost = (mutation.key().clone(), stamp_of(mutation));
        self.state.lock().forgotten.insert(lost);
    }
}

/// What a batch sets, and under which conditions, by column.
struct Named {
    set: BTreeMap<&'static str, Value>,
    conditions: BTreeMap<&'static str, Value>,
}

impl Named {
    fn of(batch: &ConditionalBatch) -> Self {
        let of = |named: fn(&ConditionalStep) -> &[(&'static str, Value)]| {
            batch.steps.iter().flat_map(named).cloned().collect()
        };
        Self {
            set: of(ConditionalStep::set),
            conditions: of(ConditionalStep::conditions),
        }
    }

    fn set(&self, column: &str) -> Option<i64> {
        self.set.get(column).and_then(Value::as_i64)
    }
}

impl Truth {
    fn appended(
        &self,
        process: ProcessId,
        slot: u32,
        segment: i64,
        batch: &ConditionalBatch,
        named: &Named,
    ) {
        let inserted = batch.steps.iter().find_map(ConditionalStep::clustering);
        let seq = inserted.and_then(|key| key.first()).and_then(Value::as_i64);
        let body = named.set.get("body").and_then(Value::as_bytes);
        let decoded = body.and_then(|body| Batch::decode(body.clone()).ok());
        let (Some(seq), Some(stamp_start), Some(stamp_end), Some(body), Some(decoded)) = (
            seq,
            named.set("stamp_start"),
            named.set("stamp_end"),
            body,
            decoded,
        ) else {
            return self.broken("a batch reads back", slot, format_args!("{batch:?}"));
        };
        let rows = expected_rows(slot, seq, stamp_start, &decoded.entries);
        let epoch = self.check_append(
            process,
            slot,
            segment,
            seq,
            (stamp_start, stamp_end),
            rows.len(),
        );
        self.check_entries(slot, seq, &decoded.entries);
        self.scene
            .tally
            .add("entries in the log", decoded.entries.len() as u64);
        self.scene.tally.count("batches in the log");
        let landed = Landed {
            segment,
            epoch,
            stamp_start,
            stamp_end,
            body: body.clone(),
            entries: decoded.entries,
            rows,
        };
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        truth.batches.push(Arc::new(landed));
        if let Some(head) = truth.heads.get_mut(&segment) {
            head.next = named.set("next").unwrap_or(-1);
            head.stamp_end = stamp_end;
        }
    }

    /// What must hold when a batch lands. Gives its epoch.
    fn check_append(
        &self,
        process: ProcessId,
        slot: u32,
        segment: i64,
        seq: i64,
        stamps: (i64, i64),
        rows: usize,
    ) -> i64 {
        let state = self.state.lock();
        let Some(truth) = state.slots.get(&slot) else {
            return 0;
        };
        let tail = truth.batches.len() as i64;
        let last = truth.batches.last();
        let head = truth.heads.get(&segment).cloned();
        let before = truth.heads.get(&(segment - 1)).cloned();
        let last_stamp = last.map_or(0, |last| last.stamp_end);
        let last_epoch = last.map_or(0, |last| last.epoch);
        drop(state);
        let broken = |check, what: std::fmt::Arguments<'_>| self.broken(check, slot, what);
        if seq != tail + 1 {
            broken("positions are dense", format_args!("{seq} after {tail}"));
        }
        let Some(head) = head else {
            broken(
                "appends go to a segment that is there",
                format_args!("{segment}"),
            );
            return 0;
        };
        if head.taken_by != process {
            broken(
                "a former owner's batch is refused",
                format_args!("{seq} by {process}, but {} took the slot", head.taken_by),
            );
        }
        if head.epoch < last_epoch {
            broken(
                "epochs never go down",
                format_args!("{seq}: {} after {last_epoch}", head.epoch),
            );
        }
        if head.sealed.is_some() {
            broken(
                "nothing is appended to a sealed segment",
                format_args!("{seq} in {segment}"),
            );
        }
        if before.is_some_and(|before| before.sealed != Some(segment)) {
            broken(
                "a successor is linked before it is used",
                format_args!("{seq} in {segment}"),
            );
        }
        if stamps.0 <= last_stamp || stamps.1 < stamps.0 + (rows.max(1) as i64) - 1 {
            broken(
                "stamps are used once",
                format_args!("{seq}: {stamps:?} after {last_stamp}"),
            );
        }
        head.epoch
    }

    fn check_entries(&self, slot: u32, seq: i64, entries: &[Entry]) {
        for (index, entry) in (0..).zip(entries) {
            let Some(said) = Said::of(entry) else {
                self.broken("an entry reads back", slot, format_args!("{seq}.{index}"));
                continue;
            };
            let mut state = self.state.lock();
            let place = (slot, seq, index);
            let earlier = state.keys.insert(said.key().to_owned(), place);
            let (room_before, refused) = match &said {
                Said::Put {
                    room, key, attempt, ..
                } => {
                    state.attempts.insert(attempt.clone());
                    let before = state.rooms.insert(room.clone(), key.clone());
                    (before, state.refused.contains(attempt))
                }
                Said::Effect { .. } => (None, false),
            };
            drop(state);
            if refused {
                self.refused_landed(said.key());
            }
            if let Some(earlier) = earlier {
                self.broken(
                    "a key, or a relayed effect, is written once",
                    slot,
                    format_args!("{} at {earlier:?} and at {place:?}", said.key()),
                );
            }
            if let Said::Put {
                room, key, prev, ..
            } = said
            {
                let before = room_before.unwrap_or_else(|| "-".to_owned());
                if before != prev {
                    self.broken(
                        "a decision was made on what was before it",
                        slot,
                        format_args!("{key} in {room} at {place:?}: on {prev}, after {before}"),
                    );
                }
            }
        }
    }

    fn head_changed(&self, process: ProcessId, slot: u32, segment: i64, step: Step, named: &Named) {
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        let before = truth.heads.get(&segment).cloned();
        if step == Step::Trim {
            truth.heads.remove(&segment);
            drop(state);
            return self.trimmed(slot, segment);
        }
        let taken_by = match step {
            Step::Seal => before.as_ref().map_or(process, |head| head.taken_by),
            _ => process,
        };
        let old = before.clone().unwrap_or(Head {
            epoch: 0,
            next: 0,
            stamp_end: 0,
            sealed: None,
            taken_by,
        });
        let head = Head {
            epoch: named.set("epoch").unwrap_or(old.epoch),
            next: named.set("next").unwrap_or(old.next),
            stamp_end: named.set("stamp_end").unwrap_or(old.stamp_end),
            sealed: named.set("sealed").or(old.sealed),
            taken_by,
        };
        truth.heads.insert(segment, head.clone());
        let claimed_by = truth.claims.get(&head.epoch).copied();
        let begins_anew = step == Step::CreateSegment && segment == 0 && truth.trimmed.contains(&0);
        let links_to = (step == Step::Seal).then(|| truth.heads.get(&(segment + 1)).cloned());
        drop(state);
        if step == Step::TakeOver {
            self.scene.tally.count("takeovers");
        }
        if begins_anew {
            self.broken("a log begins once", slot, format_args!("{process}"));
        }
        if head.epoch > old.epoch && claimed_by != Some(process) {
            self.broken(
                "a log is taken under an epoch that the slot's row gave",
                slot,
                format_args!("{process}, segment {segment}: {head:?}"),
            );
        }
        if head.epoch < old.epoch {
            self.broken(
                "epochs never go down",
                slot,
                format_args!("segment {segment}: {old:?} -> {head:?}"),
            );
        }
        if let Some(successor) = links_to {
            self.scene.tally.count("successions");
            let continues = successor.as_ref().is_some_and(|successor| {
                (successor.next, successor.stamp_end) == (old.next, old.stamp_end)
                    && successor.epoch >= old.epoch
            });
            if !continues {
                self.broken(
                    "a successor goes on where its segment ends",
                    slot,
                    format_args!("segment {segment}: {old:?}, then {successor:?}"),
                );
            }
        }
    }

    fn trimmed(&self, slot: u32, segment: i64) {
        self.scene.tally.count("trims");
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        truth.trimmed.insert(segment);
        let last = truth
            .batches
            .iter()
            .rposition(|batch| batch.segment <= segment);
        let last = last.map_or(0, |index| index as i64 + 1);
        let checkpoint = truth.checkpoint;
        let behind = CONSUMERS.iter().find(|consumer| {
            let done = truth.consumed.get(**consumer).copied();
            done.unwrap_or_default() < last
        });
        let behind = behind.copied();
        let gone = truth
            .batches
            .iter()
            .filter(|batch| batch.segment == segment);
        let gone: Vec<_> = gone.cloned().collect();
        drop(state);
        if let Some(missing) = self.missing(slot, last, true) {
            let what = format_args!("{segment}: {missing}");
            self.broken("what is trimmed is in the archives", slot, what);
        }
        if let Some(lost) = self.lost_row(&gone) {
            let what = format_args!("{segment}: {lost}, lost before");
            self.broken("what is trimmed is in the archives", slot, what);
        }
        if checkpoint < last {
            let what = format_args!("{segment}: checkpoint {checkpoint}, last batch {last}");
            self.broken("nothing is trimmed that a replay needs", slot, what);
        }
        if let Some(consumer) = behind {
            let what = format_args!("{segment}: {consumer} has not seen it");
            self.broken("nothing is trimmed that a consumer needs", slot, what);
        }
    }

    /// A row of these batches that the archives lack, or would after a loss of power.
    fn lost_row(&self, batches: &[Arc<Landed>]) -> Option<String> {
        let nothing = Forgotten::new();
        let look = |data: &Data| {
            let mut missing = batches
                .iter()
                .map(|batch| batch.missing_row(data, &nothing));
            missing.find_map(|missing| missing)
        };
        self.store.get()?.inspect_durable(look)
    }

    /// Counts the lost rows that are written again.
    fn restored(&self, mutations: &[Mutation]) {
        let state = self.state.lock();
        let was_lost = |row: &&Mutation| {
            state
                .forgotten
                .contains(&(row.key().clone(), stamp_of(row)))
        };
        let restored = mutations.iter().filter(was_lost).count() as u64;
        drop(state);
        if restored > 0 {
            self.scene.tally.add("lost rows written again", restored);
        }
    }

    /// The rows that were lost unnoticed and are still not there.
    pub(crate) fn still_lost(&self, is_there: impl Fn(&Key, i64) -> bool) -> Vec<Key> {
        let state = self.state.lock();
        let lost = state.forgotten.iter();
        let lost = lost.filter(|(key, stamp)| !is_there(key, *stamp));
        lost.map(|(key, _)| key.clone()).collect()
    }

    /// Whether the batch is out of the log.
    pub(crate) fn is_trimmed(&self, slot: u32, seq: i64) -> bool {
        let state = self.state.lock();
        let truth = state.slots.get(&slot);
        truth.is_some_and(|truth| {
            let batch = truth.at(seq);
            batch.is_some_and(|batch| truth.trimmed.contains(&batch.segment))
        })
    }

    fn claimed(&self, process: ProcessId, slot: u32, named: &Named) {
        let Some(epoch) = named.set("epoch") else {
            return;
        };
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        let before = std::mem::replace(&mut truth.slot_row_epoch, epoch);
        truth.claims.insert(epoch, process);
        drop(state);
        if epoch <= before {
            self.broken(
                "epochs never go down",
                slot,
                format_args!("slot row: {before} -> {epoch}"),
            );
        }
    }

    fn checkpointed(&self, slot: u32, named: &Named) {
        let Some(seq) = named.set("checkpoint") else {
            return;
        };
        self.scene.tally.count("checkpoints");
        let mut state = self.state.lock();
        let truth = state.slots.entry(slot).or_default();
        let before = std::mem::replace(&mut truth.checkpoint, seq);
        drop(state);
        if seq < before {
            let what = format_args!("{before} -> {seq}");
            self.broken("the checkpoint never goes back", slot, what);
        }
        if let Some(missing) = self.missing(slot, seq, true) {
            self.broken(
                "the checkpoint is behind the disks",
                slot,
                format_args!("{seq}: {missing}"),
            );
        }
    }

    fn cursor_moved(&self, slot: u32, batch: &ConditionalBatch, named: &Named) {
        let consumer = batch.steps.iter().find_map(ConditionalStep::clustering);
        let consumer = consumer.and_then(|key| key.first()).and_then(Value::as_str);
        let (Some(consumer), Some(position)) = (consumer, named.set("position")) else {
            return;
        };
        self.scene.tally.count("cursors moved");
        let seq = Position::from_packed(position).seq();
        let from = named.conditions.get("position").and_then(Value::as_i64);
        if from.is_some_and(|from| from >= position) {
            self.broken(
                "cursors never go back",
                slot,
                format_args!("{consumer}: {from:?} -> {position}"),
            );
        }
        if consumer == "relay" {
            if let Some(key) = self.missing_effect(slot, seq) {
                self.broken(
                    "a cursor follows the work",
                    slot,
                    format_args!("{consumer} at {seq}: {key}"),
                );
            }
            self.consumed_one("relay", slot, seq);
        } else if self.consumed(consumer, slot) < seq {
            self.broken(
                "a cursor follows the work",
                slot,
                format_args!("{consumer} at {seq}"),
            );
        }
    }

    fn broken(&self, check: &'static str, slot: u32, what: std::fmt::Arguments<'_>) {
        self.scene
            .violated(check, format_args!("slot {slot}: {what}"));
    }
}
