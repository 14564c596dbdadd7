//! The way of one process to the CQL servers, which can be held up.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::process::free_port;

/// Tries to find a port that is free at every server's address.
const ATTEMPTS_MAX: usize = 20;
/// What is on the way at once beyond the system's own buffers, in bytes.
const CHUNK: usize = 16 * 1_024;

/// Forwards connections to CQL servers. While it is held, what the process says stays on the way, and
/// arrives late: what the store does with the late words of a former owner can be seen so.
///
/// It listens at each server's own address, on a port of its own: that is where the driver looks for
/// servers it was told about by others.
#[derive(Debug)]
pub struct StoreLink {
    nodes: Vec<String>,
    held: watch::Sender<bool>,
    waiting: Arc<AtomicUsize>,
    _listeners: JoinSet<()>,
}

impl StoreLink {
    /// To these servers.
    pub async fn to(servers: &[String]) -> anyhow::Result<Self> {
        let servers = servers.iter().map(|server| server.parse());
        let servers: Vec<SocketAddr> = servers.collect::<Result<_, _>>()?;
        let addresses: Vec<IpAddr> = servers.iter().map(SocketAddr::ip).collect();
        let (held, _) = watch::channel(false);
        let waiting = Arc::new(AtomicUsize::new(0));
        let mut listeners = JoinSet::new();
        let (nodes, bound) = bind(&addresses).await?;
        for (listener, server) in bound.into_iter().zip(servers) {
            let gate = Gate {
                held: held.subscribe(),
                waiting: Arc::clone(&waiting),
            };
            listeners.spawn(accept(listener, server, gate));
        }
        Ok(Self {
            nodes,
            held,
            waiting,
            _listeners: listeners,
        })
    }

    /// Where the process finds the servers.
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// What the process says from now on waits.
    pub fn hold(&self) {
        self.held.send_replace(true);
    }

    /// On how many connections something waits.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Acquire)
    }

    /// All of it arrives.
    pub fn release(&self) {
        self.held.send_replace(false);
    }
}

/// What is said goes through it.
#[derive(Clone)]
struct Gate {
    held: watch::Receiver<bool>,
    waiting: Arc<AtomicUsize>,
}

impl Gate {
    async fn pass(&mut self) -> anyhow::Result<()> {
        if *self.held.borrow() {
            self.waiting.fetch_add(1, Ordering::AcqRel);
            let released = self.held.wait_for(|held| !held).await.map(drop);
            self.waiting.fetch_sub(1, Ordering::AcqRel);
            released?;
        }
        Ok(())
    }
}

/// The same port at each address.
async fn bind(addresses: &[IpAddr]) -> anyhow::Result<(Vec<String>, Vec<TcpListener>)> {
    for _ in 0..ATTEMPTS_MAX {
        let port = free_port()?;
        let binds = addresses.iter().map(|ip| TcpListener::bind((*ip, port)));
        if let Ok(bound) = futures::future::try_join_all(binds).await {
            let names = addresses.iter().map(|ip| format!("{ip}:{port}"));
            return Ok((names.collect(), bound));
        }
    }
    bail!("no port is free at every server's address")
}

async fn accept(listener: TcpListener, server: SocketAddr, gate: Gate) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(forward(stream, server, gate.clone()));
        // Those that ended, so that they do not pile up.
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(mut stream: TcpStream, server: SocketAddr, mut gate: Gate) -> anyhow::Result<()> {
    let mut upstream = TcpStream::connect(server).await.context("no server")?;
    stream.set_nodelay(true)?;
    upstream.set_nodelay(true)?;
    let (mut said, mut answers) = stream.split();
    let (mut from_server, mut to_server) = upstream.split();
    let forth = async {
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = said.read(&mut chunk).await?;
            let Some(read) = chunk.get(..read).filter(|read| !read.is_empty()) else {
                return anyhow::Ok(());
            };
            gate.pass().await?;
            to_server.write_all(read).await?;
        }
    };
    let back = async {
        copy(&mut from_server, &mut answers).await?;
        anyhow::Ok(())
    };
    // Whichever side ends, the other hears of it by the connection's end.
    tokio::select! {
        ended = forth => ended,
        ended = back => ended,
    }
}
