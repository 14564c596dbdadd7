//! The text of the unconditional statements, from the description of a table. All names are quoted:
//! CQL reserves more words than anybody remembers (`batch` is one).

use hanse_store::{Column, ColumnType, Direction, Range, Scan, Table};

use crate::bind::{Call, Param};

/// Writes statements for the tables of one keyspace.
#[derive(Clone, Debug)]
pub(crate) struct Cql {
    keyspace: String,
}

/// `"a", "b"`.
pub(crate) fn names<'a>(columns: impl IntoIterator<Item = &'a Column>) -> String {
    let quoted: Vec<_> = columns
        .into_iter()
        .map(|column| quoted(column.name))
        .collect();
    quoted.join(", ")
}

pub(crate) fn quoted(name: &str) -> String {
    format!("\"{name}\"")
}

/// `"a" = ? AND "b" = ?`.
pub(crate) fn equal<'a>(columns: impl IntoIterator<Item = &'a str>, between: &str) -> String {
    let each: Vec<_> = columns
        .into_iter()
        .map(|name| format!("\"{name}\" = ?"))
        .collect();
    each.join(between)
}

/// `"a" = ? AND "b" = ?` for a partition's columns.
pub(crate) fn whole(columns: &[Column]) -> String {
    equal(columns.iter().map(|column| column.name), " AND ")
}

/// `?, ?`.
pub(crate) fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

fn cql_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::BigInt => "bigint",
        ColumnType::Boolean => "boolean",
        ColumnType::Text => "text",
        ColumnType::Blob => "blob",
    }
}

/// The columns that a read asks for. A table of keys alone is asked for a key column, since CQL
/// cannot ask for nothing.
pub(crate) fn read_columns(table: &'static Table, clustering: bool) -> Vec<&'static Column> {
    let clustering = if clustering { table.clustering } else { &[] };
    let columns = joined([clustering, table.statics, table.values]);
    if columns.is_empty() {
        return table.partition.iter().take(1).collect();
    }
    columns
}

fn joined(groups: [&'static [Column]; 3]) -> Vec<&'static Column> {
    groups.into_iter().flatten().collect()
}

impl Cql {
    pub(crate) fn new(keyspace: &str) -> Self {
        Self {
            keyspace: keyspace.to_owned(),
        }
    }

    /// The table's full name.
    pub(crate) fn table(&self, table: &Table) -> String {
        format!("\"{}\".\"{}\"", self.keyspace, table.name)
    }

    pub(crate) fn create_table(&self, table: &'static Table) -> String {
        let mut lines: Vec<_> = table
            .columns()
            .map(|column| column_line(table, column))
            .collect();
        let partition = names(table.partition);
        lines.push(match table.clustering {
            [] => format!("PRIMARY KEY (({partition}))"),
            clustering => format!("PRIMARY KEY (({partition}), {})", names(clustering)),
        });
        format!(
            "CREATE TABLE IF NOT EXISTS {} ({})",
            self.table(table),
            lines.join(", ")
        )
    }

    pub(crate) fn add_column(&self, table: &'static Table, column: &Column) -> String {
        format!(
            "ALTER TABLE {} ADD {}",
            self.table(table),
            column_line(table, column)
        )
    }

    /// One row by its full key.
    pub(crate) fn get(&self, table: &'static Table) -> String {
        let columns = names(read_columns(table, false));
        let key: Vec<_> = table
            .partition
            .iter()
            .chain(table.clustering)
            .map(|c| c.name)
            .collect();
        format!(
            "SELECT {columns} FROM {} WHERE {}",
            self.table(table),
            equal(key, " AND ")
        )
    }

    /// The statics of a partition.
    pub(crate) fn get_statics(&self, table: &'static Table) -> String {
        let (columns, key) = (names(table.statics), whole(table.partition));
        format!(
            "SELECT DISTINCT {columns} FROM {} WHERE {key}",
            self.table(table)
        )
    }

    /// A range of a partition: one row more than the scan's limit, so that it is known whether there
    /// are more.
    pub(crate) fn scan<'a>(&self, scan: &'a Scan) -> Call<'a> {
        let table = scan.table;
        let columns = names(read_columns(table, true));
        let mut text = format!(
            "SELECT {columns} FROM {} WHERE {}",
            self.table(table),
            whole(table.partition)
        );
        let mut params: Vec<Param<'a>> = scan.partition.iter().map(Param::from).collect();
        bound(&mut text, &mut params, table, &scan.range);
        if scan.direction == Direction::Backward && !table.clustering.is_empty() {
            let descending = |column: &Column| format!("\"{}\" DESC", column.name);
            let order: Vec<_> = table.clustering.iter().map(descending).collect();
            text += " ORDER BY ";
            text += &order.join(", ");
        }
        text += " LIMIT ?";
        params.push(Param::Int(
            i32::try_from(scan.limit + 1).unwrap_or(i32::MAX),
        ));
        Call { text, params }
    }

    /// A whole row with its stamp and time to live (0: for ever).
    pub(crate) fn put_stamped(&self, table: &'static Table) -> String {
        self.insert_whole(table) + " USING TIMESTAMP ? AND TTL ?"
    }

    /// A whole row with its time to live.
    pub(crate) fn put_once(&self, table: &'static Table) -> String {
        self.insert_whole(table) + " USING TTL ?"
    }

    /// The delete of one row, with its stamp.
    pub(crate) fn delete_stamped(&self, table: &'static Table) -> String {
        let key: Vec<_> = table
            .partition
            .iter()
            .chain(table.clustering)
            .map(|c| c.name)
            .collect();
        let key = equal(key, " AND ");
        format!(
            "DELETE FROM {} USING TIMESTAMP ? WHERE {key}",
            self.table(table)
        )
    }

    fn insert_whole(&self, table: &'static Table) -> String {
        let columns = joined([table.partition, table.clustering, table.values]);
        let marks = marks(columns.len());
        format!(
            "INSERT INTO {} ({}) VALUES ({marks})",
            self.table(table),
            names(columns)
        )
    }
}

fn column_line(table: &'static Table, column: &Column) -> String {
    let is_static = table.static_index(column.name).is_some();
    let suffix = if is_static { " static" } else { "" };
    format!("\"{}\" {}{suffix}", column.name, cql_type(column.kind))
}

/// The type and the kind of a column as `system_schema.columns` has them.
pub(crate) fn described(table: &'static Table, column: &Column) -> (&'static str, &'static str) {
    let is_in = |columns: &[Column]| columns.iter().any(|other| other.name == column.name);
    let place = match () {
        () if is_in(table.partition) => "partition_key",
        () if is_in(table.clustering) => "clustering",
        () if is_in(table.statics) => "static",
        () => "regular",
    };
    (cql_type(column.kind), place)
}

/// The bounds, as relations on tuples: a shorter tuple stands for all rows that start with it.
fn bound<'a>(
    text: &mut String,
    params: &mut Vec<Param<'a>>,
    table: &'static Table,
    range: &'a Range,
) {
    let from = (&range.from, if range.from_exclusive { ">" } else { ">=" });
    let to = (&range.to, if range.to_exclusive { "<" } else { "<=" });
    for (prefix, sign) in [from, to] {
        if !prefix.is_empty() {
            let columns = names(table.clustering.iter().take(prefix.len()));
            let relation = [
                " AND (",
                &columns,
                ") ",
                sign,
                " (",
                &marks(prefix.len()),
                ")",
            ];
            text.extend(relation);
            params.extend(prefix.iter().map(Param::from));
        }
    }
}

#[cfg(test)]
mod tests {
    use hanse_store::{Kind, Value};

    use super::*;

    static FEED: Table = Table {
        name: "feed",
        kind: Kind::Stamped,
        partition: &[Column::text("room"), Column::bigint("bucket")],
        clustering: &[Column::bigint("position"), Column::text("kind")],
        statics: &[],
        values: &[Column::blob("event")],
    };

    static LOG: Table = Table {
        name: "log",
        kind: Kind::Cas,
        partition: &[Column::bigint("slot")],
        clustering: &[Column::bigint("seq")],
        statics: &[Column::bigint("next")],
        values: &[Column::blob("batch")],
    };

    fn cql() -> Cql {
        Cql::new("hanse")
    }

    #[test]
    fn tables_are_typed_and_their_statics_are_static() {
        assert_eq!(
            cql().create_table(&LOG),
            "CREATE TABLE IF NOT EXISTS \"hanse\".\"log\" (\"slot\" bigint, \"seq\" bigint, \
             \"next\" bigint static, \"batch\" blob, PRIMARY KEY ((\"slot\"), \"seq\"))"
        );
    }

    #[test]
    fn a_put_binds_every_column() {
        assert_eq!(
            cql().put_stamped(&FEED),
            "INSERT INTO \"hanse\".\"feed\" (\"room\", \"bucket\", \"position\", \"kind\", \
             \"event\") VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?"
        );
    }

    #[test]
    fn a_backward_scan_compares_prefixes_and_reverses_every_column() {
        let scan = Scan {
            table: &FEED,
            partition: vec!["!r".into(), 3.into()],
            range: Range::after(vec![Value::BigInt(7)])
                .up_to(vec![Value::BigInt(9), Value::from("m")]),
            direction: Direction::Backward,
            limit: 10,
        };
        let call = cql().scan(&scan);
        assert_eq!(
            call.text,
            "SELECT \"position\", \"kind\", \"event\" FROM \"hanse\".\"feed\" \
             WHERE \"room\" = ? AND \"bucket\" = ? AND (\"position\") > (?) \
             AND (\"position\", \"kind\") <= (?, ?) \
             ORDER BY \"position\" DESC, \"kind\" DESC LIMIT ?"
        );
        assert_eq!(call.params.len(), 6);
        assert_eq!(call.params.last(), Some(&Param::Int(11)));
    }

    #[test]
    fn statics_are_read_without_rows() {
        assert_eq!(
            cql().get_statics(&LOG),
            "SELECT DISTINCT \"next\" FROM \"hanse\".\"log\" WHERE \"slot\" = ?"
        );
    }
}
