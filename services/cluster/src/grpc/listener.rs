//! The address at which the other processes call: of its own, never the public one.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::{Stream, StreamExt, stream};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::tls::Tls;

/// Connections at once; more than a cluster has processes.
const CONNECTIONS_MAX: usize = 1_024;
/// Connections at once that show who they are.
const HANDSHAKES_MAX: usize = 64;
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
    tls: Option<Tls>,
}

impl SlotListener {
    /// Binds `address`; port 0 takes any free one.
    pub async fn bind(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError { address, source };
        let tcp = TcpListener::bind(address).await.map_err(failed)?;
        let address = tcp.local_addr().map_err(failed)?;
        Ok(Self {
            tcp,
            address,
            tls: None,
        })
    }

    /// Lets in only who shows a certificate, if there are any.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> Self {
        Self { tls, ..self }
    }

    /// The address with its real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections as they come; those beyond the bound are closed. Does not end.
    pub(super) fn connections(self) -> impl Stream<Item = io::Result<Admitted>> + Send {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let (tcp, tls) = (self.tcp, self.tls);
        let came = stream::unfold((tcp, places), |(tcp, places)| async move {
            let came = admit(&tcp, &places).await;
            Some((came, (tcp, places)))
        });
        came.map(move |(stream, place)| identify(tls.clone(), stream, place))
            .buffer_unordered(HANDSHAKES_MAX)
            .filter_map(|admitted| async { admitted.map(Ok) })
    }
}

/// `None`: it did not show who it is, and is closed.
async fn identify(
    tls: Option<Tls>,
    stream: TcpStream,
    place: OwnedSemaphorePermit,
) -> Option<Admitted> {
    let info = stream.connect_info();
    let stream: Box<dyn Duplex> = match tls {
        None => Box::new(stream),
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => Box::new(stream),
            Err(error) => {
                metrics::counter!("hanse_cluster_handshakes_failed_total").increment(1);
                tracing::warn!(from = ?info.remote_addr(), %error, "who called was not let in");
                return None;
            }
        },
    };
    Some(Admitted {
        stream,
        info,
        _place: place,
    })
}

/// A connection, plain or not.
trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

async fn admit(tcp: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    loop {
        match tcp.accept().await {
            Ok((stream, _)) => {
                if let Ok(place) = Arc::clone(places).try_acquire_owned() {
                    let _ = stream.set_nodelay(true);
                    return (stream, place);
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
pub(super) struct Admitted {
    stream: Box<dyn Duplex>,
    info: TcpConnectInfo,
    _place: OwnedSemaphorePermit,
}

impl Connected for Admitted {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        self.info.clone()
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
