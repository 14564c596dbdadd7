//! A connection to the server, whichever kind it is.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, future::try_join_all, stream};
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo, Pipeline,
    ProtocolVersion, RedisError, TlsCertificates, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
    cluster::ClusterClient,
    cluster_async::ClusterConnection,
    cmd, pipe,
};

use crate::{tls::RedisTls, writer::Outgoing};

/// The longest a connection may take to come about.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// The longest an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Channels that one command subscribes to.
const CHANNELS_PER_COMMAND: usize = 1_024;
/// Commands that wait for their answers at once when a cluster is subscribed to.
const SUBSCRIBING_MAX: usize = 32;

/// Why there is no connection, or none any longer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// No server answers there, or not in that way: a server that expects the other one hangs up, or
    /// says nothing.
    #[error("the bus cannot be reached {}", if *.over_tls {
        "over TLS (without it the URL is redis://)"
    } else {
        "without TLS (with it the URL is rediss://)"
    })]
    Unreached {
        /// How it was tried.
        over_tls: bool,
        /// What came of it.
        #[source]
        source: RedisError,
    },
    /// The server, or the way to it.
    #[error("the bus does not answer")]
    Redis(#[from] RedisError),
    /// Notices shown on one server are not heard on another.
    #[error("several servers are named, but they are no cluster")]
    NoCluster,
    /// The connection was cut, or the server took a subscription back.
    #[error("the bus has cut the connection")]
    Cut,
}

/// Where the server is: one address, or nodes of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    infos: Vec<ConnectionInfo>,
    /// For nodes of a cluster that are yet to be found, too.
    certificates: Option<TlsCertificates>,
}

impl Servers {
    /// Reads URLs, such as `redis://user:password@host:6379`, and the certificates for `rediss`.
    pub(crate) fn parse(urls: &[String], tls: &RedisTls) -> Result<Self, RedisError> {
        let mut certificates = None;
        let mut infos = Vec::with_capacity(urls.len());
        for url in urls {
            let info = url.as_str().into_connection_info()?;
            let settings = info.redis_settings().clone();
            let mut info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
            if is_tls(&info) {
                let certificates = certificates.get_or_insert_with(|| tls.certificates());
                let client = Client::build_with_tls(info, certificates.clone())?;
                info = client.get_connection_info().clone();
            }
            infos.push(info);
        }
        Ok(Self {
            infos,
            certificates,
        })
    }

    /// Connects, to publish.
    pub(crate) async fn connect(&self) -> Result<Link, LinkError> {
        self.connect_with(None::<fn(redis::PushInfo) -> Result<(), ()>>)
            .await
    }

    /// Connects; what the server says unasked goes to `push`.
    pub(crate) async fn connect_with(
        &self,
        push: Option<impl AsyncPushSender>,
    ) -> Result<Link, LinkError> {
        if self.is_cluster().await? {
            return self.cluster(push).await;
        }
        let [info] = self.infos.as_slice() else {
            return Err(LinkError::NoCluster);
        };
        let config = push
            .into_iter()
            .fold(config(), AsyncConnectionConfig::set_push_sender);
        Ok(Link::Single(open(info, &config).await?))
    }

    async fn cluster(&self, push: Option<impl AsyncPushSender>) -> Result<Link, LinkError> {
        let mut builder = ClusterClient::builder(self.infos.clone())
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(CONNECT_WITHIN)
            .response_timeout(ANSWER_WITHIN)
            .retries(0);
        if let Some(certificates) = &self.certificates {
            builder = builder.certs(certificates.clone());
        }
        if let Some(push) = push {
            builder = builder.push_sender(push);
        }
        let connection = builder.build()?.get_async_connection().await?;
        Ok(Link::Cluster(connection))
    }

    /// Asks the first server that answers.
    async fn is_cluster(&self) -> Result<bool, LinkError> {
        let mut failed = LinkError::NoCluster;
        for info in &self.infos {
            match mode(info).await {
                Ok(mode) => return Ok(mode.as_deref() == Some("cluster")),
                Err(source) => {
                    let over_tls = is_tls(info);
                    failed = LinkError::Unreached { over_tls, source };
                }
            }
        }
        Err(failed)
    }
}

fn is_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

fn config() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_WITHIN))
        .set_response_timeout(Some(ANSWER_WITHIN))
}

async fn open(
    info: &ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> Result<MultiplexedConnection, RedisError> {
    let client = Client::open(info.clone())?;
    client
        .get_multiplexed_async_connection_with_config(config)
        .await
}

/// What kind of server it is, by its greeting, for which no permission is needed.
async fn mode(info: &ConnectionInfo) -> Result<Option<String>, RedisError> {
    let mut connection = open(info, &config()).await?;
    let greeting: BTreeMap<String, Value> = cmd("HELLO").query_async(&mut connection).await?;
    let mode = greeting.get("mode").cloned();
    Ok(mode.map(redis::from_redis_value).transpose()?)
}

/// A connection.
pub(crate) enum Link {
    /// To one server: plain pub/sub.
    Single(MultiplexedConnection),
    /// To a cluster: sharded pub/sub, so that a message stays on the nodes of its slot.
    Cluster(ClusterConnection),
}

impl Link {
    /// Sends messages, those of one channel in their order, and waits until the server has them.
    pub(crate) async fn publish(&mut self, batch: &[Outgoing]) -> Result<(), RedisError> {
        match self {
            Self::Single(connection) => {
                let mut all = pipe();
                for message in batch {
                    add(&mut all, "PUBLISH", message);
                }
                all.query_async(connection).await
            }
            Self::Cluster(connection) => {
                let sent = by_channel(batch).into_values().map(|messages| {
                    let mut connection = connection.clone();
                    async move { messages.query_async::<()>(&mut connection).await }
                });
                try_join_all(sent).await.map(drop)
            }
        }
    }

    /// Subscribes; returns when every channel is confirmed.
    pub(crate) async fn subscribe(&mut self, channels: &[String]) -> Result<(), RedisError> {
        match self {
            Self::Single(connection) => {
                for some in channels.chunks(CHANNELS_PER_COMMAND) {
                    connection.subscribe(some).await?;
                }
                Ok(())
            }
            Self::Cluster(connection) => {
                let commands = channels.iter().cloned().map(|channel| {
                    let mut connection = connection.clone();
                    async move { connection.ssubscribe(&channel).await }
                });
                let answers = stream::iter(commands).buffer_unordered(SUBSCRIBING_MAX);
                answers.try_collect().await
            }
        }
    }

    /// Finds out whether the server is still there.
    pub(crate) async fn ping(&mut self) -> Result<(), RedisError> {
        let ping = cmd("PING");
        match self {
            Self::Single(connection) => ping.query_async(connection).await,
            Self::Cluster(connection) => ping.query_async(connection).await,
        }
    }
}

/// A pipeline for each channel: a cluster takes only what belongs to one hash slot in one.
fn by_channel(batch: &[Outgoing]) -> BTreeMap<&str, Pipeline> {
    let mut pipelines: BTreeMap<&str, Pipeline> = BTreeMap::new();
    for message in batch {
        add(
            pipelines.entry(&message.channel).or_default(),
            "SPUBLISH",
            message,
        );
    }
    pipelines
}

fn add(pipeline: &mut Pipeline, command: &str, message: &Outgoing) {
    pipeline
        .cmd(command)
        .arg(&message.channel)
        .arg(&message.body)
        .ignore();
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    /// As a server does that expects the other way.
    #[tokio::test]
    async fn who_is_hung_up_on_is_told_of_the_other_way() {
        for (scheme, other) in [("redis", "rediss://"), ("rediss", "redis://")] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("{scheme}://{}", listener.local_addr().unwrap());
            let servers = Servers::parse(&[url], &RedisTls::default()).unwrap();
            let hang_up = async {
                loop {
                    drop(listener.accept().await);
                }
            };
            let connected = tokio::select! {
                connected = servers.connect() => connected,
                () = hang_up => unreachable!("it listens for ever"),
            };
            let error = connected.err().unwrap().to_string();
            assert!(error.contains(other), "{error}");
        }
    }
}
