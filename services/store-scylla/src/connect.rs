//! Connecting, and what is checked before the first use.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use scylla::{
    client::{
        caching_session::{CachingSession, CachingSessionBuilder},
        session::Session,
        session_builder::SessionBuilder,
    },
    errors::{ExecutionError, MetadataError, NewSessionError, SchemaAgreementError},
};

use crate::{
    ScyllaConfig,
    dialect::{Dialect, DialectError},
    profile,
    replication::Replication,
    schema,
};

/// Statements that stay prepared. The texts are made from descriptors, so that there are a few dozen
/// for each kind of table; this bounds what a mistake can cost.
const STATEMENTS_MAX: usize = 4_096;
/// A node that says nothing for the sum of these is given up: its requests go to others. Servers on
/// the same network answer in milliseconds.
const KEEPALIVE_EVERY: Duration = Duration::from_secs(5);
const KEEPALIVE_WITHIN: Duration = Duration::from_secs(5);
/// Between two looks at whether all nodes have the same schema.
const AGREEMENT_POLL: Duration = Duration::from_millis(100);

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
    /// The nodes did not come to the same schema, or do not tell.
    #[error("the nodes do not agree on the schema")]
    Agreement(#[source] Box<SchemaAgreementError>),
    /// The cluster's shape could not be read.
    #[error("cannot read the cluster's shape")]
    Shape(#[source] Box<MetadataError>),
    /// The keyspace keeps fewer copies than the settings promise.
    #[error("keyspace {keyspace} keeps {found} copies in {data_centre}, the settings say {wanted}")]
    Copies {
        /// Its name.
        keyspace: String,
        /// The data centre.
        data_centre: String,
        /// Copies there; 0 also if the keyspace is not kept there at all.
        found: u8,
        /// Copies that the settings ask for.
        wanted: u8,
    },
    /// Writes to the keyspace skip the commit log.
    #[error("keyspace {keyspace} has durable_writes = false")]
    NotDurable {
        /// Its name.
        keyspace: String,
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
        // Without the keyspace's replication the driver would not know replicas from other nodes.
        .fetch_full_schema_metadata(false)
        .keyspaces_to_fetch([&config.keyspace])
        .connection_timeout(config.connect_timeout)
        .keepalive_interval(KEEPALIVE_EVERY)
        .keepalive_timeout(KEEPALIVE_WITHIN)
        .schema_agreement_interval(AGREEMENT_POLL)
        // Tables come one after the other; the keyspace's own refresh is asked for below.
        .refresh_metadata_on_auto_schema_agreement(false)
        .default_execution_profile_handle(profile::plain(config.request_timeout));
    if let Some((user, password)) = &config.credentials {
        builder = builder.user(user, password);
    }
    let session = customize(builder).build().await;
    let session = session.map_err(|error| ConnectError::Session(Box::new(error)))?;
    let data_centre = only_data_centre(&session)?;
    let dialect = Dialect::detect(&session).await.map_err(unclear)?;
    let replication = keyspace(&session, dialect, config).await?;
    check_replication(config, &replication, data_centre)?;
    check_tablets(&session, dialect, config).await?;
    let refreshed = session.refresh_metadata().await;
    refreshed.map_err(|error| ConnectError::Shape(Box::new(error)))?;
    let caching = CachingSessionBuilder::new_shared(Arc::new(session));
    Ok((caching.max_capacity(STATEMENTS_MAX).build(), dialect))
}

/// The keyspace, created if there is none. Any number of processes may do so at once: a keyspace is
/// its name. When it returns, every node that can be reached has it: one that does not would refuse
/// whatever names it.
async fn keyspace(
    session: &Session,
    dialect: Dialect,
    config: &ScyllaConfig,
) -> Result<Replication, ConnectError> {
    let keyspace = &config.keyspace;
    if let Some(found) = Replication::of(session, keyspace).await.map_err(unclear)? {
        agree(session).await?;
        return Ok(found);
    }
    let statement = dialect.create_keyspace(keyspace, config.replication_factor);
    let created = schema::run(session, statement).await;
    created.map_err(|error| ConnectError::Keyspace {
        keyspace: keyspace.clone(),
        source: Box::new(error),
    })?;
    agree(session).await?;
    let found = Replication::of(session, keyspace).await.map_err(unclear)?;
    found.ok_or_else(|| ConnectError::Copies {
        keyspace: keyspace.clone(),
        data_centre: "the cluster".to_owned(),
        found: 0,
        wanted: config.replication_factor,
    })
}

async fn agree(session: &Session) -> Result<(), ConnectError> {
    let agreed = session.await_schema_agreement().await;
    let disagree = |error| ConnectError::Agreement(Box::new(error));
    agreed.map(drop).map_err(disagree)
}

fn check_replication(
    config: &ScyllaConfig,
    replication: &Replication,
    data_centre: String,
) -> Result<(), ConnectError> {
    let keyspace = config.keyspace.clone();
    if !replication.durable {
        return Err(ConnectError::NotDurable { keyspace });
    }
    let (found, wanted) = (replication.copies(&data_centre), config.replication_factor);
    if found < wanted {
        return Err(ConnectError::Copies {
            keyspace,
            data_centre,
            found,
            wanted,
        });
    }
    Ok(())
}

async fn check_tablets(
    session: &Session,
    dialect: Dialect,
    config: &ScyllaConfig,
) -> Result<(), ConnectError> {
    let keyspace = config.keyspace.clone();
    match dialect.serves_conditions(session, &keyspace).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(ConnectError::Tablets { keyspace }),
        Err(error) => Err(unclear(error)),
    }
}

fn unclear(error: DialectError) -> ConnectError {
    ConnectError::Dialect(Box::new(error))
}

fn only_data_centre(session: &Session) -> Result<String, ConnectError> {
    let state = session.get_cluster_state();
    let nodes = state.get_nodes_info().iter();
    let found: BTreeSet<_> = nodes.filter_map(|node| node.datacenter.clone()).collect();
    let found: Vec<_> = found.into_iter().collect();
    <[String; 1]>::try_from(found)
        .map(|[only]| only)
        .map_err(|found| ConnectError::DataCentres { found })
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
