//! What a call to the store is to the log: the steps between which processes die.

use hanse_store::{ConditionalBatch, ConditionalStep};

/// A step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Step {
    Append,
    CreateSegment,
    TakeOver,
    Correct,
    Seal,
    Trim,
    CreateSlot,
    Claim,
    HandOn,
    Trimmed,
    Checkpoint,
    Cursor,
    Heads,
    OtherWrite,
    Rows,
    Sync,
    Get,
    Scan,
}

impl Step {
    /// Every step, for plans and reports.
    pub(crate) const ALL: [Self; 18] = [
        Self::Append,
        Self::CreateSegment,
        Self::TakeOver,
        Self::Correct,
        Self::Seal,
        Self::Trim,
        Self::CreateSlot,
        Self::Claim,
        Self::HandOn,
        Self::Trimmed,
        Self::Checkpoint,
        Self::Cursor,
        Self::Heads,
        Self::OtherWrite,
        Self::Rows,
        Self::Sync,
        Self::Get,
        Self::Scan,
    ];

    /// What this conditional batch is.
    pub(crate) fn of(batch: &ConditionalBatch) -> Self {
        let sets = |name: &str| {
            let mut all = batch.steps.iter().flat_map(ConditionalStep::set);
            all.any(|(column, _)| *column == name)
        };
        let creates = batch.steps.iter().any(|step| {
            matches!(
                step,
                ConditionalStep::InsertStaticsIfNotExists { .. }
                    | ConditionalStep::InsertIfNotExists { .. }
            )
        });
        match batch.table.name {
            "log" if batch.steps.contains(&ConditionalStep::DeleteRows) => Self::Trim,
            "log" if creates => Self::CreateSegment,
            "log" if sets("body") => Self::Append,
            "log" if sets("sealed") => Self::Seal,
            "log" if sets("next") => Self::Correct,
            "log" if sets("epoch") => Self::TakeOver,
            "slots" if creates => Self::CreateSlot,
            "slots" if sets("checkpoint") => Self::Checkpoint,
            "slots" if sets("trimmed") => Self::Trimmed,
            "slots" if sets("epoch") => Self::Claim,
            "slots" => Self::HandOn,
            "cursors" => Self::Cursor,
            _ => Self::OtherWrite,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Append => "append",
            Self::CreateSegment => "create-segment",
            Self::TakeOver => "take-over",
            Self::Correct => "correct",
            Self::Seal => "seal",
            Self::Trim => "trim",
            Self::CreateSlot => "create-slot",
            Self::Claim => "claim",
            Self::HandOn => "hand-on",
            Self::Trimmed => "trimmed",
            Self::Checkpoint => "checkpoint",
            Self::Cursor => "cursor",
            Self::Heads => "heads",
            Self::OtherWrite => "other-write",
            Self::Rows => "rows",
            Self::Sync => "sync",
            Self::Get => "get",
            Self::Scan => "scan",
        }
    }
}
