//! mTLS between the processes: each shows a certificate of the deployment's authority, and none talks
//! to anybody who does not.
//!
//! Invariant: with certificates configured there is no way back to plain connections.
//! Invariant: files that do not fit together are never used; what was read before goes on.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use hanse_runtime::Tasks;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    server::WebPkiClientVerifier,
};
use tokio::{net::TcpStream, sync::watch, time::timeout};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// How often it is looked whether the files have changed.
const RELOAD_PERIOD: Duration = Duration::from_secs(5);
/// How long both sides have to show who they are.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// What is spoken inside: gRPC's HTTP/2.
const ALPN: &[u8] = b"h2";

/// Where the certificates are, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The authority's certificates, to hold the others' against.
    pub ca: PathBuf,
    /// This process's certificate, and the chain up to the authority.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The DNS name in every process's certificate: they are not told apart.
    pub name: String,
}

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: io::Error,
    },
    /// They do not fit together, or are none.
    #[error("cannot use the certificates: {reason}")]
    Unusable {
        /// What is wrong.
        reason: String,
    },
}

fn unusable(error: &dyn fmt::Display) -> TlsError {
    TlsError::Unusable {
        reason: error.to_string(),
    }
}

/// The certificates as they are at present. Clones are the same.
#[derive(Clone)]
pub struct Tls {
    present: watch::Receiver<Arc<Present>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

struct Present {
    read: Pem,
    acceptor: TlsAcceptor,
    connector: TlsConnector,
    name: ServerName<'static>,
}

/// The files' contents.
#[derive(PartialEq, Eq)]
struct Pem {
    ca: Vec<u8>,
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl Tls {
    /// Reads the files, and again whenever they change, until `tasks` are asked to finish.
    pub async fn load(files: TlsFiles, tasks: &Tasks) -> Result<Self, TlsError> {
        let first = Present::of(Pem::read(&files).await?, &files.name)?;
        let (sender, present) = watch::channel(Arc::new(first));
        let soft = tasks.soft().clone();
        tasks.spawn("tls-reload", async move {
            soft.run_until_cancelled(reload(files, sender)).await;
        });
        Ok(Self { present })
    }

    fn now(&self) -> Arc<Present> {
        Arc::clone(&self.present.borrow())
    }

    /// Lets in who shows a certificate of the authority.
    pub(super) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let accepted = self.now().acceptor.accept(stream);
        in_time(async { Ok(TlsStream::from(accepted.await?)) }).await
    }

    /// Goes on only with who shows a certificate of the authority, in the processes' name.
    pub(super) async fn connect(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let now = self.now();
        let connected = now.connector.connect(now.name.clone(), stream);
        in_time(async { Ok(TlsStream::from(connected.await?)) }).await
    }
}

async fn in_time<T>(shake: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(HANDSHAKE_TIMEOUT, shake).await?
}

async fn reload(files: TlsFiles, present: watch::Sender<Arc<Present>>) {
    loop {
        tokio::time::sleep(RELOAD_PERIOD).await;
        let read = Pem::read(&files).await;
        let changed = read.map(|pem| (pem != present.borrow().read).then_some(pem));
        let next = match changed {
            Ok(None) => continue,
            Ok(Some(pem)) => Present::of(pem, &files.name),
            Err(error) => Err(error),
        };
        match next {
            Ok(next) => {
                tracing::info!("the certificates were read again");
                present.send_replace(Arc::new(next));
            }
            Err(error) => tracing::warn!(%error, "the certificates of before are used on"),
        }
    }
}

impl Pem {
    async fn read(files: &TlsFiles) -> Result<Self, TlsError> {
        let read = async |path: &PathBuf| {
            tokio::fs::read(path)
                .await
                .map_err(|source| TlsError::File {
                    path: path.clone(),
                    source,
                })
        };
        Ok(Self {
            ca: read(&files.ca).await?,
            cert: read(&files.cert).await?,
            key: read(&files.key).await?,
        })
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&self.ca) {
            let certificate = certificate.map_err(|error| unusable(&error))?;
            roots.add(certificate).map_err(|error| unusable(&error))?;
        }
        Ok(roots)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain = CertificateDer::pem_slice_iter(&self.cert).collect::<Result<_, _>>();
        chain.map_err(|error| unusable(&error))
    }

    fn key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| unusable(&error))
    }
}

impl Present {
    fn of(pem: Pem, name: &str) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let roots = Arc::new(pem.roots()?);
        let acceptor = server(&pem, &roots, &provider)?;
        let connector = client(&pem, roots, provider)?;
        let name = ServerName::try_from(name.to_owned());
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(acceptor)),
            connector: TlsConnector::from(Arc::new(connector)),
            name: name.map_err(|error| unusable(&error))?,
            read: pem,
        })
    }
}

fn server(
    pem: &Pem,
    roots: &Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, TlsError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), Arc::clone(provider));
    let verifier = verifier.build().map_err(|error| unusable(&error))?;
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(pem.chain()?, pem.key()?)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

fn client(
    pem: &Pem,
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TlsError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?
        .with_root_certificates(roots)
        .with_client_auth_cert(pem.chain()?, pem.key()?)
        .map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}
