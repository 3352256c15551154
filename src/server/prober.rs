//! Asks each target for its models now and then, so that a dead one is known before a caller finds out, and a renamed model before
//! it is asked for. A probe costs no tokens.

use crate::gateway::Gateway;
use crate::metrics::METRICS;
use crate::proxy::probe;
use crate::upstream::{Moment, Target};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::DATE;
use pingora_core::connectors::http::Connector;
use pingora_core::server::ShutdownWatch;
use pingora_core::services::background::BackgroundService;
use pingora_core::{Error, ErrorType, Result};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// How often due probes are looked for.
const TICK: Duration = Duration::from_millis(500);
/// A list of models is read up to here, in bytes.
const MAX_BODY: usize = 4 << 20;

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
            due.retain(|id, _| gateway.targets().iter().any(|t| t.id == *id));
            let ready = gateway.targets().iter().filter(|t| t.has_key() && due.get(&t.id).is_none_or(|at| *at <= now));
            let ready: Vec<&Arc<Target>> = ready.collect();
            futures::future::join_all(ready.iter().map(|target| check(&connector, target))).await;
            for target in ready {
                due.insert(target.id.clone(), now + target.probe.interval);
            }
            gateway.targets().iter().for_each(|t| report(t));
            tokio::select! {
                () = tokio::time::sleep(TICK) => {}
                _ = shutdown.changed() => return,
            }
        }
    }
}

async fn check(connector: &Connector, target: &Target) {
    let outcome = tokio::time::timeout(target.probe.timeout, ask(connector, target)).await;
    let failed = match outcome {
        // Any answer below 500 shows that the target is there; a wrong key or path shows up in traffic.
        Ok(Ok(answer)) if answer.status < 500 => {
            if answer.status == 200 && target.probe_path().ends_with("/models") {
                learn(target, &answer.body);
            }
            None
        }
        Ok(Ok(answer)) => Some(format!("it answered {}", answer.status)),
        Ok(Err(error)) => Some(reason(&error)),
        Err(_) => Some(format!("no answer in {:?}", target.probe.timeout)),
    };
    let breaker = &target.standing.breaker;
    let turned = breaker.probed(&target.circuit_breaker, failed.is_none(), Moment::now());
    let why = failed.map_or("the probe was answered".into(), |why| format!("probe: {why}"));
    log::debug!("target {}: {why}", target.id);
    target.turned(turned, &why);
}

/// Takes the target's models, and says once what they change.
fn learn(target: &Target, body: &[u8]) {
    let catalog = &target.standing.catalog;
    let before: Vec<_> = target.model_ids().map(|id| catalog.repaired(id)).collect();
    let was_known = catalog.is_known();
    if let Err(why) = catalog.learn(body) {
        log::debug!("target {}: its models are not known: {why}", target.id);
        return;
    }
    for (id, before) in target.model_ids().zip(before) {
        match catalog.repaired(id) {
            Some(now) if before.as_ref() != Some(&now) => {
                log::warn!("target {}: its provider lists no model {id}, but {now}: that one is asked for", target.id);
            }
            None if !was_known && target.configured_model(id) == id && !catalog.has(id) => {
                log::warn!("target {}: its provider lists no model {id}", target.id);
            }
            _ => {}
        }
    }
}

/// What a target answers to its probe.
pub(super) struct Answer {
    /// HTTP status.
    pub status: u16,
    /// What it says the time is.
    pub date: Option<SystemTime>,
    /// The body of a 200, as far as it is read.
    pub body: Vec<u8>,
}

/// Asks a target what its probe asks.
///
/// # Errors
/// No answer: its name, the connection, TLS, or what came over it.
pub(super) async fn ask(connector: &Connector, target: &Target) -> Result<Answer> {
    let Some(address) = target.address() else { return Error::e_explain(ErrorType::ConnectError, "its name is not resolved") };
    let (peer, head) = probe(target, address)?;
    let (mut session, _) = connector.get_http_session(&*peer).await?;
    session.write_request_header(Box::new(head)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    let head = session.response_header();
    let status = head.map_or(0, |head| head.status.as_u16());
    let date = head.and_then(|head| httpdate::parse_http_date(head.headers.get(DATE)?.to_str().ok()?).ok());
    let mut body = Vec::new();
    while status == 200 && body.len() < MAX_BODY {
        match session.read_response_body().await? {
            Some(piece) => body.extend_from_slice(&piece),
            None => break,
        }
    }
    session.shutdown().await;
    Ok(Answer { status, date, body })
}

/// Pingora's errors tell the whole way down: the first word and the last are what people need.
pub(super) fn reason(error: &Error) -> String {
    let text = error.to_string();
    let last = text.rsplit("cause: ").next().unwrap_or_default().trim();
    format!("{}: {last}", error.etype().as_str())
}

/// Keeps the metric of its state, and says when it cooled down though nobody asks for it.
fn report(target: &Target) {
    let now = Moment::now();
    target.turned(target.standing.breaker.cool(now), "its cooldown is over");
    METRICS.target_state.with_label_values(&[&*target.id]).set(target.state(now).gauge());
}
