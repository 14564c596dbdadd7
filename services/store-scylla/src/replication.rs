//! How many copies a keyspace keeps.

use std::collections::HashMap;

use scylla::client::session::Session;

use crate::dialect::DialectError;

/// A keyspace as the server describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replication {
    options: HashMap<String, String>,
    pub(crate) durable: bool,
}

impl Replication {
    /// That of a keyspace; none if there is no such keyspace.
    pub(crate) async fn of(
        session: &Session,
        keyspace: &str,
    ) -> Result<Option<Self>, DialectError> {
        let query = format!(
            "SELECT replication, durable_writes FROM system_schema.keyspaces \
             WHERE keyspace_name = '{keyspace}'"
        );
        let result = session.query_unpaged(query, ()).await?.into_rows_result()?;
        let mut rows = result.rows::<(HashMap<String, String>, bool)>()?;
        let found = rows.next().transpose()?;
        Ok(found.map(|(options, durable)| Self { options, durable }))
    }

    /// Copies of each row in a data centre.
    pub(crate) fn copies(&self, data_centre: &str) -> u8 {
        let named = self.options.get(data_centre);
        let copies = named.or_else(|| self.options.get("replication_factor"));
        copies.and_then(|copies| copies.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replication(options: &[(&str, &str)]) -> Replication {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Replication {
            options: options.iter().map(owned).collect(),
            durable: true,
        }
    }

    #[test]
    fn copies_are_those_of_the_data_centre() {
        let by_centre = replication(&[("class", "NetworkTopologyStrategy"), ("dc1", "3")]);
        assert_eq!(by_centre.copies("dc1"), 3);
        assert_eq!(by_centre.copies("dc2"), 0);
        let simple = replication(&[("class", "SimpleStrategy"), ("replication_factor", "2")]);
        assert_eq!(simple.copies("dc1"), 2);
    }
}
