//! The cluster's own table.

use hanse_store::{Column, Kind, Table};

/// One row for each process, all in one partition: one read tells who is there.
pub static MEMBERS: Table = Table {
    name: "members",
    kind: Kind::Cas,
    partition: &[Column::bigint("part")],
    clustering: &[Column::text("member")],
    statics: &[],
    values: &[
        // Any change of it says that the member lives.
        Column::bigint("renewals"),
        Column::text("address"),
        // Names, separated by commas.
        Column::text("roles"),
        // By the member's own clock: tells this row from another of the same name, nothing else.
        Column::bigint("started_at_ms"),
        Column::boolean("draining"),
    ],
};
