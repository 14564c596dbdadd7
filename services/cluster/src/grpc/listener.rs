//! The address at which the other processes call: of its own, never the public one.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// Connections at once; more than a cluster has processes.
const CONNECTIONS_MAX: usize = 1_024;
/// How long to wait after a failed accept: mostly the process has no file descriptor left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for other processes on {address}")]
pub struct ListenError {
    /// The address.
    pub address: SocketAddr,
    /// What the operating system says.
    #[source]
    pub source: io::Error,
}

/// A bound address that does not answer yet.
#[derive(Debug)]
pub struct SlotListener {
    tcp: TcpListener,
    address: SocketAddr,
}

impl SlotListener {
    /// Binds `address`; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self { tcp, address })
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections as they come; those beyond the bound are closed. Does not end.
    pub(super) fn connections(self) -> impl Stream<Item = io::Result<Admitted>> + Send {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        stream::unfold((self.tcp, places), |(tcp, places)| async move {
            let admitted = admit(&tcp, &places).await;
            Some((Ok(admitted), (tcp, places)))
        })
    }
}

async fn admit(tcp: &TcpListener, places: &Arc<Semaphore>) -> Admitted {
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                    let _ = stream.set_nodelay(true);
                    return Admitted {
                        stream,
                        _place: place,
                    };
                }
                metrics::counter!("hanse_cluster_connections_refused_total").increment(1);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection of another process");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A connection with its place among the [`CONNECTIONS_MAX`].
#[derive(Debug)]
pub(super) struct Admitted {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.stream.connect_info()
    }
}

impl AsyncRead for Admitted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Admitted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }
}
