//! A channel to each member that lives: made when it is first called, closed when it lapses.

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc, time::Duration};

use hanse_proto::cluster::slots_client::SlotsClient;
use hanse_runtime::Tasks;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint},
};

use super::{CallError, MESSAGE_BYTES_MAX};
use crate::View;

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which calls wait is asked so often whether it lives …
const PING_EVERY: Duration = Duration::from_secs(2);
/// … and has so long to say so.
const PONG_WITHIN: Duration = Duration::from_secs(2);
/// Calls under way to one member; more wait, until their deadline.
const CALLS_PER_PEER_MAX: usize = 128;

/// The ways to the other members. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    view: watch::Receiver<View>,
    channels: Mutex<BTreeMap<String, Peer>>,
}

/// Whoever calls while the member lapses is told so when this is dropped.
struct Peer {
    channel: Channel,
    address: String,
    lapsed: CancellationToken,
    _lapse: DropGuard,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.shared.channels.lock();
        f.debug_set().entries(channels.keys()).finish()
    }
}

impl Peers {
    /// To the members of `view`, for as long as `tasks` run.
    pub fn new(view: watch::Receiver<View>, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            view: view.clone(),
            channels: Mutex::default(),
        });
        let soft = tasks.soft().clone();
        let closing = Arc::clone(&shared);
        tasks.spawn("peer-channels", async move {
            soft.run_until_cancelled(closing.close_lapsed(view)).await;
        });
        Self { shared }
    }

    /// How many channels there are.
    pub fn open(&self) -> usize {
        self.shared.channels.lock().len()
    }

    /// Whether a member lives as seen here.
    pub(super) fn lives(&self, id: &str) -> bool {
        self.shared.view.borrow().live.contains_key(id)
    }

    /// Calls a member, and waits for the answer until the time is over or the member lapses.
    pub(super) async fn call<Sent, Answer>(
        &self,
        method: &'static str,
        to: &str,
        within: Duration,
        send: impl FnOnce(SlotsClient<Channel>) -> Sent + Send,
    ) -> Result<Answer, CallError>
    where
        Sent: Future<Output = Result<Response<Answer>, Status>> + Send,
    {
        let called = self.answer(to, within, send).await;
        let outcome = called.as_ref().err().map_or("answered", CallError::outcome);
        metrics::counter!("hanse_cluster_calls_total", "method" => method, "outcome" => outcome)
            .increment(1);
        if let Err(error) = &called {
            tracing::debug!(method, member = to, %error, "a call failed");
        }
        called
    }

    async fn answer<Sent, Answer>(
        &self,
        to: &str,
        within: Duration,
        send: impl FnOnce(SlotsClient<Channel>) -> Sent + Send,
    ) -> Result<Answer, CallError>
    where
        Sent: Future<Output = Result<Response<Answer>, Status>> + Send,
    {
        let no_answer = |reason: &str| CallError::NoAnswer {
            reason: reason.to_owned(),
        };
        let (channel, lapsed) = self.shared.channel(to)?;
        let client = SlotsClient::new(channel)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
            .max_decoding_message_size(MESSAGE_BYTES_MAX);
        let answer = tokio::time::timeout(within, send(client));
        match lapsed.run_until_cancelled(answer).await {
            Some(Ok(Ok(answer))) => Ok(answer.into_inner()),
            Some(Ok(Err(status))) => Err(CallError::of(&status)),
            Some(Err(_)) => Err(no_answer("time-out")),
            None => Err(no_answer("the member has lapsed")),
        }
    }
}

impl Shared {
    fn channel(&self, to: &str) -> Result<(Channel, CancellationToken), CallError> {
        // In this order: whoever lapses in between is closed after we have opened it.
        let mut channels = self.channels.lock();
        let view = self.view.borrow();
        let Some(member) = view.live.get(to) else {
            let member = to.to_owned();
            return Err(CallError::NotAMember { member });
        };
        let known = channels.get(to);
        if let Some(peer) = known.filter(|peer| peer.address == member.address) {
            return Ok((peer.channel.clone(), peer.lapsed.clone()));
        }
        let peer = Peer::open(&member.address)?;
        let way = (peer.channel.clone(), peer.lapsed.clone());
        channels.insert(to.to_owned(), peer);
        Ok(way)
    }

    async fn close_lapsed(&self, mut view: watch::Receiver<View>) {
        while view.changed().await.is_ok() {
            let mut channels = self.channels.lock();
            let view = view.borrow_and_update();
            channels.retain(|id, _| view.live.contains_key(id));
        }
    }
}

impl Peer {
    fn open(address: &str) -> Result<Self, CallError> {
        let channel = endpoint(address)?.connect_lazy();
        let lapsed = CancellationToken::new();
        Ok(Self {
            channel,
            address: address.to_owned(),
            _lapse: lapsed.clone().drop_guard(),
            lapsed,
        })
    }
}

/// The one place that says how a member is connected to: certificates will be named here.
fn endpoint(address: &str) -> Result<Endpoint, CallError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| CallError::NoAnswer {
        reason: format!("the member's address {address}: {error}"),
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .concurrency_limit(CALLS_PER_PEER_MAX))
}

#[cfg(test)]
mod tests {
    use hanse_proto::cluster::HandedRequest;
    use tokio::net::TcpListener;

    use super::*;
    use crate::Member;

    fn view(address: &str) -> View {
        let member = Member {
            id: "b".to_owned(),
            address: address.to_owned(),
            ..Member::default()
        };
        View {
            tenure: 1,
            live: BTreeMap::from([(member.id.clone(), member)]),
        }
    }

    async fn call(peers: &Peers, to: &str, within: Duration) -> Result<(), CallError> {
        let sent = peers.call("Handed", to, within, |mut client| async move {
            client.handed(HandedRequest::default()).await
        });
        sent.await.map(drop)
    }

    /// Red if whoever calls a frozen process waits beyond its lapse, or its channel stays.
    #[tokio::test]
    async fn a_call_ends_when_the_member_lapses() {
        // The kernel accepts, and nobody answers.
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let (views, seen) = watch::channel(view(&address));
        let tasks = Tasks::new();
        let peers = Peers::new(seen, &tasks);
        let long = Duration::from_mins(1);
        let calling = call(&peers, "b", long);
        let lapsing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(peers.open(), 1);
            views.send_replace(View::default());
        };
        let both = async { tokio::join!(calling, lapsing) };
        let both = tokio::time::timeout(Duration::from_secs(1), both);
        let (called, ()) = both.await.expect("it waits");
        assert!(matches!(called, Err(CallError::NoAnswer { .. })));
        assert_eq!(peers.open(), 0);
        let gone = call(&peers, "b", long).await;
        assert!(matches!(gone, Err(CallError::NotAMember { .. })));
        tasks.finish().await;
    }

    /// Red if a call to a process that does not answer has no end.
    #[tokio::test]
    async fn a_call_ends_at_its_deadline() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = silent.local_addr().unwrap().to_string();
        let (_views, seen) = watch::channel(view(&address));
        let tasks = Tasks::new();
        let peers = Peers::new(seen, &tasks);
        let called = call(&peers, "b", Duration::from_millis(100));
        let called = tokio::time::timeout(Duration::from_secs(1), called);
        let called = called.await.expect("it waits");
        assert!(matches!(called, Err(CallError::NoAnswer { .. })));
        tasks.finish().await;
    }
}
