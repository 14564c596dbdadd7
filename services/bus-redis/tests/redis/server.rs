//! A Redis server of a test's own.

use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{FromRedisValue, aio::MultiplexedConnection};
use tempfile::TempDir;
use tokio::time::sleep;

/// How often the server is asked whether it answers yet, ten milliseconds apart.
const ATTEMPTS_MAX: usize = 1_000;

/// A server on a port and in a directory of its own; it ends with this value.
pub(crate) struct Server {
    dir: TempDir,
    port: u16,
    options: Vec<String>,
    child: Option<Child>,
}

impl Server {
    /// A server with further options, such as `--maxclients 100`.
    pub(crate) async fn start(options: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let options = options.split_whitespace().map(str::to_owned).collect();
        let mut server = Self {
            dir,
            port: free_port(),
            options,
            child: None,
        };
        server.run().await;
        server
    }

    /// A cluster of one node that holds every hash slot.
    pub(crate) async fn start_cluster() -> Self {
        let server = Self::start("--cluster-enabled yes --cluster-config-file nodes.conf").await;
        let _: String = server
            .ask(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"])
            .await;
        server.wait_for_cluster().await;
        server
    }

    /// Returns when the cluster says that it is one.
    pub(crate) async fn wait_for_cluster(&self) {
        for _ in 0..ATTEMPTS_MAX {
            let info: String = self.ask(&["CLUSTER", "INFO"]).await;
            if info.contains("cluster_state:ok") {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("the cluster does not come up");
    }

    /// Starts the server, after it was killed.
    pub(crate) async fn run(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--logfile", "redis.log"])
            .args(&self.options)
            .current_dir(self.dir.path())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(child.expect("redis-server must be installed"));
        for _ in 0..ATTEMPTS_MAX {
            if self.connect().await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer");
    }

    /// Ends it at once, as kill -9 does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Sends a signal, by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.as_ref().map(Child::id).unwrap().to_string();
        let sent = Command::new("kill")
            .args([format!("-{name}"), pid])
            .status();
        assert!(sent.unwrap().success());
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection of the test's own.
    pub(crate) async fn connect(&self) -> redis::RedisResult<MultiplexedConnection> {
        let client = redis::Client::open(self.url())?;
        client.get_multiplexed_async_connection().await
    }

    /// Asks the server something.
    pub(crate) async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> T {
        let mut connection = self.connect().await.unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut connection).await.unwrap()
    }

    /// The ids of the connections that subscribe.
    pub(crate) async fn listening(&self) -> Vec<u64> {
        let list: String = self.ask(&["CLIENT", "LIST", "TYPE", "pubsub"]).await;
        list.lines().filter_map(client_id).collect()
    }

    /// What the server has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(Path::new(self.dir.path()).join("redis.log")).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn client_id(line: &str) -> Option<u64> {
    let id = line.split(' ').find_map(|word| word.strip_prefix("id="))?;
    id.parse().ok()
}

/// A port that was free a moment ago, below the range that the system hands out by itself, so that
/// no outgoing connection takes it while the server is down. A cluster's bus has the port 10,000
/// above it.
pub(crate) fn free_port() -> u16 {
    for _ in 0..ATTEMPTS_MAX {
        let ephemeral = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = 12_000 + ephemeral.local_addr().unwrap().port() % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port is free");
}
