//! mTLS between processes, with certificates made here.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use hanse_cluster::{
    Member, View,
    grpc::{Peers, Routes, SlotListener, Tls, TlsFiles, serve},
};
use hanse_runtime::{SystemClock, Tasks};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use tempfile::TempDir;
use tokio::{io::AsyncReadExt, net::TcpStream, sync::watch};
use tokio_rustls::TlsConnector;
use tower::{Service, ServiceExt};

/// The name in every certificate.
const NAME: &str = "hanse";
/// Longest wait for something that must happen.
const PATIENCE: Duration = Duration::from_secs(30);

/// Writes an authority, and a certificate that it signed, into a folder.
fn write_certificates(folder: &Path) -> TlsFiles {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate().unwrap();
    let ca = authority.self_signed(&authority_key).unwrap();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let cert = leaf.signed_by(&key, &issuer).unwrap();
    let file = |name: &str, text: String| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    TlsFiles {
        ca: file("ca.crt", ca.pem()),
        cert: file("tls.crt", cert.pem()),
        key: file("tls.key", key.serialize_pem()),
        name: NAME.to_owned(),
    }
}

/// A process that answers by mTLS, without any service.
struct Answering {
    address: SocketAddr,
    folder: TempDir,
    tasks: Tasks,
}

impl Answering {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let tasks = Tasks::new();
        let files = write_certificates(folder.path());
        let tls = Tls::load(files, &tasks).await.unwrap();
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let listener = SlotListener::bind(any).await.unwrap();
        let address = listener.address();
        let (listener, clock) = (listener.with_tls(Some(tls)), SystemClock::shared());
        serve(listener, Routes::default(), &tasks, clock);
        Self {
            address,
            folder,
            tasks,
        }
    }

    fn files(&self) -> TlsFiles {
        let path = |name| self.folder.path().join(name);
        TlsFiles {
            ca: path("ca.crt"),
            cert: path("tls.crt"),
            key: path("tls.key"),
            name: NAME.to_owned(),
        }
    }

    /// The gRPC status of a call by somebody with these certificates.
    async fn call(&self, tls: Option<Tls>) -> Result<String, String> {
        let member = Member {
            id: "b".to_owned(),
            address: self.address.to_string(),
            ..Member::default()
        };
        let live = BTreeMap::from([(member.id.clone(), member)]);
        let (_views, view) = watch::channel(View {
            tenure: 1,
            live,
            ..View::default()
        });
        let peers = Peers::new(view, tls, &self.tasks);
        let mut channel = peers.long("b").unwrap();
        let request = http::Request::post("/nothing")
            .header("content-type", "application/grpc")
            .body(tonic::body::Body::empty())
            .unwrap();
        let ready = channel.ready().await.map_err(|error| error.to_string())?;
        let response = ready.call(request).await;
        let response = response.map_err(|error| error.to_string())?;
        let status = response.headers().get("grpc-status");
        Ok(status.unwrap().to_str().unwrap().to_owned())
    }
}

/// "Unimplemented": the call was let in, and there is no such service.
const LET_IN: &str = "12";

/// Red if the listener does not ask for certificates, or the other side does not look whose they are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_who_shows_a_certificate_of_the_authority_is_answered() {
    let answering = Answering::start().await;
    let ours = Tls::load(answering.files(), &answering.tasks)
        .await
        .unwrap();
    assert_eq!(answering.call(Some(ours)).await.unwrap(), LET_IN);
    assert!(answering.call(None).await.is_err(), "a plain connection");
    let other = TempDir::new().unwrap();
    let theirs = write_certificates(other.path());
    let theirs = Tls::load(theirs, &answering.tasks).await.unwrap();
    assert!(
        answering.call(Some(theirs)).await.is_err(),
        "another authority"
    );
    answering.tasks.finish().await;
}

/// Red if the listener lets in who trusts it and shows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_shows_no_certificate_is_refused() {
    let answering = Answering::start().await;
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_file(answering.files().ca).unwrap();
    roots.add(ca).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tcp = TcpStream::connect(answering.address).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let connecting = TlsConnector::from(Arc::new(config)).connect(name, tcp);
    // In TLS 1.3 whoever calls is through before the listener has looked at what it shows.
    let refused = match connecting.await {
        Ok(mut stream) => stream.read_u8().await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    answering.tasks.finish().await;
}

/// Red if the files are read at the start only, or if files that do not fit together are used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changed_certificates_are_used() {
    let answering = Answering::start().await;
    let before = Tls::load(answering.files(), &answering.tasks)
        .await
        .unwrap();
    std::fs::write(answering.files().key, "not a key").unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(answering.call(Some(before)).await.unwrap(), LET_IN);
    let files = write_certificates(answering.folder.path());
    let after = Tls::load(files, &answering.tasks).await.unwrap();
    let changed = async {
        while answering.call(Some(after.clone())).await.is_err() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    let changed = tokio::time::timeout(PATIENCE, changed).await;
    changed.expect("the listener has the new certificates");
    answering.tasks.finish().await;
}
