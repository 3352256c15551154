//! One provider endpoint, compiled: where it is, its key, its models, whether it can serve.

use super::health::Health;
use crate::config::{BaseUrl, HealthProbe, ModelEntry, Pricing, Scheme, Secret, TargetConfig};
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
    /// Tried after the others.
    Unhealthy,
    /// Can serve.
    Healthy,
}

impl State {
    /// The word `/health` uses.
    pub fn as_str(self) -> &'static str {
        match self {
            State::NoKey => "no_key",
            State::Unhealthy => "unhealthy",
            State::Healthy => "healthy",
        }
    }

    /// The value of `keeptrusts_gateway_target_state`.
    pub fn gauge(self) -> i64 {
        match self {
            State::NoKey => -1,
            State::Unhealthy => 0,
            State::Healthy => 1,
        }
    }
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
    /// To the first byte of the answer.
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
    /// What probes and traffic say of it.
    pub health: Health,
    addresses: ArcSwap<Vec<SocketAddr>>,
    turn: AtomicUsize,
}

impl Target {
    /// Compiles one target; addresses arrive later, from the resolver.
    pub fn new(config: &TargetConfig, key: Key) -> Self {
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
            health: Health::default(),
            addresses: ArcSwap::default(),
            turn: AtomicUsize::new(0),
        }
    }

    /// Sends this target's traffic to another address: the simulator stands in for a provider whose key is absent.
    pub fn redirect(&mut self, address: SocketAddr) {
        self.key = Key::NotNeeded;
        self.url = BaseUrl { scheme: Scheme::Http, host: address.ip().to_string(), port: address.port(), path: "/v1".into() };
        self.set_addresses(vec![address]);
    }

    /// Whether a key is there, or none is needed.
    pub fn has_key(&self) -> bool {
        !matches!(self.key, Key::Missing(_))
    }

    /// Whether it can serve, by its key and its health.
    pub fn state(&self) -> State {
        match (self.has_key(), self.health.is_healthy()) {
            (false, _) => State::NoKey,
            (true, false) => State::Unhealthy,
            (true, true) => State::Healthy,
        }
    }

    /// The model to ask this target for when the caller asks for `wanted`.
    pub fn model_for(&self, wanted: &str) -> String {
        let entry = self.models.iter().find(|m| m.model_id == wanted || m.aliases.iter().any(|a| a == wanted));
        match (entry, &self.model) {
            (Some(entry), _) => entry.model_id.clone(),
            (None, Some(pinned)) => pinned.clone(),
            (None, None) => self.models.first().map_or_else(|| wanted.to_owned(), |m| m.model_id.clone()),
        }
    }

    /// Whether the caller's `wanted` names a model of this target.
    pub fn serves(&self, wanted: &str) -> bool {
        self.model.as_deref() == Some(wanted)
            || self.models.iter().any(|m| m.model_id == wanted || m.aliases.iter().any(|a| a == wanted))
    }

    /// Every model id and alias this target answers to.
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
        let addresses = self.addresses.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        (!addresses.is_empty()).then(|| addresses[turn % addresses.len()])
    }

    /// What the resolver found. An empty list is not stored: a name that resolved once keeps its last addresses through a DNS outage.
    pub fn set_addresses(&self, addresses: Vec<SocketAddr>) {
        if !addresses.is_empty() {
            self.addresses.store(Arc::new(addresses));
        }
    }
}
