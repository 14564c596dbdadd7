//! The log's own tables. `docs/log.md` gives their CQL.

use hanse_store::{Column, Kind, Table};

/// All of them.
pub fn all() -> Vec<&'static Table> {
    vec![&LOG, &SLOTS, &CURSORS, &RELAYED, &HEADS]
}

/// The slot logs. One partition is a segment; its statics are the segment's head.
pub static LOG: Table = Table {
    name: "log",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot"), Column::bigint("segment")],
    clustering: &[Column::bigint("seq")],
    statics: &[
        Column::bigint("epoch"),
        Column::bigint("next"),
        Column::bigint("stamp_end"),
        Column::blob("batch_id"),
        Column::bigint("sealed"),
        // Of the bodies in the segment.
        Column::bigint("bytes"),
    ],
    values: &[
        Column::blob("batch"),
        Column::bigint("stamp_start"),
        Column::blob("body"),
    ],
};

/// One row for each slot: who should own it, where its log is open, how far it is checkpointed.
pub static SLOTS: Table = Table {
    name: "slots",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot")],
    clustering: &[],
    statics: &[],
    values: &[
        Column::bigint("epoch"),
        Column::text("owner"),
        // The segment that holds the first batch after the checkpoint, or an earlier one.
        Column::bigint("segment"),
        Column::bigint("checkpoint"),
        Column::bigint("map_version"),
        Column::text("lineage"),
        // Segments below are gone.
        Column::bigint("trimmed"),
    ],
};

/// How far each durable consumer has come in each slot.
pub static CURSORS: Table = Table {
    name: "cursors",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::text("consumer")],
    statics: &[],
    values: &[Column::bigint("segment"), Column::bigint("position")],
};

/// The last relayed position taken from each source slot, by target slot.
pub static RELAYED: Table = Table {
    name: "relayed",
    kind: Kind::Stamped,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::bigint("source")],
    statics: &[],
    // Where one entry's effects fill several batches, they are counted.
    values: &[Column::bigint("position"), Column::bigint("part")],
};

/// Up to where each slot is applied, as readers poll it: at most a second behind, and never ahead.
/// Derived; the stamp is the batch's.
pub static HEADS: Table = Table {
    name: "heads",
    kind: Kind::Stamped,
    partition: &[Column::bigint("shard")],
    clustering: &[Column::bigint("slot")],
    statics: &[],
    values: &[Column::bigint("segment"), Column::bigint("applied")],
};
