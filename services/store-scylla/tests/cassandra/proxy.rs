//! A proxy between driver and server that knows CQL's frames (version 4) and does what a bad network
//! does, to requests that a test names by bytes in them. Loopback only; it ends with its value.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{Mutex as AsyncMutex, Notify},
    task::JoinSet,
};

/// What befalls a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// It reaches the server, and the client's link is cut before the response.
    CutLink,
    /// It reaches the server, and the response is held for so many milliseconds.
    DelayResponse(u64),
    /// It reaches the server, and the response is replaced by a write time-out of this type, as a
    /// coordinator gives it that lost its replicas in the middle.
    WriteTimeout(&'static str),
    /// It never reaches the server.
    DropRequest,
    /// It reaches the server when [`Proxy::release`] is called, long after the client gave up.
    HoldRequest,
}

/// What the server answered to a request that a fault befell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Served {
    /// No answer yet, or none ever.
    Nothing,
    Applied,
    /// A result other than "applied".
    Refused,
    Error,
}

const OPCODE_ERROR: u8 = 0;
const OPCODE_EXECUTE: u8 = 10;
const OPCODE_BATCH: u8 = 13;
const FRAME_BYTES_MAX: usize = 16 * 1024 * 1024;
const HEADER_BYTES: usize = 9;

/// The proxy. Dropping it ends every connection.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    plan: Arc<Plan>,
    _listener: JoinSet<()>,
}

/// The faults to come, and those that were.
#[derive(Default)]
struct Plan {
    rules: Mutex<Vec<(Vec<u8>, Fault)>>,
    events: Mutex<Vec<(Fault, Served)>>,
    /// How many requests contained each needle, faults or not.
    sightings: Mutex<HashMap<Vec<u8>, usize>>,
    under_way: Mutex<UnderWay>,
    release: Notify,
}

impl Proxy {
    /// A proxy in front of a server, on a port of its own.
    pub(crate) async fn start(server: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let plan = Arc::new(Plan::default());
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, server, plan.clone()));
        Ok(Self {
            address,
            plan,
            _listener: tasks,
        })
    }

    /// The next conditional statement or batch that contains `needle` meets this fault; several faults
    /// for one needle befall its requests one after the other.
    pub(crate) fn inject(&self, needle: &[u8], fault: Fault) {
        self.watch(needle);
        self.plan.rules.lock().push((needle.to_vec(), fault));
    }

    /// Counts prepared statements and batches that contain `needle` from here on.
    pub(crate) fn watch(&self, needle: &[u8]) {
        let mut sightings = self.plan.sightings.lock();
        sightings.entry(needle.to_vec()).or_default();
    }

    /// The most requests that waited for the server at once.
    pub(crate) fn most_under_way(&self) -> usize {
        self.plan.under_way.lock().most
    }

    /// Lets the requests go that are held now.
    pub(crate) fn release(&self) {
        self.plan.release.notify_waiters();
    }

    /// What befell requests so far, and what the server answered to them.
    pub(crate) fn events(&self) -> Vec<(Fault, Served)> {
        self.plan.events.lock().clone()
    }

    /// How many prepared statements and batches contained a needle since it was watched.
    pub(crate) fn sightings(&self, needle: &[u8]) -> usize {
        self.plan.sightings.lock().get(needle).copied().unwrap_or(0)
    }

    /// Waits until the server has answered the request of this event.
    pub(crate) async fn served(&self, event: usize) -> Served {
        for _ in 0..500 {
            let now = self
                .plan
                .events
                .lock()
                .get(event)
                .map(|(_, served)| *served);
            match now {
                Some(served) if served != Served::Nothing => return served,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        Served::Nothing
    }
}

/// Requests without a response yet.
#[derive(Default)]
struct UnderWay {
    now: usize,
    most: usize,
}

impl UnderWay {
    fn begin(&mut self) {
        self.now += 1;
        self.most = self.most.max(self.now);
    }
}

impl Plan {
    /// The fault for a request, which is taken off the plan and noted as an event.
    fn fault_for(&self, frame: &Frame) -> Option<(Fault, usize)> {
        if !matches!(frame.opcode(), OPCODE_EXECUTE | OPCODE_BATCH) {
            return None;
        }
        for (needle, count) in self.sightings.lock().iter_mut() {
            *count += usize::from(frame.contains(needle));
        }
        let mut rules = self.rules.lock();
        let index = rules
            .iter()
            .position(|(needle, _)| frame.contains(needle))?;
        let (_, fault) = rules.remove(index);
        let mut events = self.events.lock();
        events.push((fault, Served::Nothing));
        Some((fault, events.len() - 1))
    }
}

/// A frame with its header.
struct Frame(Vec<u8>);

impl Frame {
    async fn read(from: &mut OwnedReadHalf) -> Option<Self> {
        let mut bytes = vec![0; HEADER_BYTES];
        from.read_exact(&mut bytes).await.ok()?;
        let length = u32::from_be_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) as usize;
        assert!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes");
        bytes.resize(HEADER_BYTES + length, 0);
        from.read_exact(&mut bytes[HEADER_BYTES..]).await.ok()?;
        Some(Self(bytes))
    }

    fn stream(&self) -> i16 {
        i16::from_be_bytes([self.0[2], self.0[3]])
    }

    fn opcode(&self) -> u8 {
        self.0[4]
    }

    fn contains(&self, needle: &[u8]) -> bool {
        self.0[HEADER_BYTES..]
            .windows(needle.len())
            .any(|window| window == needle)
    }

    /// Reads a response: an applied statement answers with the one column `[applied]`, true.
    fn served(&self) -> Served {
        let body = &self.0[HEADER_BYTES..];
        let kind_rows = body.get(..4) == Some(&[0, 0, 0, 2]);
        let one_column = body.get(8..12) == Some(&[0, 0, 0, 1]);
        match self.opcode() {
            OPCODE_ERROR => Served::Error,
            _ if kind_rows && one_column && body.last() == Some(&1) => Served::Applied,
            _ => Served::Refused,
        }
    }
}

/// The body of a write time-out: code, message, consistency, received, required, type.
fn write_timeout(header: &[u8], write_type: &str) -> Frame {
    let string = |text: &str| [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat();
    let numbers = [0_i32.to_be_bytes(), 1_i32.to_be_bytes()].concat();
    let local_quorum = 6_u16.to_be_bytes();
    let body = [
        &0x1100_i32.to_be_bytes(),
        string("injected").as_slice(),
        &local_quorum,
        &numbers,
        &string(write_type),
    ]
    .concat();
    // Version, flags (none) and stream of the response that this replaces.
    let mut frame = vec![header[0], 0, header[2], header[3], OPCODE_ERROR];
    frame.extend((body.len() as u32).to_be_bytes());
    frame.extend(body);
    Frame(frame)
}

async fn accept(listener: TcpListener, server: SocketAddr, plan: Arc<Plan>) {
    let mut links = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(upstream) = TcpStream::connect(server).await else {
            continue;
        };
        links.spawn(serve(client, upstream, plan.clone()));
        while links.try_join_next().is_some() {}
    }
}

/// A connection: the two ends that are written to, and what is to befall the responses.
struct Link {
    plan: Arc<Plan>,
    to_client: AsyncMutex<Option<OwnedWriteHalf>>,
    to_server: AsyncMutex<OwnedWriteHalf>,
    /// By stream id: the event and the fault, for the response.
    watched: Mutex<HashMap<i16, (usize, Fault)>>,
}

async fn serve(client: TcpStream, upstream: TcpStream, plan: Arc<Plan>) {
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = upstream.into_split();
    let link = Arc::new(Link {
        plan,
        to_client: AsyncMutex::new(Some(to_client)),
        to_server: AsyncMutex::new(to_server),
        watched: Mutex::default(),
    });
    // Responses go on after the client's end is gone: what the server did of a cut request counts.
    tokio::join!(
        link.clone().pump_requests(from_client),
        link.pump_responses(from_server)
    );
}

impl Link {
    async fn pump_requests(self: Arc<Self>, mut from: OwnedReadHalf) {
        let mut held = JoinSet::new();
        while let Some(frame) = Frame::read(&mut from).await {
            self.plan.under_way.lock().begin();
            let Some((fault, event)) = self.plan.fault_for(&frame) else {
                self.send(&frame).await;
                continue;
            };
            self.watched.lock().insert(frame.stream(), (event, fault));
            match fault {
                Fault::DropRequest => {}
                Fault::DelayResponse(_) | Fault::WriteTimeout(_) => self.send(&frame).await,
                Fault::HoldRequest => {
                    held.spawn(self.clone().send_when_released(frame));
                }
                Fault::CutLink => {
                    self.send(&frame).await;
                    *self.to_client.lock().await = None;
                    break;
                }
            }
        }
        drop(from);
        // A request on its way arrives although its sender is gone.
        while held.join_next().await.is_some() {}
        // Long enough for what was forwarded to be answered; then the server's end is closed, too.
        tokio::time::sleep(Duration::from_secs(5)).await;
        let _ = self.to_server.lock().await.shutdown().await;
    }

    async fn send(&self, frame: &Frame) {
        let _ = self.to_server.lock().await.write_all(&frame.0).await;
    }

    async fn send_when_released(self: Arc<Self>, frame: Frame) {
        self.plan.release.notified().await;
        self.send(&frame).await;
    }

    async fn pump_responses(self: Arc<Self>, mut from: OwnedReadHalf) {
        let mut delayed = JoinSet::new();
        while let Some(frame) = Frame::read(&mut from).await {
            let answers_a_request = frame.stream() >= 0;
            self.plan.under_way.lock().now -= usize::from(answers_a_request);
            let watched = self.watched.lock().remove(&frame.stream());
            let Some((event, fault)) = watched else {
                self.answer(&frame).await;
                continue;
            };
            self.plan.events.lock()[event].1 = frame.served();
            match fault {
                Fault::WriteTimeout(kind) => self.answer(&write_timeout(&frame.0, kind)).await,
                Fault::DelayResponse(millis) => {
                    let link = self.clone();
                    delayed.spawn(async move {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                        link.answer(&frame).await;
                    });
                }
                _ => self.answer(&frame).await,
            }
        }
    }

    async fn answer(&self, frame: &Frame) {
        if let Some(client) = self.to_client.lock().await.as_mut() {
            let _ = client.write_all(&frame.0).await;
        }
    }
}
