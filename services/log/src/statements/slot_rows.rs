//! The statements on table `slots`.

use hanse_store::{
    ConditionalBatch, ConditionalStep, Consistency, Key, Outcome, Row, Store, StoreError, Value,
};

use super::{Statements, bigint};
use crate::{LogPoint, Slot, SlotOwner, sabotage::Sabotage, tables::SLOTS};

/// A slot's row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SlotRow {
    pub(crate) epoch: i64,
    pub(crate) owner: String,
    pub(crate) segment: i64,
    pub(crate) checkpoint: i64,
    /// Segments below are gone.
    pub(crate) trimmed: i64,
}

fn text(row: &Row, index: usize) -> Option<String> {
    let value = row.values.get(index).and_then(Value::as_str);
    value.map(str::to_owned)
}

impl SlotOwner {
    /// Who stands in a slot's row, to find the way there: a claim that is under way may not be seen
    /// yet. `None`: there is no row.
    pub async fn glance(store: &dyn Store, slot: Slot) -> Result<Option<Self>, StoreError> {
        let row = store.get(&SLOTS, &key(slot), Consistency::Quorum).await?;
        Ok(row.map(|row| Self {
            owner: text(&row, 1).unwrap_or_default(),
            epoch: bigint(&row, false, 0).unwrap_or_default(),
        }))
    }
}

fn key(slot: Slot) -> Key {
    Key::partition(vec![i64::from(slot.0).into()])
}

impl Statements {
    /// A slot's row, read serially.
    pub(crate) async fn slot_row(&self, slot: Slot) -> Result<Option<SlotRow>, StoreError> {
        let row = self
            .store
            .get(&SLOTS, &key(slot), Consistency::Serial)
            .await?;
        Ok(row.map(|row| SlotRow {
            epoch: bigint(&row, false, 0).unwrap_or_default(),
            owner: text(&row, 1).unwrap_or_default(),
            segment: bigint(&row, false, 2).unwrap_or_default(),
            checkpoint: bigint(&row, false, 3).unwrap_or_default(),
            trimmed: bigint(&row, false, 6).unwrap_or_default(),
        }))
    }

    /// Creates a slot's row, if there is none.
    pub(crate) async fn create_slot_row(&self, slot: Slot, map: u32) -> Result<(), StoreError> {
        let set = vec![
            ("epoch", 0.into()),
            ("segment", 0.into()),
            ("checkpoint", 0.into()),
            ("map_version", i64::from(map).into()),
        ];
        let step = ConditionalStep::InsertIfNotExists {
            clustering: Vec::new(),
            set,
        };
        self.slot_step(slot, step).await.map(drop)
    }

    /// Enters a new owner into the slot's row, under the next epoch.
    pub(crate) async fn claim(
        &self,
        slot: Slot,
        from_epoch: i64,
        owner: &str,
    ) -> Result<Outcome, StoreError> {
        let set = vec![("epoch", (from_epoch + 1).into()), ("owner", owner.into())];
        self.update_slot(slot, from_epoch, set).await
    }

    /// Enters whom the slot is handed to; its epoch stays until that one claims it.
    pub(crate) async fn hand_on(
        &self,
        slot: Slot,
        epoch: i64,
        successor: &str,
    ) -> Result<Outcome, StoreError> {
        self.update_slot(slot, epoch, vec![("owner", successor.into())])
            .await
    }

    /// Enters that the segments below are gone, as long as the epoch is ours.
    pub(crate) async fn trimmed(
        &self,
        slot: Slot,
        epoch: i64,
        floor: i64,
    ) -> Result<Outcome, StoreError> {
        self.update_slot(slot, epoch, vec![("trimmed", floor.into())])
            .await
    }

    /// Moves the checkpoint from where it stands, as long as the epoch is ours. One that lands late
    /// finds another one in its place: the checkpoint never goes back, which trimming relies on.
    pub(crate) async fn checkpoint(
        &self,
        slot: Slot,
        epoch: i64,
        from: LogPoint,
        to: LogPoint,
    ) -> Result<Outcome, StoreError> {
        let mut conditions = vec![("epoch", epoch.into())];
        if !self.saboteur.does(Sabotage::CheckpointWithoutLast) {
            conditions.push(("checkpoint", from.seq.into()));
        }
        let step = ConditionalStep::Update {
            clustering: Vec::new(),
            set: vec![
                ("segment", to.segment.into()),
                ("checkpoint", to.seq.into()),
            ],
            conditions,
        };
        self.slot_step(slot, step).await
    }

    async fn update_slot(
        &self,
        slot: Slot,
        epoch: i64,
        set: Vec<(&'static str, Value)>,
    ) -> Result<Outcome, StoreError> {
        let step = ConditionalStep::Update {
            clustering: Vec::new(),
            set,
            conditions: vec![("epoch", epoch.into())],
        };
        self.slot_step(slot, step).await
    }

    async fn slot_step(&self, slot: Slot, step: ConditionalStep) -> Result<Outcome, StoreError> {
        let partition = vec![i64::from(slot.0).into()];
        let batch = ConditionalBatch {
            table: &SLOTS,
            partition,
            steps: vec![step],
        };
        self.store.conditional(batch).await
    }
}
