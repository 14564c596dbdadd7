//! What must hold of `[store]` where it names a cluster.

use super::{quoted, wrong};
use crate::config::{Config, SettingError, StoreEngine};

/// The longest name of a keyspace.
const KEYSPACE_CHARS_MAX: usize = 48;

pub(super) fn check(config: &Config) -> impl Iterator<Item = SettingError> {
    let rules = match config.store.engine {
        StoreEngine::Embedded => [None, None, None],
        StoreEngine::Cql => [nodes(config), keyspace(config), credentials(config)],
    };
    rules.into_iter().flatten()
}

fn nodes(config: &Config) -> Option<SettingError> {
    let nodes = &config.store.nodes;
    let good = !nodes.is_empty() && nodes.iter().all(|node| is_host_and_port(node));
    let value = || serde_json::to_string(nodes).unwrap_or_default();
    (!good).then(|| wrong("store.nodes", value(), "not valid"))
}

pub(super) fn is_host_and_port(node: &str) -> bool {
    node.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let is_name = !host.is_empty() && !host.contains([':', '[', ']', ' ', '/']);
        let is_v6 = bare.is_some_and(|bare| bare.parse::<std::net::Ipv6Addr>().is_ok());
        (is_name || is_v6) && port.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

fn keyspace(config: &Config) -> Option<SettingError> {
    let name = &config.store.keyspace;
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let good = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.len() <= KEYSPACE_CHARS_MAX
        && name.chars().all(allowed);
    (!good).then(|| wrong("store.keyspace", quoted(name), "not valid"))
}

fn credentials(config: &Config) -> Option<SettingError> {
    let store = &config.store;
    match (&store.user, &store.password) {
        (Some(user), None) => {
            let error = wrong("store.user", quoted(user), "has no password");
            Some(error.allowing("nothing, or store.password beside it"))
        }
        (None, Some(_)) => {
            let error = wrong("store.password", "(secret)", "has no user");
            Some(error.allowing("nothing, or store.user beside it"))
        }
        _ => None,
    }
}
