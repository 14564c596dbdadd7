//! What must hold between processes: `[cluster]`, and what it needs elsewhere.

use super::{quoted, store::is_host_and_port, wrong};
use crate::config::{Config, Role, SettingError, StoreEngine};

pub(super) fn check(config: &Config) -> impl Iterator<Item = SettingError> {
    let rules = if config.cluster.listen.is_some() {
        [
            roles_together(config),
            engine(config),
            bus(config),
            advertised(config),
            apart_from_clients(config),
            certificates(config),
        ]
    } else {
        [roles_alone(config), unheard(config), None, None, None, None]
    };
    rules.into_iter().flatten()
}

/// A process that is alone leaves nothing to others.
fn roles_alone(config: &Config) -> Option<SettingError> {
    let mut roles = config.server.roles.clone();
    roles.sort_unstable();
    if roles == Role::ALL {
        return None;
    }
    let (problem, way_out) = match config.store.engine {
        StoreEngine::Embedded => ("the embedded store needs every role in one process", ""),
        StoreEngine::Cql => (
            "a process that is alone needs every role",
            ", or cluster.listen beside it",
        ),
    };
    let error = wrong("server.roles", shown(&config.server.roles), problem);
    let all = "every role once: api, persister, sync";
    Some(error.allowing(&format!("{all}{way_out}")))
}

fn roles_together(config: &Config) -> Option<SettingError> {
    let roles = &config.server.roles;
    let once = |role: &Role| roles.iter().filter(|other| *other == role).count() == 1;
    let good = !roles.is_empty() && roles.iter().all(once);
    (!good).then(|| {
        let error = wrong("server.roles", shown(roles), "not each role once");
        error.allowing("at least one of api, persister, sync, each once")
    })
}

fn engine(config: &Config) -> Option<SettingError> {
    let listen = config.cluster.listen?;
    let alone = config.store.engine == StoreEngine::Embedded;
    alone.then(|| {
        let problem = "the embedded store has one process only";
        wrong("cluster.listen", quoted(&listen.to_string()), problem)
            .allowing("nothing, or store.engine = \"cql\"")
    })
}

fn bus(config: &Config) -> Option<SettingError> {
    let none = config.bus.redis.is_empty();
    none.then(|| wrong("bus.redis", "[]", "the processes of a cluster need a bus"))
}

/// The others must be able to call what this process says of itself.
fn advertised(config: &Config) -> Option<SettingError> {
    let listen = config.cluster.listen?;
    match &config.cluster.advertise {
        Some(address) if is_host_and_port(address) => None,
        Some(address) => Some(wrong("cluster.advertise", quoted(address), "not valid")),
        None if listen.ip().is_unspecified() => {
            let problem = "no address that others can call";
            let error = wrong("cluster.listen", quoted(&listen.to_string()), problem);
            Some(error.allowing("an address of this machine, or cluster.advertise beside it"))
        }
        None => None,
    }
}

fn apart_from_clients(config: &Config) -> Option<SettingError> {
    let listen = config.cluster.listen?;
    let same = listen == config.server.listen && listen.port() != 0;
    same.then(|| {
        let problem = "the address of the clients";
        wrong("cluster.listen", quoted(&listen.to_string()), problem)
            .allowing("another than server.listen")
    })
}

/// All three files, or none.
fn certificates(config: &Config) -> Option<SettingError> {
    let cluster = &config.cluster;
    let files = [
        ("cluster.tls_ca", &cluster.tls_ca),
        ("cluster.tls_cert", &cluster.tls_cert),
        ("cluster.tls_key", &cluster.tls_key),
    ];
    let (missing, _) = files.iter().find(|(_, file)| file.is_none())?;
    let any = files.iter().any(|(_, file)| file.is_some());
    any.then(|| {
        let error = wrong(missing, "nothing", "mTLS needs all three files");
        error.allowing("a file, or none of cluster.tls_ca, cluster.tls_cert, cluster.tls_key")
    })
}

fn unheard(config: &Config) -> Option<SettingError> {
    let address = config.cluster.advertise.as_ref()?;
    let error = wrong("cluster.advertise", quoted(address), "nobody listens there");
    Some(error.allowing("nothing, or cluster.listen beside it"))
}

fn shown(roles: &[Role]) -> String {
    serde_json::to_string(roles).unwrap_or_default()
}
