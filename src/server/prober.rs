//! Asks each target for its models now and then, so that a dead one is known before a caller finds out, and a renamed model before
//! it is asked for. A probe costs no tokens.

use crate::gateway::Gateway;
use crate::proxy::probe;
use crate::upstream::target::Standing;
use crate::upstream::{Moment, Target};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use futures::stream::{FuturesUnordered, StreamExt};
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
        let mut histories: HashMap<Arc<str>, History> = HashMap::new();
        // Side by side: one that is slow to answer holds up no other.
        let mut probes = FuturesUnordered::new();
        loop {
            let gateway = self.gateway.load_full();
            let now = Instant::now();
            histories.retain(|id, _| gateway.targets().iter().any(|t| t.id == *id));
            for target in gateway.targets() {
                // A cooldown ends though nobody asks for the target.
                target.cool(Moment::at(now));
                let history = histories.remove(&target.id).filter(|history| history.is_of(target));
                let mut history = history.unwrap_or_else(|| History::new(target));
                if target.has_key() && history.is_due(target, now) {
                    history.last = Last::UnderWay(now);
                    probes.push(probe_once(&connector, target.clone()));
                }
                histories.insert(target.id.clone(), history);
            }
            let tick = tokio::time::sleep(TICK);
            tokio::pin!(tick);
            loop {
                tokio::select! {
                    () = &mut tick => break,
                    Some(target) = probes.next() => {
                        if let Some(history) = histories.get_mut(&target.id).filter(|history| history.is_of(&target)) {
                            history.ended(&target);
                        }
                    }
                    _ = shutdown.changed() => return,
                }
            }
        }
    }
}

/// What is remembered of the probes of one target, as long as it keeps its address.
struct History {
    standing: Arc<Standing>,
    last: Last,
    /// What was said of its models, so that it is said once.
    said: Vec<String>,
}

/// The last probe of a target, and when it began.
enum Last {
    None,
    UnderWay(Instant),
    Ended(Instant),
}

impl History {
    fn new(target: &Target) -> Self {
        Self { standing: target.standing.clone(), last: Last::None, said: Vec::new() }
    }

    fn is_of(&self, target: &Target) -> bool {
        Arc::ptr_eq(&self.standing, &target.standing)
    }

    /// By the interval in force now, whatever it was when the last one began.
    fn is_due(&self, target: &Target, now: Instant) -> bool {
        match self.last {
            Last::None => true,
            Last::UnderWay(_) => false,
            Last::Ended(began) => now.saturating_duration_since(began) >= target.probe.interval,
        }
    }

    fn ended(&mut self, target: &Target) {
        if let Last::UnderWay(began) = self.last {
            self.last = Last::Ended(began);
        }
        let news = remarks(target);
        news.iter().filter(|remark| !self.said.contains(remark)).for_each(|remark| log::warn!("target {}: {remark}", target.id));
        self.said = news;
    }
}

/// What people should know about the models a target has, against those of its config.
fn remarks(target: &Target) -> Vec<String> {
    let catalog = &target.standing.catalog;
    let remark = |id: &str| match catalog.repaired(id) {
        Some(now) => Some(format!("its provider lists no model {id}, but {now}: that one is asked for")),
        None if target.configured_model(id) == id && !catalog.has(id) => Some(format!("its provider lists no model {id}")),
        None => None,
    };
    if catalog.is_known() { target.model_ids().filter_map(remark).collect() } else { Vec::new() }
}

async fn probe_once(connector: &Connector, target: Arc<Target>) -> Arc<Target> {
    check(connector, &target).await;
    target
}

async fn check(connector: &Connector, target: &Target) {
    let outcome = tokio::time::timeout(target.probe.timeout, ask(connector, target)).await;
    let failed = match outcome {
        // Any answer below 500 shows that the target is there; a wrong key or path shows up in traffic.
        Ok(Ok(answer)) if answer.status < 500 => {
            if answer.status == 200 && target.probe_path().ends_with("/models") {
                match target.standing.catalog.learn(&answer.body) {
                    Ok(count) => log::debug!("target {}: it has {count} models", target.id),
                    Err(why) => log::debug!("target {}: its models are not known: {why}", target.id),
                }
            }
            None
        }
        Ok(Ok(answer)) => Some(format!("it answered {}", answer.status)),
        Ok(Err(error)) => Some(reason(&error)),
        Err(_) => Some(format!("no answer in {:?}", target.probe.timeout)),
    };
    let now = Moment::now();
    target.cool(now);
    let turned = target.standing.breaker.probed(&target.circuit_breaker, failed.is_none(), now);
    let why = failed.map_or("the probe was answered".into(), |why| format!("probe: {why}"));
    log::debug!("target {}: {why}", target.id);
    target.turned(turned, &why);
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
