//! What a start prints: where clients connect and, while there is no account, how to make one.

use std::fmt::Write;
use std::net::SocketAddr;

use hanse_runtime::admin::FirstAccount;
use hanse_runtime::config::{Config, Data, Durability, RegistrationMode, Role, StoreEngine};

/// Where a process listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    /// For clients, and whoever asks how it is.
    pub(crate) clients: SocketAddr,
    /// For the other processes of a cluster.
    pub(crate) processes: Option<SocketAddr>,
}

/// `first`: `None` if that is not known.
pub(crate) fn text(config: &Config, addresses: Addresses, first: Option<&FirstAccount>) -> String {
    let name = &config.server.name;
    let mut text = format!("Hanse {} serves {name}\n", env!("CARGO_PKG_VERSION"));
    text.push_str(&where_to(config, addresses));
    let _ = writeln!(text, "  data is kept in     {}", kept(config));
    if let Some(FirstAccount::Missing { token }) = first {
        text.push_str(&first_account(config, token.as_deref()));
    }
    text.push_str(open_to_all(config, addresses.clients));
    text
}

fn where_to(config: &Config, Addresses { clients, processes }: Addresses) -> String {
    let own = format!("http://{clients}");
    let url = config.server.public_base_url.as_ref().unwrap_or(&own);
    let mut text = if config.server.has(Role::Api) {
        format!("  clients connect to  {url}\n")
    } else {
        format!("  probes connect to   {own}\n")
    };
    if let Some(processes) = processes {
        let roles: Vec<_> = config.server.roles.iter().map(|role| role.name()).collect();
        let _ = writeln!(text, "  others connect to   {processes}");
        let _ = writeln!(text, "  its roles are       {}", roles.join(", "));
    }
    text
}

fn kept(config: &Config) -> String {
    let (path, store) = (config.data.path.display(), &config.store);
    match (store.engine, config.data.durability) {
        (StoreEngine::Cql, _) => {
            format!("keyspace {} of {}", store.keyspace, store.nodes.join(", "))
        }
        (StoreEngine::Embedded, Durability::Fsync) => {
            format!("{path} (synced to disk before it is acknowledged)")
        }
        (StoreEngine::Embedded, Durability::Os) => {
            format!("{path} (not synced: a power cut loses what was acknowledged last)")
        }
    }
}

fn first_account(config: &Config, token: Option<&str>) -> String {
    let mut text = "There is no account yet. To make the first one:\n".to_owned();
    let place = match &config.data.path {
        path if *path == Data::default().path => String::new(),
        path => format!(" --data {}", path.display()),
    };
    let _ = writeln!(text, "  hanse admin create-user NAME --admin{place}");
    match (config.registration.mode, token) {
        (RegistrationMode::Token, Some(token)) => {
            let _ = writeln!(text, "  or register in a client with the token {token}");
            text.push_str("  (good for one account; printed again until it was used)\n");
        }
        (RegistrationMode::Open, _) => text.push_str("  or register in a client\n"),
        _ => {}
    }
    text
}

fn open_to_all(config: &Config, address: SocketAddr) -> &'static str {
    if config.registration.mode == RegistrationMode::Open && !address.ip().is_loopback() {
        "Warning: whoever reaches this server can register.\n"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(change: impl FnOnce(&mut Config), first: &FirstAccount) -> String {
        let mut config = Config::default();
        change(&mut config);
        let addresses = Addresses {
            clients: config.server.listen,
            processes: config.cluster.listen,
        };
        text(&config, addresses, Some(first))
    }

    #[test]
    fn the_first_start_says_where_and_how() {
        let first = FirstAccount::Missing {
            token: Some("TOKEN".to_owned()),
        };
        let text = shown(|_| (), &first);
        for part in [
            "http://127.0.0.1:8008",
            "create-user NAME --admin\n",
            "the token TOKEN",
        ] {
            assert!(text.contains(part), "{text}");
        }
        let elsewhere = shown(|config| config.data.path = "/srv/x".into(), &first);
        assert!(elsewhere.contains("--admin --data /srv/x\n"), "{elsewhere}");
    }

    #[test]
    fn a_later_start_and_other_modes_show_no_token() {
        assert!(!shown(|_| (), &FirstAccount::Exists).contains("account"));
        let first = FirstAccount::Missing { token: None };
        let closed = shown(
            |config| config.registration.mode = RegistrationMode::Closed,
            &first,
        );
        assert!(!closed.contains("register"));
    }

    #[test]
    fn a_process_of_a_cluster_says_what_it_is() {
        let sync = |config: &mut Config| {
            config.cluster.listen = Some(([127, 0, 0, 1], 8009).into());
            config.server.roles = vec![Role::Sync];
        };
        let text = shown(sync, &FirstAccount::Exists);
        for part in [
            "probes connect to   http://127.0.0.1:8008",
            "127.0.0.1:8009",
            "sync\n",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("clients"));
    }

    #[test]
    fn what_may_surprise_is_said() {
        let os = shown(
            |config| config.data.durability = Durability::Os,
            &FirstAccount::Exists,
        );
        assert!(os.contains("a power cut loses"));
        let open = |config: &mut Config| {
            config.registration.mode = RegistrationMode::Open;
            config.server.listen = ([0, 0, 0, 0], 8008).into();
        };
        assert!(shown(open, &FirstAccount::Exists).contains("Warning"));
    }
}
