//! TLS to the server, with certificates made here.

use std::{fs, time::Duration};

use hanse_bus_redis::RedisTls;
use hanse_log::{Bus, Slot};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{
    process::{Counters, Process, heartbeat},
    server::Server,
};

/// How long nothing must come about.
const LOOK: Duration = Duration::from_secs(2);

/// An authority.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        Self { pem, issuer }
    }

    /// A certificate for a name or an address, and its key.
    fn sign(&self, name: &str) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        // Another subject than the authority's, or OpenSSL takes it for self-signed.
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        (cert.pem(), key.serialize_pem())
    }

    fn trusted(&self) -> RedisTls {
        RedisTls {
            ca: Some(self.pem.clone().into_bytes()),
            own: None,
        }
    }
}

/// A server that talks TLS beside its plain port, which the test itself uses.
struct TlsServer {
    server: Server,
    authority: Authority,
    url: String,
    _files: TempDir,
}

impl TlsServer {
    async fn start(name: &str, clients: &str) -> Self {
        let (authority, files) = (Authority::new(), TempDir::new().unwrap());
        let (cert, key) = authority.sign(name);
        let file = |name: &str, text: &str| {
            let path = files.path().join(name);
            fs::write(&path, text).unwrap();
            path.display().to_string()
        };
        let port = crate::server::free_port();
        let options = format!(
            "--tls-port {port} --tls-auth-clients {clients} --tls-ca-cert-file {} \
             --tls-cert-file {} --tls-key-file {}",
            file("ca.crt", &authority.pem),
            file("tls.crt", &cert),
            file("tls.key", &key),
        );
        Self {
            server: Server::start(&options).await,
            authority,
            url: format!("rediss://127.0.0.1:{port}"),
            _files: files,
        }
    }

    fn process(&self, tls: RedisTls) -> Process {
        Process::start_at(self.url.clone(), tls, "a")
    }

    /// Nobody is let in, and what is published is dropped.
    async fn keeps_out(&self, url: String, tls: RedisTls) {
        let (recorder, counters) = Counters::new();
        let _guard = Counters::install(&recorder);
        let process = Process::start_at(url, tls, "a");
        let mut heard = process.bus.subscribe();
        tokio::time::sleep(LOOK).await;
        process.bus.publish(heartbeat(Slot(1), 1));
        tokio::time::sleep(LOOK).await;
        assert!(heard.try_recv().is_err(), "the subscription stands");
        assert_eq!(counters.get("hanse_bus_published_total"), 0);
        assert_eq!(self.server.listening().await.len(), 0);
    }
}

/// Sabotage: leave the certificates out of the connection.
#[tokio::test]
async fn it_is_heard_over_tls() {
    let server = TlsServer::start("127.0.0.1", "no").await;
    let process = server.process(server.authority.trusted());
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    for seq in 1..=500 {
        process.bus.publish(heartbeat(Slot(4), seq));
        assert_eq!(ear.notice().await.point.seq, seq);
    }
    println!("500 notices over TLS: all heard");
}

#[tokio::test]
async fn a_server_that_asks_for_a_certificate_gets_one() {
    let server = TlsServer::start("127.0.0.1", "yes").await;
    let (cert, key) = server.authority.sign("hanse");
    let tls = RedisTls {
        own: Some((cert.into_bytes(), key.into_bytes())),
        ..server.authority.trusted()
    };
    let process = server.process(tls);
    let mut ear = process.listen().await;
    process.connected_to(&mut ear).await;
    drop((ear, process));
    server
        .keeps_out(server.url.clone(), server.authority.trusted())
        .await;
    println!("with a certificate: heard; without: kept out");
}

/// Sabotage: trust any certificate.
#[tokio::test]
async fn another_authoritys_server_is_refused() {
    let server = TlsServer::start("127.0.0.1", "no").await;
    let url = || server.url.clone();
    server.keeps_out(url(), Authority::new().trusted()).await;
    // The system does not trust it either.
    server.keeps_out(url(), RedisTls::default()).await;
    println!("an unknown authority: refused");
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused() {
    let server = TlsServer::start("redis.internal", "no").await;
    let trusted = server.authority.trusted();
    server.keeps_out(server.url.clone(), trusted).await;
    println!("another name: refused");
}

#[tokio::test]
async fn plain_and_tls_do_not_meet() {
    let server = TlsServer::start("127.0.0.1", "no").await;
    let plain_to_tls = server.url.replace("rediss", "redis");
    server.keeps_out(plain_to_tls, RedisTls::default()).await;
    let tls_to_plain = server.server.url().replace("redis:", "rediss:");
    let trusted = server.authority.trusted();
    server.keeps_out(tls_to_plain, trusted).await;
    println!("plain to a TLS port, TLS to a plain one: kept out");
}
