//! Asks each target for its models now and then, so that a dead one is known before a caller finds out. A probe costs no tokens.

use crate::gateway::Gateway;
use crate::metrics::METRICS;
use crate::proxy::probe;
use crate::upstream::Target;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora_core::connectors::http::Connector;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use pingora_core::{Error, ErrorType, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often due probes are looked for.
const TICK: Duration = Duration::from_millis(500);

/// The background service.
pub struct Prober {
    /// The gateway in force, whose targets are probed.
    pub gateway: Arc<ArcSwap<Gateway>>,
}

#[async_trait]
impl BackgroundService for Prober {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let connector = Connector::new(None);
        let mut due: HashMap<Arc<str>, Instant> = HashMap::new();
        loop {
            let gateway = self.gateway.load_full();
            let now = Instant::now();
            due.retain(|id, _| gateway.targets.iter().any(|t| t.id == *id));
            let ready = gateway.targets.iter().filter(|t| t.has_key() && due.get(&t.id).is_none_or(|at| *at <= now));
            let ready: Vec<&Arc<Target>> = ready.collect();
            futures::future::join_all(ready.iter().map(|target| check(&connector, target))).await;
            for target in ready {
                due.insert(target.id.clone(), now + target.probe.interval);
            }
            gateway.targets.iter().for_each(|t| report(t));
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

async fn check(connector: &Connector, target: &Target) {
    let outcome = tokio::time::timeout(target.probe.timeout, status(connector, target)).await;
    let failed = match outcome {
        // Any answer below 500 shows that the target is there; a wrong key or path shows up in traffic.
        Ok(Ok(status)) if status < 500 => None,
        Ok(Ok(status)) => Some(format!("it answered {status}")),
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("no answer in {:?}", target.probe.timeout)),
    };
    match failed {
        None if target.health.succeeded() => log::info!("target {} is healthy again", target.id),
        None => {}
        Some(why) if target.health.failed() => log::warn!("target {} is unhealthy: probe: {why}", target.id),
        Some(why) => log::debug!("target {}: probe: {why}", target.id),
    }
}

async fn status(connector: &Connector, target: &Target) -> Result<u16> {
    let Some(address) = target.address() else { return Error::e_explain(ErrorType::ConnectError, "its name is not resolved") };
    let (peer, head) = probe(target, address)?;
    let (mut session, _) = connector.get_http_session(&*peer).await?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let status = session.response_header().map_or(0, |head| head.status.as_u16());
    session.shutdown().await;
    Ok(status)
}

fn report(target: &Target) {
    METRICS.target_state.with_label_values(&[&*target.id]).set(target.state().gauge());
}
