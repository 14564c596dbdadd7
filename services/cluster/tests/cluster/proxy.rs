//! A cable that can be cut, in front of a process.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use hanse_runtime::Tasks;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    target: SocketAddr,
    /// Connections end as soon as they are made.
    pub(crate) shut: AtomicBool,
    /// What the process says does not arrive.
    pub(crate) deaf: AtomicBool,
    /// Bytes of it that did not.
    pub(crate) swallowed: AtomicUsize,
    pub(crate) connections: AtomicUsize,
    cuts: watch::Sender<usize>,
    tasks: Tasks,
}

impl Proxy {
    pub(crate) async fn start(target: SocketAddr) -> Arc<Self> {
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let proxy = Arc::new(Self {
            address: tcp.local_addr().unwrap(),
            target,
            deaf: AtomicBool::new(false),
            shut: AtomicBool::new(false),
            swallowed: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            cuts: watch::Sender::new(0),
            tasks: Tasks::new(),
        });
        let accepting = Arc::clone(&proxy).accept(tcp);
        proxy.tasks.spawn("proxy", accepting);
        proxy
    }

    /// Every connection ends.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    async fn accept(self: Arc<Self>, tcp: TcpListener) {
        while let Ok((near, _)) = tcp.accept().await {
            self.connections.fetch_add(1, Ordering::SeqCst);
            if self.shut.load(Ordering::SeqCst) {
                continue;
            }
            let passing = Arc::clone(&self).pass(near);
            self.tasks.spawn("proxied", passing);
        }
    }

    async fn pass(self: Arc<Self>, near: TcpStream) {
        let mut cuts = self.cuts.subscribe();
        let Ok(far) = TcpStream::connect(self.target).await else {
            return;
        };
        let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
        tokio::select! {
            _ = cuts.changed() => {}
            () = self.copy(near_in, far_out, false) => {}
            () = self.copy(far_in, near_out, true) => {}
        }
    }

    async fn copy(&self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, answers: bool) {
        let mut buf = vec![0; 16 * 1024];
        while let Ok(len @ 1..) = from.read(&mut buf).await {
            if answers && self.deaf.load(Ordering::SeqCst) {
                self.swallowed.fetch_add(len, Ordering::SeqCst);
            } else if to.write_all(&buf[..len]).await.is_err() {
                return;
            }
        }
    }
}
