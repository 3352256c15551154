//! What a server behind TLS needs.

use std::path::PathBuf;
use tempfile::TempDir;

/// A certificate for `localhost` and its key, in files.
pub struct Identity(TempDir);

impl Identity {
    pub fn new() -> Identity {
        let dir = TempDir::new().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        std::fs::write(dir.path().join("certificate.pem"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("key.pem"), made.signing_key.serialize_pem()).unwrap();
        Identity(dir)
    }

    pub fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }
}
