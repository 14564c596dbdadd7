//! Clusters of a test's own, and users of them.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hanse_loadtest::http::{Answer, Call, Connection};
use hanse_loadtest::{User, send_text};
use hanse_testkit::{LocalCluster, Node, NodePlan, Plan};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

/// Few, so that a test sees all of them served soon.
pub(crate) const SLOTS: u32 = 16;
const PASSWORD: &str = "correct horse battery staple";

pub(crate) fn cql() -> String {
    std::env::var("HANSE_TEST_CQL").expect("HANSE_TEST_CQL must name the CQL server")
}

pub(crate) fn keyspace() -> String {
    format!("cluster_{}", std::process::id())
}

pub(crate) struct World {
    pub(crate) cluster: LocalCluster,
    _directory: TempDir,
}

impl World {
    /// Processes by name and roles; ready, all of them, and with every slot. (Whoever was killed just
    /// before lives on for others, and its slots with it, until it lapses.)
    pub(crate) async fn start(nodes: &[(&str, &str)]) -> Self {
        let mut world = Self::spawn(nodes).await;
        for node in &mut world.cluster.nodes {
            node.ready().await.unwrap();
        }
        world.all_served().await;
        world
    }

    /// Returns when every slot is served by some process.
    pub(crate) async fn all_served(&self) {
        eventually("every slot is served", async || {
            let mut served = 0;
            for node in self
                .cluster
                .nodes
                .iter()
                .filter(|node| node.process.pid().is_some())
            {
                served += metric(node, "hanse_cluster_slots_served").await;
            }
            served == i64::from(SLOTS)
        })
        .await;
    }

    pub(crate) async fn spawn(nodes: &[(&str, &str)]) -> Self {
        let directory = TempDir::new().unwrap();
        let plan = Plan {
            binary: env!("CARGO_BIN_EXE_hanse").into(),
            directory: directory.path().to_owned(),
            cql: vec![cql()],
            keyspace: keyspace(),
            slots: SLOTS,
            settings: String::new(),
            nodes: nodes
                .iter()
                .map(|(name, roles)| plan(name, roles))
                .collect(),
        };
        Self {
            cluster: LocalCluster::spawn(plan).await.unwrap(),
            _directory: directory,
        }
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut Node {
        self.cluster.node(name).unwrap()
    }

    /// A user of one process; the names differ from test to test.
    pub(crate) async fn register(&mut self, at: &str) -> User {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let name = format!("user{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let connection = Connection::to(self.node(at).process.address());
        User::register(connection, &name, PASSWORD).await.unwrap()
    }

    /// The same session by way of another process.
    pub(crate) fn at(&mut self, name: &str, user: &User) -> User {
        let connection = Connection::to(self.node(name).process.address());
        User::resume(connection, user.credentials().clone()).unwrap()
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await.unwrap();
    }
}

pub(crate) fn plan(name: &str, roles: &str) -> NodePlan {
    NodePlan {
        name: name.to_owned(),
        roles: roles.to_owned(),
        cql: None,
    }
}

pub(crate) async fn room(user: &mut User) -> String {
    user.create_room(r#"{"preset":"private_chat"}"#)
        .await
        .unwrap()
}

pub(crate) async fn send(user: &mut User, room_id: &str, text: &str) {
    let call = send_text(room_id, text, text);
    user.ok(call).await.unwrap();
}

/// Sends under one transaction id until it is acknowledged; how long that took.
pub(crate) async fn send_until_taken(user: &mut User, room_id: &str, text: &str) -> Duration {
    let begun = now();
    eventually("it is taken", async || {
        let answer = user.call(send_text(room_id, text, text)).await;
        answer.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    begun.elapsed()
}

#[expect(clippy::disallowed_methods, reason = "the tests measure real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// One `/sync`: its token and its text.
pub(crate) async fn sync(user: &mut User, since: Option<&str>, wait: Duration) -> (String, String) {
    let answer = user.sync(since, wait, "").await.unwrap();
    read(&answer)
}

pub(crate) fn read(answer: &Answer) -> (String, String) {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let json: Value = serde_json::from_str(&text).unwrap();
    let token = json["next_batch"].as_str().unwrap().to_owned();
    (token, text)
}

/// A `/sync` that waits, beside the test.
#[expect(
    clippy::disallowed_methods,
    reason = "of no process of ours: the test ends it"
)]
pub(crate) fn long_poll(user: &User, since: &str) -> JoinHandle<(String, String)> {
    let (mut user, since) = (user.on_another_connection(), since.to_owned());
    tokio::spawn(async move { sync(&mut user, Some(&since), Duration::from_mins(1)).await })
}

/// A token after which there is nothing new: relays, too, have told what they know.
pub(crate) async fn settled(user: &mut User) -> String {
    let (token, _) = sync(user, None, Duration::ZERO).await;
    settled_from(user, token).await
}

/// The same, from a token on.
pub(crate) async fn settled_from(user: &mut User, mut token: String) -> String {
    for _ in 0..20 {
        let (next, text) = sync(user, Some(&token), Duration::from_secs(1)).await;
        token = next;
        let answer: Value = serde_json::from_str(&text).unwrap();
        if ["rooms", "account_data", "to_device", "device_lists"]
            .iter()
            .all(|part| answer.get(part).is_none())
        {
            return token;
        }
    }
    panic!("there is always something new")
}

/// Syncs on until the text was delivered; the token then.
pub(crate) async fn sync_until(user: &mut User, mut since: String, text: &str) -> String {
    for _ in 0..20 {
        let (token, body) = sync(user, Some(&since), Duration::from_secs(5)).await;
        since = token;
        if body.contains(text) {
            return since;
        }
    }
    panic!("{text} was never delivered")
}

/// What `/ready` says: status and the parts that are missing.
pub(crate) async fn ready(node: &Node) -> (u16, String) {
    let mut connection = Connection::to(node.process.address());
    let answer = connection.call(Call::get("/ready"), None).await.unwrap();
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    (answer.status.as_u16(), text)
}

/// A counter or gauge, the sum over its labels; 0 where nobody answers.
pub(crate) async fn metric(node: &Node, name: &str) -> i64 {
    let mut connection = Connection::to(node.process.address());
    let answer = connection.call(Call::get("/metrics"), None).await;
    let Ok(answer) = answer else { return 0 };
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let lines = text.lines().filter(|line| {
        let rest = line.strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with([' ', '{']))
    });
    lines
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .map(|value| value as i64)
        .sum()
}

/// Waits until it is so.
pub(crate) async fn eventually(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let becomes = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(30), becomes).await;
    assert!(waited.is_ok(), "never: {what}");
}

/// Runs the binary with the settings of a process that is in this directory.
pub(crate) fn run_in(directory: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hanse"));
    command.current_dir(directory).args(arguments);
    command.env_remove("HANSE_CONFIG");
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), said)
}
