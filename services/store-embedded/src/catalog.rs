//! Which tables there are: their persistent numbers and their columns, as first created and since
//! grown.
//!
//! A table is stored as one line of text, `1 <id> <kind> <partition> <clustering> <statics>
//! <values>`, each list of columns as `name:type,…` or `-`.

use std::fmt::Write;

use fjall::Keyspace;
use hanse_store::{Column, Kind, StoreError, Table};

use crate::{disk, key::TableId};

const VERSION: &str = "1";

/// The first table's number.
const ID_FIRST: TableId = 1;

/// Finds the table's number, or gives it the next one. Writes to the journal, does not sync.
pub(crate) fn create(catalog: &Keyspace, table: &'static Table) -> Result<TableId, StoreError> {
    table.check()?;
    let stored = catalog
        .get(table.name)
        .map_err(|error| disk::read_failed(&error))?;
    let Some(stored) = stored else {
        let id = next_id(catalog)?;
        insert(catalog, table, id)?;
        return Ok(id);
    };
    let (id, grows) = compare(table, &stored)?;
    if grows {
        insert(catalog, table, id)?;
    }
    Ok(id)
}

fn insert(catalog: &Keyspace, table: &'static Table, id: TableId) -> Result<(), StoreError> {
    catalog
        .insert(table.name, describe(table, id))
        .map_err(disk::write_failed)
}

fn next_id(catalog: &Keyspace) -> Result<TableId, StoreError> {
    let mut next = ID_FIRST;
    for pair in catalog.iter() {
        let line = pair.value().map_err(|error| disk::read_failed(&error))?;
        let id = fields(&line).and_then(|fields| parse_id(&fields));
        next = next.max(id.unwrap_or(0).saturating_add(1));
    }
    Ok(next)
}

fn fields(line: &[u8]) -> Option<Vec<&str>> {
    let fields: Vec<_> = str::from_utf8(line).ok()?.split(' ').collect();
    (fields.len() == 7 && fields.first() == Some(&VERSION)).then_some(fields)
}

fn parse_id(fields: &[&str]) -> Option<TableId> {
    fields.get(1)?.parse().ok()
}

/// The stored number, and whether the table has grown columns since.
fn compare(table: &'static Table, stored: &[u8]) -> Result<(TableId, bool), StoreError> {
    let corrupt = || StoreError::Corrupt {
        table: table.name,
        reason: "its catalog entry does not read back".to_owned(),
    };
    let old = fields(stored).ok_or_else(corrupt)?;
    let id = parse_id(&old).ok_or_else(corrupt)?;
    let described = describe(table, id);
    let new: Vec<_> = described.split(' ').collect();
    let [same, grown] = [2..5, 5..7].map(|range| (old.get(range.clone()), new.get(range)));
    let (Some(old_lists), Some(new_lists)) = grown else {
        return Err(corrupt());
    };
    let fits = old_lists
        .iter()
        .zip(new_lists)
        .all(|(old, new)| extends(old, new) || extends(new, old));
    if same.0 != same.1 || !fits {
        return Err(table.misuse("it is stored with other columns"));
    }
    let longer = old_lists
        .iter()
        .zip(new_lists)
        .any(|(old, new)| old != new && extends(old, new));
    Ok((id, longer))
}

/// Whether the list of columns is the shorter one, or grew from it at its end.
fn extends(shorter: &str, longer: &str) -> bool {
    shorter == "-"
        || longer
            .strip_prefix(shorter)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(','))
}

fn describe(table: &Table, id: TableId) -> String {
    let kind = match table.kind {
        Kind::Stamped => "stamped",
        Kind::Cas => "cas",
        Kind::Once => "once",
    };
    let mut line = format!("{VERSION} {id} {kind}");
    for columns in [
        table.partition,
        table.clustering,
        table.statics,
        table.values,
    ] {
        line.push(' ');
        push_columns(&mut line, columns);
    }
    line
}

fn push_columns(line: &mut String, columns: &[Column]) {
    if columns.is_empty() {
        line.push('-');
    }
    for (at, column) in columns.iter().enumerate() {
        let comma = if at > 0 { "," } else { "" };
        // Writing to a string cannot fail.
        let _ = write!(line, "{comma}{}:{:?}", column.name, column.kind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static OLD: Table = Table {
        name: "t",
        kind: Kind::Stamped,
        partition: &[Column::text("p")],
        clustering: &[],
        statics: &[],
        values: &[Column::bigint("v")],
    };
    static GROWN: Table = Table {
        values: &[Column::bigint("v"), Column::blob("w")],
        ..OLD
    };
    static OTHER: Table = Table {
        values: &[Column::text("v")],
        ..OLD
    };
    static OTHER_KEY: Table = Table {
        partition: &[Column::blob("p")],
        ..OLD
    };

    #[test]
    fn tables_grow_at_their_end_only() {
        let stored = describe(&OLD, 7);
        assert_eq!(compare(&OLD, stored.as_bytes()).unwrap(), (7, false));
        assert_eq!(compare(&GROWN, stored.as_bytes()).unwrap(), (7, true));
        // The version before, after a rollback.
        let grown = describe(&GROWN, 7);
        assert_eq!(compare(&OLD, grown.as_bytes()).unwrap(), (7, false));
        for other in [&OTHER, &OTHER_KEY] {
            let refused = compare(other, stored.as_bytes());
            assert!(
                matches!(refused, Err(StoreError::Misuse { .. })),
                "{refused:?}"
            );
        }
    }
}
