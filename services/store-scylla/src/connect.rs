//! Connecting, and what is checked before the first use.

use std::{collections::BTreeSet, sync::Arc};

use scylla::{
    client::{
        caching_session::{CachingSession, CachingSessionBuilder},
        session::Session,
        session_builder::SessionBuilder,
    },
    errors::{ExecutionError, NewSessionError},
};

use crate::{
    ScyllaConfig,
    dialect::{Dialect, DialectError},
    profile, schema,
};

/// Statements that stay prepared. The texts are made from descriptors, so that there are a few dozen
/// for each kind of table; this bounds what a mistake can cost.
const STATEMENTS_MAX: usize = 4_096;

/// The store cannot work on this cluster, or cannot reach it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No contact point answers as a CQL server should.
    #[error("cannot connect to the CQL cluster")]
    Session(#[source] Box<NewSessionError>),
    /// The server did not tell what it is.
    #[error("cannot tell what the CQL server is")]
    Dialect(#[source] Box<DialectError>),
    /// The keyspace could not be created.
    #[error("cannot create keyspace {keyspace}")]
    Keyspace {
        /// Its name.
        keyspace: String,
        /// What the server said.
        #[source]
        source: Box<ExecutionError>,
    },
    /// The name is none.
    #[error("keyspace {keyspace:?} is not a name of lower-case letters, digits and _, at most 48")]
    KeyspaceName {
        /// The name given.
        keyspace: String,
    },
    /// Conditional writes are decided within one data centre, so there must be one only.
    #[error("the cluster has {} data centres ({}), Hanse needs one", found.len(), found.join(", "))]
    DataCentres {
        /// Their names.
        found: Vec<String>,
    },
    /// The keyspace was created with tablets, on which this version refuses conditional statements.
    #[error("keyspace {keyspace} has tablets, and this ScyllaDB has no conditional writes on them")]
    Tablets {
        /// Its name.
        keyspace: String,
    },
}

/// Connects, creates the keyspace if need be, and checks the cluster.
pub(crate) async fn connect(
    config: &ScyllaConfig,
    customize: impl FnOnce(SessionBuilder) -> SessionBuilder,
) -> Result<(CachingSession, Dialect), ConnectError> {
    check_keyspace_name(&config.keyspace)?;
    let mut builder = SessionBuilder::new()
        .known_nodes(&config.nodes)
        .fetch_schema_metadata(false)
        .default_execution_profile_handle(profile::plain(config.request_timeout));
    if let Some((user, password)) = &config.credentials {
        builder = builder.user(user, password);
    }
    let session = customize(builder).build().await;
    let session = session.map_err(|error| ConnectError::Session(Box::new(error)))?;
    check_data_centres(&session)?;
    let dialect = Dialect::detect(&session).await.map_err(unclear)?;
    create_keyspace(&session, dialect, config).await?;
    let caching = CachingSessionBuilder::new_shared(Arc::new(session));
    Ok((caching.max_capacity(STATEMENTS_MAX).build(), dialect))
}

async fn create_keyspace(
    session: &Session,
    dialect: Dialect,
    config: &ScyllaConfig,
) -> Result<(), ConnectError> {
    let keyspace = config.keyspace.clone();
    let statement = dialect.create_keyspace(&keyspace, config.replication_factor);
    if let Err(error) = schema::run(session, statement).await {
        let source = Box::new(error);
        return Err(ConnectError::Keyspace { keyspace, source });
    }
    match dialect.serves_conditions(session, &keyspace).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectError::Tablets { keyspace }),
        Err(error) => Err(unclear(error)),
    }
}

fn unclear(error: DialectError) -> ConnectError {
    ConnectError::Dialect(Box::new(error))
}

fn check_data_centres(session: &Session) -> Result<(), ConnectError> {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let found: BTreeSet<_> = nodes.filter_map(|node| node.datacenter.clone()).collect();
    if found.len() == 1 {
        return Ok(());
    }
    Err(ConnectError::DataCentres {
        found: found.into_iter().collect(),
    })
}

fn check_keyspace_name(keyspace: &str) -> Result<(), ConnectError> {
    let starts = keyspace.starts_with(|first: char| first.is_ascii_lowercase());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if starts && keyspace.len() <= 48 && keyspace.chars().all(allowed) {
        return Ok(());
    }
    Err(ConnectError::KeyspaceName {
        keyspace: keyspace.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyspaces_name_cannot_carry_a_statement() {
        for name in ["", "Hanse", "1a", "a\"b", "a;b", "a b", &"a".repeat(49)] {
            assert!(check_keyspace_name(name).is_err(), "{name}");
        }
        assert!(check_keyspace_name("hanse_2").is_ok());
    }
}
