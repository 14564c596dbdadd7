//! A channel to each member that lives: made when it is first called, closed when it lapses.

use std::{collections::BTreeMap, fmt, future::Future, io, sync::Arc, time::Duration};

use hanse_proto::cluster::{commands_client::CommandsClient, slots_client::SlotsClient};
use hanse_runtime::Tasks;
use http::uri::Authority;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::{Semaphore, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::{
    Response, Status,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::{
    CALLS_PER_CONNECTION_MAX, COMMAND_MESSAGE_BYTES_MAX, CallError, MESSAGE_BYTES_MAX, tls::Tls,
};
use crate::View;

/// For a connection to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection on which calls wait is asked so often whether it lives …
const PING_EVERY: Duration = Duration::from_secs(2);
/// … and has so long to say so.
const PONG_WITHIN: Duration = Duration::from_secs(2);
/// A command waits so long for its turn among those that are under way to one member.
const TURN_WITHIN: Duration = Duration::from_secs(1);
/// Long calls under way to one member; more wait.
const LONG_CALLS_PER_PEER_MAX: usize = 16_384;
/// What a long call may have been sent that is not read yet, in bytes …
const LONG_CALL_WINDOW: u32 = 64 * 1024;
/// … and all of one connection together: a thousand callers may stand still and the others go on.
const LONG_CALLS_WINDOW: u32 = 64 * 1024 * 1024;

/// The ways to the other members. Clones are the same.
#[derive(Clone)]
pub struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    view: watch::Receiver<View>,
    /// `None`: plain connections.
    tls: Option<Tls>,
    channels: Mutex<BTreeMap<String, Peer>>,
}

/// Whoever calls while the member lapses is told so when this is dropped.
struct Peer {
    way: Way,
    address: String,
    lapsed: CancellationToken,
    _lapse: DropGuard,
}

/// Commands have a connection of their own, so that slots can be asked for and relays arrive however
/// many wait; and so have long calls.
#[derive(Clone)]
struct Way {
    slots: Channel,
    commands: Channel,
    long: Channel,
    /// Places for commands: who waits here has sent nothing.
    turns: Arc<Semaphore>,
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let channels = self.shared.channels.lock();
        f.debug_set().entries(channels.keys()).finish()
    }
}

impl Peers {
    /// To the members of `view`, for as long as `tasks` run.
    /// With certificates only to who shows one, too.
    pub fn new(view: watch::Receiver<View>, tls: Option<Tls>, tasks: &Tasks) -> Self {
        let shared = Arc::new(Shared {
            view: view.clone(),
            tls,
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

    /// The way to a member for a role's calls, which wait until there is something to tell and are
    /// answered at any length. What is under way when the member leaves goes on; a process that does
    /// not answer pings ends it.
    pub fn long(&self, to: &str) -> Result<Channel, CallError> {
        Ok(self.shared.way(to)?.0.long)
    }

    /// Whether a member lives as seen here.
    pub(crate) fn lives(&self, id: &str) -> bool {
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
        let called = match self.shared.way(to) {
            Ok((way, lapsed)) => {
                let client = SlotsClient::new(way.slots)
                    .max_encoding_message_size(MESSAGE_BYTES_MAX)
                    .max_decoding_message_size(MESSAGE_BYTES_MAX);
                answer(&lapsed, within, send(client)).await
            }
            Err(error) => Err(error),
        };
        count(method, to, &called);
        called
    }

    /// The same for a command. What is left of the time when it has its turn is for `send` to say.
    pub(crate) async fn command<Sent, Answer>(
        &self,
        to: &str,
        within: Duration,
        send: impl FnOnce(CommandsClient<Channel>) -> Sent + Send,
    ) -> Result<Answer, CallError>
    where
        Sent: Future<Output = Result<Response<Answer>, Status>> + Send,
    {
        let called = match self.shared.way(to) {
            Ok((way, lapsed)) => {
                let turn = timeout(TURN_WITHIN.min(within), way.turns.acquire());
                match lapsed.run_until_cancelled(turn).await {
                    Some(Ok(Ok(_turn))) => {
                        let client = CommandsClient::new(way.commands)
                            .max_encoding_message_size(COMMAND_MESSAGE_BYTES_MAX)
                            .max_decoding_message_size(COMMAND_MESSAGE_BYTES_MAX);
                        answer(&lapsed, within, send(client)).await
                    }
                    Some(_) => Err(CallError::Full),
                    None => Err(CallError::not_a_member(to)),
                }
            }
            Err(error) => Err(error),
        };
        count("Run", to, &called);
        called
    }
}

async fn answer<Answer>(
    lapsed: &CancellationToken,
    within: Duration,
    sent: impl Future<Output = Result<Response<Answer>, Status>> + Send,
) -> Result<Answer, CallError> {
    let no_answer = |reason: &str| CallError::NoAnswer {
        reason: reason.to_owned(),
    };
    let answer = timeout(within, sent);
    match lapsed.run_until_cancelled(answer).await {
        Some(Ok(Ok(answer))) => Ok(answer.into_inner()),
        Some(Ok(Err(status))) => Err(CallError::of(&status)),
        Some(Err(_)) => Err(no_answer("time-out")),
        None => Err(no_answer("the member has lapsed")),
    }
}

/// Commands and calls about slots, with their results counted.
fn count<T>(method: &'static str, to: &str, called: &Result<T, CallError>) {
    let outcome = called.as_ref().err().map_or("answered", CallError::outcome);
    metrics::counter!("hanse_cluster_calls_total", "method" => method, "outcome" => outcome)
        .increment(1);
    if let Err(error) = called {
        tracing::debug!(method, member = to, %error, "a call failed");
    }
}

impl Shared {
    fn way(&self, to: &str) -> Result<(Way, CancellationToken), CallError> {
        // In this order: whoever lapses in between is closed after we have opened it.
        let mut channels = self.channels.lock();
        let view = self.view.borrow();
        let Some(member) = view.live.get(to) else {
            return Err(CallError::not_a_member(to));
        };
        let known = channels.get(to);
        if let Some(peer) = known.filter(|peer| peer.address == member.address) {
            return Ok((peer.way.clone(), peer.lapsed.clone()));
        }
        let peer = Peer::open(&member.address, self.tls.as_ref())?;
        let way = (peer.way.clone(), peer.lapsed.clone());
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
    fn open(address: &str, tls: Option<&Tls>) -> Result<Self, CallError> {
        let endpoint = endpoint(address)?;
        let connect = |endpoint: &Endpoint| connect(endpoint, tls);
        let short = endpoint.clone();
        let short = short.concurrency_limit(CALLS_PER_CONNECTION_MAX);
        let lapsed = CancellationToken::new();
        Ok(Self {
            way: Way {
                slots: connect(&short),
                commands: connect(&short),
                long: connect(
                    &endpoint
                        .concurrency_limit(LONG_CALLS_PER_PEER_MAX)
                        .initial_stream_window_size(LONG_CALL_WINDOW)
                        .initial_connection_window_size(LONG_CALLS_WINDOW),
                ),
                turns: Arc::new(Semaphore::new(CALLS_PER_CONNECTION_MAX)),
            },
            address: address.to_owned(),
            _lapse: lapsed.clone().drop_guard(),
            lapsed,
        })
    }
}

/// A channel that connects when it is first used, and again when it is broken.
fn connect(endpoint: &Endpoint, tls: Option<&Tls>) -> Channel {
    let Some(tls) = tls.cloned() else {
        return endpoint.connect_lazy();
    };
    endpoint.connect_with_connector_lazy(service_fn(move |to: Uri| {
        let tls = tls.clone();
        async move {
            let address = to.authority().map_or("", Authority::as_str);
            let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await??;
            stream.set_nodelay(true)?;
            Ok::<_, io::Error>(TokioIo::new(tls.connect(stream).await?))
        }
    }))
}

/// How a member is connected to.
fn endpoint(address: &str) -> Result<Endpoint, CallError> {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.map_err(|error| CallError::NoAnswer {
        reason: format!("the member's address {address}: {error}"),
    })?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN))
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
            ..View::default()
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
        let peers = Peers::new(seen, None, &tasks);
        let long = Duration::from_mins(1);
        let calling = call(&peers, "b", long);
        let lapsing = async {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(peers.open(), 1);
            views.send_replace(View::default());
        };
        let both = async { tokio::join!(calling, lapsing) };
        let both = timeout(Duration::from_secs(1), both);
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
        let peers = Peers::new(seen, None, &tasks);
        let called = call(&peers, "b", Duration::from_millis(100));
        let called = timeout(Duration::from_secs(1), called);
        let called = called.await.expect("it waits");
        assert!(matches!(called, Err(CallError::NoAnswer { .. })));
        tasks.finish().await;
    }
}
