//! The tables of the store's own tests.

use hanse_store::{Column, Kind, Table};

/// Like the slot log's table, reserved word included.
pub(crate) static LOG: Table = Table {
    name: "log",
    kind: Kind::Cas,
    partition: &[Column::bigint("slot"), Column::bigint("segment")],
    clustering: &[Column::bigint("seq")],
    statics: &[
        Column::bigint("epoch"),
        Column::bigint("next"),
        Column::blob("batch_id"),
    ],
    values: &[Column::blob("batch")],
};

/// Rows with a stamp.
pub(crate) static NOTES: Table = Table {
    name: "notes",
    kind: Kind::Stamped,
    partition: &[Column::bigint("slot")],
    clustering: &[Column::bigint("position")],
    statics: &[],
    values: &[Column::text("words")],
};
