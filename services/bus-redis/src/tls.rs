//! What TLS to the server needs.

use redis::{ClientTlsConfig, TlsCertificates};
use rustls::crypto::ring;

/// Certificates for URLs with `rediss`, in PEM.
#[derive(Clone, Default)]
pub struct RedisTls {
    /// Who must have signed the server's certificate. `None`: who the system trusts.
    pub ca: Option<Vec<u8>>,
    /// A certificate for the server, if it asks for one, and its key.
    pub own: Option<(Vec<u8>, Vec<u8>)>,
}

impl std::fmt::Debug for RedisTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTls").finish_non_exhaustive()
    }
}

impl RedisTls {
    pub(crate) fn certificates(&self) -> TlsCertificates {
        // The client asks rustls for the process's provider, of which nobody else has need to speak.
        let _ = ring::default_provider().install_default();
        let own = self.own.clone();
        let client_tls = own.map(|(client_cert, client_key)| ClientTlsConfig {
            client_cert,
            client_key,
        });
        TlsCertificates {
            client_tls,
            root_cert: self.ca.clone(),
        }
    }
}
