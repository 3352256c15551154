//! The TLS side of the public listener. Pingora's own reads its certificate only when it is already too late to refuse the start,
//! and remembers the sessions of 128 callers; here it is read first, and each caller is handed its session to keep.

use async_trait::async_trait;
use pingora_core::apps::ServerApp;
use pingora_core::listeners::tls::Acceptor;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::stream::Stream as Socket;
use pingora_core::server::ShutdownWatch;
use rustls::ServerConfig;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A caller that has not ended its handshake by then is not going to.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// An application behind TLS: connections reach it once their handshake has ended.
pub struct Secured<A> {
    app: Arc<A>,
    acceptor: Acceptor,
}

impl<A> Secured<A> {
    /// Puts `app` behind TLS.
    pub fn new(app: A, config: ServerConfig) -> Self {
        Self { app: Arc::new(app), acceptor: Acceptor::from_server_config(Arc::new(config)) }
    }

    async fn handshake(&self, stream: Stream) -> Option<Stream> {
        let socket = stream.into_any().downcast::<Socket>().ok()?;
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.tls_handshake(*socket)).await {
            Ok(Ok(secured)) => return Some(Box::new(secured)),
            // Scanners and callers that distrust the certificate: many, and none of the gateway's making.
            Ok(Err(error)) => log::debug!("a TLS handshake failed: {error}"),
            Err(_) => log::debug!("a TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}"),
        }
        None
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync> ServerApp for Secured<A> {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let mut next = self.handshake(stream).await;
        while let Some(stream) = next {
            next = self.app.process_new(stream, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.app.cleanup().await;
    }
}

/// TLS 1.2 and 1.3, HTTP/2 or HTTP/1.1, with the certificate chain and the key in these PEM files.
///
/// Sessions are resumed by tickets that hold all there is to know of them, under a key of this process that changes every
/// six hours: any number of callers is remembered, and a caller that comes back spares both sides the signatures.
///
/// # Errors
/// A text for the operator: a file that cannot be read or holds nothing of use, or a key that is not the certificate's.
pub fn server_config(certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect)
        .map_err(|e| format!("cannot use the certificate {}: {e}", certificate.display()))?;
    let secret = PrivateKeyDer::from_pem_file(key).map_err(|e| format!("cannot use the key {}: {e}", key.display()))?;
    let unusable = |e: rustls::Error| format!("cannot use {} with {}: {e}", certificate.display(), key.display());
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new().map_err(unusable)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_with_the_reason() {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let made = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (one, two) = (made(), made());
        let (certificate, key) = (file("cert.pem", &one.cert.pem()), file("key.pem", &one.signing_key.serialize_pem()));
        let (strange, empty) = (file("strange.pem", &two.signing_key.serialize_pem()), file("empty.pem", ""));
        let missing = dir.path().join("missing.pem");
        server_config(&certificate, &key).unwrap();
        for (certificate, key, culprit) in [
            (&missing, &key, "missing.pem"),
            (&certificate, &missing, "missing.pem"),
            (&empty, &key, "empty.pem"),
            (&certificate, &empty, "empty.pem"),
            (&certificate, &strange, "strange.pem"),
        ] {
            let why = server_config(certificate, key).unwrap_err();
            assert!(why.contains(culprit) && !why.contains("PRIVATE KEY"), "{why}");
        }
    }
}
