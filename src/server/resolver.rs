//! Resolves target names in the background, so that no request ever waits for DNS.

use crate::gateway::Gateway;
use crate::upstream::Target;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

const REFRESH: Duration = Duration::from_secs(30);
/// While some name is unresolved.
const RETRY: Duration = Duration::from_secs(2);
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the start waits for names: traffic that comes before they resolve would fail.
const START_TIMEOUT: Duration = Duration::from_secs(3);

/// The background service.
pub struct Resolver {
    /// The gateway in force, whose targets are resolved.
    pub gateway: Arc<ArcSwap<Gateway>>,
}

#[async_trait]
impl BackgroundService for Resolver {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        loop {
            let pause = if resolve_all(&self.gateway.load_full()).await { REFRESH } else { RETRY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

/// A first resolution before traffic is taken; what is not resolved in time follows in the background.
pub fn resolve_before_start(gateway: &Gateway) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => {
            let resolved = runtime.block_on(async { tokio::time::timeout(START_TIMEOUT, resolve_all(gateway)).await });
            runtime.shutdown_background();
            if !matches!(resolved, Ok(true)) {
                log::warn!("not every target's name is resolved yet; it goes on in the background");
            }
        }
        Err(error) => log::warn!("targets are resolved in the background only: {error}"),
    }
}

/// Resolves every target; true when each one that can serve has an address.
pub async fn resolve_all(gateway: &Gateway) -> bool {
    let usable = gateway.targets().iter().filter(|t| t.has_key());
    let resolved = futures::future::join_all(usable.map(|target| resolve(target))).await;
    resolved.into_iter().all(|ok| ok)
}

/// Resolves one target; true when it has an address.
pub async fn resolve(target: &Target) -> bool {
    let (host, port) = (target.url.host.as_str(), target.url.port);
    match tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => target.set_addresses(prefer_v4(addresses.collect())),
        Ok(Err(error)) => log::warn!("target {}: {host} does not resolve: {error}", target.id),
        Err(_) => log::warn!("target {}: {host} did not resolve in {LOOKUP_TIMEOUT:?}", target.id),
    }
    target.address().is_some()
}

/// One family per attempt order: many hosts have an IPv6 address and no IPv6 route.
fn prefer_v4(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let v4: Vec<SocketAddr> = addresses.iter().copied().filter(SocketAddr::is_ipv4).collect();
    if v4.is_empty() { addresses } else { v4 }
}
