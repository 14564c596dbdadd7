//! Wrong settings, one at a time.

use super::*;

/// Loads `toml`, which is wrong in one place, and compares what is said about it.
fn check(toml: &str, said: &str) {
    let error = Config::load(&Sources::text(toml)).unwrap_err();
    assert_eq!(error.to_string(), said, "for {toml}");
}

#[test]
fn wrong_settings_are_named_with_value_and_what_is_allowed() {
    check(
        "[server]\nnmae = \"x.org\"",
        "server.nmae = \"x.org\" (in hanse.toml): no such setting; allowed: delegated_server, \
             listen, name, public_base_url, roles (in [server]); did you mean server.name?",
    );
    check(
        "listen = \"x\"",
        "listen = \"x\" (in hanse.toml): no such setting; allowed: admin, bus, cluster, data, \
             drain, limits, passwords, rate_limits, registration, server, store, telemetry; did \
             you mean server.listen?",
    );
    check(
        "[regstration]\nmode = \"open\"",
        "regstration = {\"mode\":\"open\"} (in hanse.toml): no such setting; allowed: admin, \
             bus, cluster, data, drain, limits, passwords, rate_limits, registration, server, \
             store, telemetry; did you mean registration?",
    );
    check(
        "[registration]\nmode = \"opne\"",
        "registration.mode = \"opne\" (in hanse.toml): unknown value; allowed: open, token, \
             closed; did you mean open?",
    );
    check(
        "[server]\nroles = [\"api\", \"snyc\"]",
        "server.roles = [\"api\",\"snyc\"] (in hanse.toml): unknown value; allowed: a list of \
             api, persister, sync; did you mean sync?",
    );
    check(
        "[rate_limits]\nenabled = \"yes\"",
        "rate_limits.enabled = \"yes\" (in hanse.toml): wrong kind of value; allowed: true, \
             false",
    );
    check(
        "[rate_limits.login]\nburst = 0",
        "rate_limits.login.burst = 0 (in hanse.toml): out of range; allowed: a whole number \
             from 1 to 6000000",
    );
    check(
        "[limits]\nconnections_max = -1",
        "limits.connections_max = -1 (in hanse.toml): not valid; allowed: a whole number from \
             1 to 1000000",
    );
    check(
        "[server]\nlisten = \"localhost\"",
        "server.listen = \"localhost\" (in hanse.toml): not valid; allowed: ADDRESS:PORT such \
             as 127.0.0.1:8008 or [::]:8008",
    );
    check(
        "[server]\nname = \"no spaces\"",
        "server.name = \"no spaces\" (in hanse.toml): not valid; allowed: a Matrix server name \
             such as example.org",
    );
    check(
        "server = 3",
        "server = 3 (in hanse.toml): wrong kind of value; allowed: a section with \
             delegated_server, listen, name, public_base_url, roles",
    );
    check(
        "[server]\npublic_base_url = \"ftp://x\"",
        "server.public_base_url = \"ftp://x\" (in hanse.toml): not valid; allowed: an http or \
             https URL",
    );
    check(
        "[bus]\nredis = [\"redis://good:6379\", \"redis-cluster://u:secret@bad:6379\"]",
        "bus.redis = \"redis-cluster://***@bad:6379\" (in hanse.toml): not valid; allowed: a list \
             of URLs such as redis://USER:PASSWORD@10.0.0.7:6379, or rediss://",
    );
    check(
        "[bus]\nredis = \"redis://:secret@host\"",
        "bus.redis = \"redis://***@host\" (in hanse.toml): wrong kind of value; allowed: a list \
             of URLs such as redis://USER:PASSWORD@10.0.0.7:6379, or rediss://",
    );
    check(
        "[bus]\ndeployment = \"{a}\"",
        "bus.deployment = \"{a}\" (in hanse.toml): not valid; allowed: 1 to 64 letters, digits, \
             -, . and _",
    );
    check(
        "[telemetry]\nlog_level = \"inof\"",
        "telemetry.log_level = \"inof\" (in hanse.toml): not a filter; allowed: error, warn, \
             info, debug, trace, or a list such as info,hanse_log=debug",
    );
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    check(
        "[server]\nroles = [\"api\"]",
        "server.roles = [\"api\"] (in hanse.toml): the embedded store needs every role in one \
             process; allowed: every role once: api, persister, sync",
    );
    check(
        "[drain]\nreadiness_delay_ms = 30000",
        "drain.hard_after_ms = 30000: cuts the process off before it begins to drain; allowed: \
             more than drain.readiness_delay_ms, which is 30000",
    );
    check(
        "[bus]\nredis = [\"rediss://u:secret@a:1#insecure\"]",
        "bus.redis = \"rediss://***@a:1#insecure\" (in hanse.toml): not valid; allowed: a list \
             of URLs such as redis://USER:PASSWORD@10.0.0.7:6379, or rediss://",
    );
    check(
        "[bus]\nredis = [\"rediss://a:1\", \"redis://b:2\"]",
        "bus.redis = \"redis://b:2\" (in hanse.toml): another URL is rediss; allowed: a list of \
             URLs such as redis://USER:PASSWORD@10.0.0.7:6379, or rediss://",
    );
    check(
        "[bus]\nredis = [\"redis://a:1\"]\ntls_ca = \"/ca.crt\"",
        "bus.tls_ca = \"/ca.crt\" (in hanse.toml): no URL is rediss; allowed: nothing, or \
             rediss:// in bus.redis",
    );
    check(
        "[bus]\nredis = [\"rediss://a:1\"]\ntls_cert = \"/tls.crt\"",
        "bus.tls_cert = \"/tls.crt\" (in hanse.toml): half of a pair; allowed: both of \
             bus.tls_cert and bus.tls_key, or none",
    );
    let long = "d".repeat(100);
    check(
        &format!("[data]\npath = \"{long}\""),
        &format!(
            "admin.socket = \"{long}/admin.sock\": too long for a Unix socket; allowed: a path \
                 of at most 107 bytes"
        ),
    );
    check(
        "[data]\npath = \"\"",
        "data.path = \"\" (in hanse.toml): empty; allowed: a directory that exists or can be made",
    );
}

#[test]
fn the_bus_is_in_process_unless_a_server_is_named() {
    let config = Config::load(&Sources::text("")).unwrap();
    assert!(config.bus.redis.is_empty());
    let toml = "[bus]\nredis = [\"redis://:p%40ss@10.0.0.7\", \"redis://[::1]:7000\"]";
    let config = Config::load(&Sources::text(toml)).unwrap();
    assert_eq!(config.bus.redis.len(), 2);
    assert_eq!(config.bus.deployment, "hanse");
}

#[test]
fn a_cluster_is_named_and_its_login_is_whole() {
    let cql = "[store]\nengine = \"cql\"\n";
    for nodes in [
        "[]",
        "[\"db1\"]",
        "[\"db1:0\"]",
        "[\":9042\"]",
        "[\"::1:9042\"]",
    ] {
        check(
            &format!("{cql}nodes = {nodes}"),
            &format!(
                "store.nodes = {nodes} (in hanse.toml): not valid; allowed: a list of HOST:PORT"
            ),
        );
    }
    check(
        &format!("{cql}keyspace = \"a;b\""),
        "store.keyspace = \"a;b\" (in hanse.toml): not valid; allowed: at most 48 of a to z, 0 to \
             9 and _, the first of them a letter",
    );
    check(
        &format!("{cql}replication_factor = 0"),
        "store.replication_factor = 0 (in hanse.toml): out of range; allowed: a whole number from \
             1 to 9",
    );
    check(
        &format!("{cql}user = \"hanse\""),
        "store.user = \"hanse\" (in hanse.toml): has no password; allowed: nothing, or \
             store.password beside it",
    );
    check(
        &format!("{cql}password = \"hunter2\""),
        "store.password = (secret) (in hanse.toml): has no user; allowed: nothing, or store.user \
             beside it",
    );
    check(
        "[store]\npassword = 2",
        "store.password = (secret) (in hanse.toml): wrong kind of value; allowed: a text in quotes",
    );
    check(
        &format!("{cql}[server]\nroles = [\"api\"]"),
        "server.roles = [\"api\"] (in hanse.toml): a process that is alone needs every role; \
             allowed: every role once: api, persister, sync, or cluster.listen beside it",
    );
    let nodes = "nodes = [\"db1:9042\", \"[::1]:9042\"]\nuser = \"u\"\npassword = \"p\"";
    let config = Config::load(&Sources::text(&format!("{cql}{nodes}"))).unwrap();
    assert_eq!(config.store.engine, StoreEngine::Cql);
    assert_eq!(config.store.nodes.len(), 2);
}

/// Red if a rule of `check/cluster.rs` is left out.
#[test]
fn a_process_of_a_cluster_has_what_it_needs() {
    let cluster = |cluster: &str, rest: &str| {
        format!(
            "[cluster]\n{cluster}\n[bus]\nredis = [\"redis://r\"]\n[store]\nengine = \"cql\"\n{rest}"
        )
    };
    let here = "listen = \"10.0.0.7:8009\"";
    let toml = cluster(here, "[server]\nroles = [\"sync\", \"api\"]");
    let config = Config::load(&Sources::text(&toml)).unwrap();
    assert_eq!(config.cluster.slots, 256);
    assert!(config.server.has(Role::Sync) && !config.server.has(Role::Persister));

    check(
        "[cluster]\nlisten = \"10.0.0.7:8009\"\n[bus]\nredis = [\"redis://r\"]",
        "cluster.listen = \"10.0.0.7:8009\" (in hanse.toml): the embedded store has one process \
         only; allowed: nothing, or store.engine = \"cql\"",
    );
    check(
        "[cluster]\nlisten = \"10.0.0.7:8009\"\n[store]\nengine = \"cql\"",
        "bus.redis = []: the processes of a cluster need a bus; allowed: a list of URLs such as \
         redis://USER:PASSWORD@10.0.0.7:6379, or rediss://",
    );
    check(
        &cluster(here, "[server]\nroles = [\"sync\", \"sync\"]"),
        "server.roles = [\"sync\",\"sync\"] (in hanse.toml): not each role once; allowed: at least \
         one of api, persister, sync, each once",
    );
    check(
        &cluster(here, "[server]\nroles = []"),
        "server.roles = [] (in hanse.toml): not each role once; allowed: at least one of api, \
         persister, sync, each once",
    );
    check(
        &cluster("listen = \"0.0.0.0:8009\"", ""),
        "cluster.listen = \"0.0.0.0:8009\" (in hanse.toml): no address that others can call; \
         allowed: an address of this machine, or cluster.advertise beside it",
    );
    check(
        &cluster(&format!("{here}\nadvertise = \"here\""), ""),
        "cluster.advertise = \"here\" (in hanse.toml): not valid; allowed: HOST:PORT",
    );
    check(
        "[cluster]\nadvertise = \"here:1\"",
        "cluster.advertise = \"here:1\" (in hanse.toml): nobody listens there; allowed: nothing, or \
         cluster.listen beside it",
    );
    check(
        &cluster("listen = \"127.0.0.1:8008\"", ""),
        "cluster.listen = \"127.0.0.1:8008\" (in hanse.toml): the address of the clients; allowed: \
         another than server.listen",
    );
    check(
        &cluster(&format!("{here}\nslots = 0"), ""),
        "cluster.slots = 0 (in hanse.toml): out of range; allowed: a whole number from 1 to 65536",
    );
    check(
        &cluster("listen = \"hanse\"", ""),
        "cluster.listen = \"hanse\" (in hanse.toml): not valid; allowed: ADDRESS:PORT such as \
         10.0.0.7:8009",
    );
}

#[test]
fn several_wrong_settings_are_named_at_once() {
    let toml = "[passwords]\niterations = 0\n[telemetry]\nlog_level = \"loud\"";
    let error = Config::load(&Sources::text(toml)).unwrap_err();
    assert_eq!(error.to_string().lines().count(), 2);
}

#[test]
fn flags_go_before_the_file_and_are_named_in_errors() {
    let mut sources = Sources::text("[server]\nlisten = \"127.0.0.1:1\"\nname = \"a.org\"");
    let listen = |value: &str| Some(value.to_owned());
    sources.flags = Flags::default()
        .with("--listen", "server.listen", listen("127.0.0.1:2"))
        .with("--data", "data.path", None)
        .with_list("--roles", "server.roles", listen("sync, api,persister"));
    let config = Config::load(&sources).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.name, "a.org");
    assert_eq!(config.server.roles.len(), 3);
    assert_eq!(config.data, Data::default());

    let flags = Flags::default().with("--registration", "registration.mode", listen("shut"));
    sources.flags = flags;
    assert_eq!(
        Config::load(&sources).unwrap_err().to_string(),
        "registration.mode = \"shut\" (flag --registration): unknown value; allowed: open, \
             token, closed"
    );
}

#[test]
fn a_file_that_is_not_toml_or_not_there_is_named() {
    let error = Config::load(&Sources::text("[server\nname = 1")).unwrap_err();
    let said = error.to_string();
    assert!(said.starts_with("hanse.toml is not valid TOML: ") && said.contains("line 1"));

    let file = Some("/no/such/file.toml".into());
    let error = Config::load(&Sources {
        file,
        ..Sources::default()
    })
    .unwrap_err();
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
}
