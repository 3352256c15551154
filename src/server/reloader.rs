//! Puts a new config in force, whole or not at all: a bad file changes nothing, and exchanges under way keep what they began with.

use super::resolver::resolve_all;
use crate::audit::journal::Journal;
use crate::audit::record::Event;
use crate::config;
use crate::gateway::{Gateway, Options};
use arc_swap::ArcSwap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;

const RESOLVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Reloads the config file; one reload at a time.
pub struct Reloader {
    path: PathBuf,
    options: Options,
    gateway: Arc<ArcSwap<Gateway>>,
    journal: Journal,
    busy: Mutex<()>,
}

impl Reloader {
    /// A reloader of the file the gateway was started with.
    pub fn new(path: PathBuf, options: Options, gateway: Arc<ArcSwap<Gateway>>, journal: Journal) -> Self {
        Self { path, options, gateway, journal, busy: Mutex::new(()) }
    }

    /// Reloads; returns the SHA-256 of the file now in force.
    ///
    /// # Errors
    /// Every error of the file, rendered; the config before stays in force.
    pub async fn reload(&self) -> Result<String, Vec<String>> {
        let _one_at_a_time = self.busy.lock().await;
        match self.compile() {
            Ok(gateway) => {
                // The new targets' names, before their traffic.
                let _ = tokio::time::timeout(RESOLVE_TIMEOUT, resolve_all(&gateway)).await;
                let digest = gateway.stamp.config_sha256.clone();
                self.journal.note(Event::ConfigLoaded { config: gateway.stamp.clone() });
                self.gateway.store(Arc::new(gateway));
                log::info!("config reloaded: {digest}");
                Ok(digest)
            }
            Err(errors) => {
                let first = errors.first().cloned().unwrap_or_default();
                log::error!("config not reloaded, the one before stays in force: {first}");
                self.journal.note(Event::ConfigRejected { config_sha256: String::new(), errors: errors.len(), first });
                Err(errors)
            }
        }
    }

    fn compile(&self) -> Result<Gateway, Vec<String>> {
        let loaded = config::load(&self.path).map_err(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let before = self.gateway.load();
        let gateway = Gateway::compile(&loaded, self.options, &|name| std::env::var(name).ok(), Some(&before));
        let gateway = gateway.map_err(|e| vec![e.to_string()])?;
        if gateway.audit != before.audit {
            return Err(vec![
                "the audit-logger's settings change only with a restart: the log is open under the old ones".into(),
            ]);
        }
        Ok(gateway)
    }
}
