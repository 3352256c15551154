//! One provider endpoint, compiled: where it is, its key, its models, and how it stands.

use super::balancer::Turn;
use super::breaker::{Breaker, BreakerState};
use super::capacity::Capacity;
use super::catalog::Catalog;
use super::moment::Moment;
use super::pace::Pace;
use super::parking::Parking;
use super::quota::Quota;
use crate::config::{AssistantPrefix, BaseUrl, CircuitBreaker, HealthProbe, ModelEntry, Pricing, Scheme, Secret, TargetConfig};
use arc_swap::ArcSwap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// What a target presents to its provider.
#[derive(Debug)]
pub enum Key {
    /// The provider takes none (local servers, the simulator).
    NotNeeded,
    /// Sent in the target's key header; readable in `proxy/forward.rs` only.
    Present(Secret),
    /// The reference could not be resolved; the text says which and why, never the value.
    Missing(String),
}

/// Whether a target can serve, for people and for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its key is missing.
    NoKey,
    /// Its circuit breaker is open: not asked.
    Open,
    /// Asked by a few requests on trial.
    HalfOpen,
    /// It asked to be left alone for a while (`Retry-After`): not asked.
    Parked,
    /// Can serve.
    Healthy,
}

impl State {
    /// The word `/health` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            State::NoKey => "no_key",
            State::Open => "open",
            State::HalfOpen => "half_open",
            State::Parked => "parked",
            State::Healthy => "healthy",
        }
    }

    /// The value of `keeptrusts_gateway_target_state`.
    pub fn gauge(self) -> i64 {
        match self {
            State::NoKey => -1,
            State::Open => 0,
            State::Healthy => 1,
            State::HalfOpen => 2,
            State::Parked => 3,
        }
    }
}

/// How a target stands: everything learnt of it while the gateway runs. It outlives a reload of the config, as long as the target
/// keeps its id and its address. Each part is lock-free on the request path.
#[derive(Debug, Default)]
pub struct Standing {
    /// Whether its failures say to leave it alone.
    pub breaker: Breaker,
    /// Whether it said so itself.
    pub parking: Parking,
    /// What its headers say is left of its quotas.
    pub quota: Quota,
    /// How fast it answers.
    pub pace: Pace,
    /// Requests under way.
    pub capacity: Arc<Capacity>,
    /// Its place in the rotation.
    pub turn: Turn,
    /// The models it says it has.
    pub catalog: Catalog,
    addresses: ArcSwap<Vec<SocketAddr>>,
    next_address: AtomicUsize,
}

/// One provider endpoint.
#[derive(Debug)]
pub struct Target {
    /// Unique in the config; the label of metrics and records.
    pub id: Arc<str>,
    /// Provider name, such as `cerebras`.
    pub provider: Arc<str>,
    /// The model sent upstream, whatever the caller asked for; `None` passes the caller's.
    pub model: Option<String>,
    /// Further models, with aliases.
    pub models: Vec<ModelEntry>,
    /// Scheme, host, port and path up to the version segment.
    pub url: BaseUrl,
    /// How it authenticates.
    pub key: Key,
    /// Header that carries the key, and what stands before it.
    pub key_header: String,
    /// Such as `"Bearer "`.
    pub key_prefix: String,
    /// Extra upstream headers.
    pub headers: Vec<(String, String)>,
    /// TCP, and again TLS.
    pub connect_timeout: Duration,
    /// To the first byte of the answer, retries on this target included.
    pub timeout: Duration,
    /// Idle gap inside an answer.
    pub stream_timeout: Duration,
    /// Prices, when configured.
    pub pricing: Option<Pricing>,
    /// How it is probed.
    pub probe: HealthProbe,
    /// It takes `stream_options.include_usage`.
    pub include_usage: bool,
    /// HTTP/2 may be negotiated (TLS only).
    pub http2: bool,
    /// Its share under `weighted_round_robin`.
    pub weight: f64,
    /// Requests it may have under way.
    pub max_concurrency: Option<u32>,
    /// Request fields it rejects, which are dropped for it.
    pub drop_fields: Vec<String>,
    /// How it is asked to go on with an answer another target began.
    pub assistant_prefix: AssistantPrefix,
    /// When its breaker opens and closes.
    pub circuit_breaker: CircuitBreaker,
    /// How it stands.
    pub standing: Arc<Standing>,
}

impl Target {
    /// Compiles one target; addresses arrive later, from the resolver.
    pub fn new(config: &TargetConfig, key: Key, circuit_breaker: &CircuitBreaker) -> Self {
        Self {
            id: config.id.as_str().into(),
            provider: config.provider.name.as_str().into(),
            model: config.model.clone(),
            models: config.models.iter().filter(|m| m.enabled).cloned().collect(),
            url: config.base_url.clone(),
            key,
            key_header: config.api_key_header.clone(),
            key_prefix: config.api_key_prefix.clone(),
            headers: config.headers.iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
            connect_timeout: config.connect_timeout,
            timeout: config.timeout,
            stream_timeout: config.stream_timeout,
            pricing: config.pricing,
            probe: config.health_probe.clone(),
            include_usage: config.include_usage,
            http2: config.http2,
            weight: config.weight,
            max_concurrency: config.max_concurrency,
            drop_fields: config.drop_fields.clone(),
            assistant_prefix: config.assistant_prefix,
            circuit_breaker: circuit_breaker.clone(),
            standing: Arc::default(),
        }
    }

    /// Sends this target's traffic to another address: the simulator stands in for a provider whose key is absent.
    pub fn redirect(&mut self, address: SocketAddr) {
        self.key = Key::NotNeeded;
        self.url = BaseUrl { scheme: Scheme::Http, host: address.ip().to_string(), port: address.port(), path: "/v1".into() };
        self.set_addresses(vec![address]);
    }

    /// Takes over how the same target stood under the config before: a reload forgets no open breaker.
    pub fn inherit(&mut self, before: &[Arc<Target>]) {
        if let Some(same) = before.iter().find(|t| t.id == self.id && t.url == self.url) {
            self.standing = same.standing.clone();
        }
    }

    /// Whether a key is there, or none is needed.
    pub fn has_key(&self) -> bool {
        !matches!(self.key, Key::Missing(_))
    }

    /// Whether it can serve, for people.
    pub fn state(&self, now: Moment) -> State {
        let breaker = if self.circuit_breaker.enabled { self.standing.breaker.state(now) } else { BreakerState::Closed };
        match breaker {
            _ if !self.has_key() => State::NoKey,
            BreakerState::Open { .. } => State::Open,
            _ if self.standing.parking.parked(now).is_some() => State::Parked,
            BreakerState::HalfOpen => State::HalfOpen,
            BreakerState::Closed => State::Healthy,
        }
    }

    /// The model to ask this target for when the caller asks for `wanted`: the id of its config, or what its provider calls that
    /// now.
    pub fn model_for(&self, wanted: &str) -> String {
        let named = self.configured_model(wanted);
        self.standing.catalog.repaired(named).unwrap_or_else(|| named.to_owned())
    }

    /// The model of the config for what the caller asks for.
    pub fn configured_model<'a>(&'a self, wanted: &'a str) -> &'a str {
        let entry = self.models.iter().find(|m| m.model_id == wanted || m.aliases.iter().any(|a| a == wanted));
        let named = entry.map(|entry| entry.model_id.as_str()).or_else(|| self.renamed_to(wanted));
        match (named, &self.model) {
            (Some(named), _) => named,
            (None, Some(pinned)) => pinned,
            (None, None) => self.models.first().map_or(wanted, |m| &m.model_id),
        }
    }

    /// Whether the caller's `wanted` names a model of this target: one of its config, also by the name its provider has for it
    /// now or, when the config names none, one the provider lists.
    pub fn serves(&self, wanted: &str) -> bool {
        self.model_ids().any(|id| id == wanted)
            || if self.takes_any_model() { self.standing.catalog.has(wanted) } else { self.renamed_to(wanted).is_some() }
    }

    /// The model of the config that its provider calls `name` now.
    fn renamed_to(&self, name: &str) -> Option<&str> {
        let catalog = &self.standing.catalog;
        if !catalog.has(name) {
            return None;
        }
        let ids = self.model.iter().chain(self.models.iter().map(|m| &m.model_id));
        ids.map(String::as_str).find(|id| catalog.repaired(id).as_deref() == Some(name))
    }

    /// The config names no model: the caller's word goes through.
    pub fn takes_any_model(&self) -> bool {
        self.model.is_none() && self.models.is_empty()
    }

    /// Every model id and alias of its config.
    pub fn model_ids(&self) -> impl Iterator<Item = &str> {
        let entries =
            self.models.iter().flat_map(|m| std::iter::once(m.model_id.as_str()).chain(m.aliases.iter().map(String::as_str)));
        self.model.as_deref().into_iter().chain(entries)
    }

    /// Path of the health probe.
    pub fn probe_path(&self) -> String {
        let endpoint = self.probe.endpoint.as_str();
        if endpoint.starts_with('/') { endpoint.to_owned() } else { self.url.endpoint(endpoint) }
    }

    /// The next resolved address, in turn; `None` until the name is resolved.
    pub fn address(&self) -> Option<SocketAddr> {
        let addresses = self.standing.addresses.load();
        let turn = self.standing.next_address.fetch_add(1, Ordering::Relaxed);
        (!addresses.is_empty()).then(|| addresses[turn % addresses.len()])
    }

    /// What the resolver found. An empty list is not stored: a name that resolved once keeps its last addresses through a DNS outage.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            self.standing.addresses.store(Arc::new(addresses));
        }
    }
}
