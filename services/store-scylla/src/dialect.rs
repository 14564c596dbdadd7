//! What differs between the servers that speak CQL.

use scylla::{
    client::session::Session,
    errors::{ExecutionError, IntoRowsResultError, RowsError},
};
use xxhash_rust::xxh3::xxh3_128;

/// The server's kind, found out when the store connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// ScyllaDB.
    Scylla {
        /// Whether conditional statements work in keyspaces with tablets (from 2025.4 on).
        conditions_on_tablets: bool,
    },
    /// Apache Cassandra.
    Cassandra,
}

/// The server did not tell what it is.
#[derive(Debug, thiserror::Error)]
pub enum DialectError {
    /// The question failed.
    #[error("the server did not answer about itself")]
    Ask(#[from] ExecutionError),
    /// The answer was no rows.
    #[error("the server answered about itself without rows")]
    Answer(#[from] IntoRowsResultError),
    /// The rows had other columns.
    #[error("the server answered about itself with other columns")]
    Rows(#[from] RowsError),
    /// A row did not read.
    #[error("the server's answer about itself did not read")]
    Row(#[from] scylla::errors::DeserializationError),
}

/// Scylla's name for "a conditional statement may meet a keyspace with tablets".
const FEATURE_CONDITIONS_ON_TABLETS: &str = "LWT_WITH_TABLETS";

impl Dialect {
    /// Asks the server by way of its own tables.
    pub(crate) async fn detect(session: &Session) -> Result<Self, DialectError> {
        let own_table = "SELECT table_name FROM system_schema.tables \
             WHERE keyspace_name = 'system_schema' AND table_name = 'scylla_tables'";
        if texts(session, own_table).await?.is_empty() {
            return Ok(Self::Cassandra);
        }
        let features = texts(session, "SELECT supported_features FROM system.local").await?;
        let conditions_on_tablets = features
            .iter()
            .flat_map(|features| features.split(','))
            .any(|feature| feature == FEATURE_CONDITIONS_ON_TABLETS);
        Ok(Self::Scylla {
            conditions_on_tablets,
        })
    }

    /// `CREATE KEYSPACE`, in one data centre. On Scylla without tablets: they win nothing for tables
    /// that are only read by partition, and older versions refuse conditional statements on them.
    pub(crate) fn create_keyspace(self, keyspace: &str, replication_factor: u8) -> String {
        let tablets = match self {
            Self::Scylla { .. } => " AND tablets = {'enabled': false}",
            Self::Cassandra => "",
        };
        format!(
            "CREATE KEYSPACE IF NOT EXISTS \"{keyspace}\" WITH replication = \
             {{'class': 'NetworkTopologyStrategy', 'replication_factor': {replication_factor}}} \
             AND durable_writes = true{tablets}"
        )
    }

    /// What a `CREATE TABLE` adds so that two nodes that create it at once create the same table.
    ///
    /// Cassandra before 5.1 numbers tables by itself, and is said to tear a table in two that two nodes
    /// have numbered differently; Scylla agrees on schema changes one after the other.
    pub(crate) fn same_everywhere(self, keyspace: &str, table: &str) -> String {
        match self {
            Self::Scylla { .. } => String::new(),
            Self::Cassandra => {
                let name = format!("{keyspace}.{table}");
                format!(" WITH id = {}", table_id(xxh3_128(name.as_bytes())))
            }
        }
    }

    /// Whether a keyspace that was there before can be used: false if it has tablets and the server
    /// refuses conditional statements on them.
    pub(crate) async fn serves_conditions(
        self,
        session: &Session,
        keyspace: &str,
    ) -> Result<bool, DialectError> {
        if self
            != (Self::Scylla {
                conditions_on_tablets: false,
            })
        {
            return Ok(true);
        }
        // A row with `initial_tablets` is what a keyspace with tablets has there.
        let query = format!(
            "SELECT CAST(initial_tablets AS text) FROM system_schema.scylla_keyspaces \
             WHERE keyspace_name = '{keyspace}'"
        );
        Ok(texts(session, &query).await?.is_empty())
    }
}

/// A number as a UUID of the version for such numbers, 8.
fn table_id(number: u128) -> String {
    let marked = number & !(0xF << 76) & !(0x3 << 62) | (0x8 << 76) | (0x2 << 62);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        marked >> 96,
        (marked >> 80) & 0xFFFF,
        (marked >> 64) & 0xFFFF,
        (marked >> 48) & 0xFFFF,
        marked & 0xFFFF_FFFF_FFFF
    )
}

/// The texts of a one-column answer, nulls left out.
pub(crate) async fn texts(session: &Session, query: &str) -> Result<Vec<String>, DialectError> {
    let result = session.query_unpaged(query, ()).await?.into_rows_result()?;
    let mut texts = Vec::new();
    for row in result.rows::<(Option<String>,)>()? {
        texts.extend(row?.0);
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tables_number_is_a_uuid_of_its_name() {
        let of = |table| Dialect::Cassandra.same_everywhere("hanse", table);
        assert_eq!(table_id(0), "00000000-0000-8000-8000-000000000000");
        assert_eq!(table_id(u128::MAX), "ffffffff-ffff-8fff-bfff-ffffffffffff");
        assert_eq!(of("lock"), of("lock"));
        assert_ne!(of("lock"), of("log"));
    }

    #[test]
    fn only_scylla_is_told_about_tablets() {
        let cassandra = Dialect::Cassandra.create_keyspace("hanse", 3);
        assert_eq!(
            cassandra,
            "CREATE KEYSPACE IF NOT EXISTS \"hanse\" WITH replication = {'class': \
             'NetworkTopologyStrategy', 'replication_factor': 3} AND durable_writes = true"
        );
        let scylla = Dialect::Scylla {
            conditions_on_tablets: true,
        };
        assert_eq!(
            scylla.create_keyspace("hanse", 3),
            cassandra + " AND tablets = {'enabled': false}"
        );
    }
}
