//! What a config means: compiled once, immutable, shared by every exchange that begins under it.

use crate::audit::record::{ConfigStamp, Pack};
use crate::audit::vault::Keep;
use crate::config::{AuditLoggerConfig, Bodies, MarkerFormat, PiiAction, PiiDetectorConfig, PromptInjectionConfig};
use crate::config::{
    ChainEntry, CircuitBreaker, Config, Kind, Loaded, PolicyBlocks, Recipient, SecretRef, SizeLimits, TargetConfig,
};
use crate::policy::Policy;
use crate::policy::chain::{Chain, Link, Mode};
use crate::policy::pii::{self, PiiDetector, PiiSettings};
use crate::policy::prompt_injection::{InjectionSettings, PromptInjection};
use crate::upstream::capacity::Queue;
use crate::upstream::{Key, Router, Target};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// What the command line adds to a config.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Fail mode and observation.
    pub mode: Mode,
    /// Where targets without a key answer from: the built-in simulator.
    pub simulator: Option<std::net::SocketAddr>,
}

/// A compiled config.
pub struct Gateway {
    /// Pack and config digest, as every record names them.
    pub stamp: Arc<ConfigStamp>,
    /// `pack.enabled`: false answers 503 to everything under `/v1`.
    pub enabled: bool,
    /// What judges.
    pub chain: Chain,
    /// Every target, and how one is chosen.
    pub router: Router,
    /// Requests that wait for room.
    pub queue: Queue,
    /// How long they may.
    pub queue_timeout: Duration,
    /// Bounds on what is read.
    pub limits: SizeLimits,
    /// Settings of the audit log; `None` when the chain has no `audit-logger`.
    pub audit: Option<AuditLoggerConfig>,
    /// What it keeps of bodies.
    pub keep: Keep,
}

/// A config that parses but cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(String);

impl Gateway {
    /// Compiles a config. A key that cannot be resolved makes its target unavailable, not the gateway: it is logged, shown in
    /// `/health`, and `/readyz` is 503 while no target is available. How the targets of the gateway `before` stand is taken over,
    /// and who waits.
    ///
    /// # Errors
    /// A pattern that does not compile, or a routing list that leaves no target.
    pub fn compile(
        loaded: &Loaded,
        options: Options,
        env: &dyn Fn(&str) -> Option<String>,
        before: Option<&Gateway>,
    ) -> Result<Self, CompileError> {
        let config = &loaded.config;
        let mut targets = targets(config, options, env)?;
        for target in &mut targets {
            target.inherit(before.map(|gateway| gateway.targets()).unwrap_or_default());
        }
        Ok(Self {
            stamp: Arc::new(ConfigStamp {
                config_sha256: hex::encode(loaded.sha256),
                pack: Pack { name: config.pack.name.clone(), version: config.pack.version.clone() },
            }),
            enabled: config.pack.enabled,
            chain: chain(&config.policies.chain, &config.policy, options.mode)?,
            router: Router::new(targets.into_iter().map(Arc::new).collect(), &config.providers),
            queue: match before {
                Some(before) => before.queue.with_room(config.providers.queue.max_waiting),
                None => Queue::new(config.providers.queue.max_waiting),
            },
            queue_timeout: config.providers.queue.timeout,
            limits: config.size_limits.clone(),
            audit: config.policies.chain.iter().any(|e| e.kind == Kind::AuditLogger).then(|| config.policy.audit_logger.clone()),
            keep: keep(&config.policy.audit_logger),
        })
    }

    /// Every target, in base order.
    pub fn targets(&self) -> &[Arc<Target>] {
        &self.router.targets
    }

    /// Whether some target could serve.
    pub fn is_ready(&self) -> bool {
        self.enabled && self.targets().iter().any(|t| t.has_key())
    }

    /// Whether the config names `model`: only then is it fit to be a metric's label.
    pub fn has_model(&self, model: &str) -> bool {
        let names =
            |t: &Arc<Target>| t.model_ids().any(|id| id == model || t.standing.catalog.repaired(id).as_deref() == Some(model));
        self.targets().iter().any(names)
    }

    /// Every model a caller may name, distinct, in base order, with its provider: the ids and aliases of the config and, for a
    /// target that takes any model, those its provider lists.
    pub fn models(&self) -> Vec<(String, Arc<str>)> {
        let mut seen = HashSet::new();
        let of = |t: &Arc<Target>| match t.takes_any_model() {
            true => t.standing.catalog.ids(),
            false => t.model_ids().map(str::to_owned).collect(),
        };
        let all = self.targets().iter().flat_map(|t| of(t).into_iter().map(|id| (id, t.provider.clone())));
        all.filter(|(id, _)| seen.insert(id.clone())).collect()
    }
}

/// The policies of a config alone, for those who judge without serving.
///
/// # Errors
/// A pattern that does not compile.
pub fn chain(entries: &[ChainEntry], blocks: &PolicyBlocks, mode: Mode) -> Result<Chain, CompileError> {
    let links = entries.iter().filter_map(|entry| {
        let policy = policy(entry, blocks)?;
        Some(policy.map(|policy| Link { when: entry.when.clone(), policy }))
    });
    Ok(Chain::new(links.collect::<Result<_, _>>()?, mode))
}

/// The policy of one chain entry; `audit-logger` is settings of the journal, not a policy.
fn policy(entry: &ChainEntry, blocks: &PolicyBlocks) -> Option<Result<Arc<dyn Policy>, CompileError>> {
    let named = |kind: Kind| move |why: String| CompileError(format!("policy.{}: {why}", kind.as_str()));
    match entry.kind {
        Kind::PromptInjection => Some(
            PromptInjection::new(injection_settings(&blocks.prompt_injection))
                .map(|p| Arc::new(p) as Arc<dyn Policy>)
                .map_err(named(entry.kind)),
        ),
        Kind::PiiDetector => Some(
            PiiDetector::new(pii_settings(&blocks.pii_detector))
                .map(|p| Arc::new(p) as Arc<dyn Policy>)
                .map_err(named(entry.kind)),
        ),
        Kind::AuditLogger => None,
    }
}

fn injection_settings(config: &PromptInjectionConfig) -> InjectionSettings {
    InjectionSettings {
        threshold: config.embedding_threshold,
        attack_patterns: config.attack_patterns.clone(),
        decode_base64: config.encoding.decode_base64,
        normalize_unicode: config.encoding.normalize_unicode,
        detect_homoglyphs: config.encoding.detect_homoglyphs,
        enforce_delimiters: config.boundaries.enforce_delimiters,
        reject_fake_boundaries: config.boundaries.reject_fake_boundaries,
        message: config.response.message.clone(),
    }
}

fn pii_settings(config: &PiiDetectorConfig) -> PiiSettings {
    PiiSettings {
        action: match config.action {
            PiiAction::Redact if config.restore => pii::Action::Restore,
            PiiAction::Redact => pii::Action::Redact,
            PiiAction::Block => pii::Action::Block,
        },
        pci_mode: config.pci_mode,
        healthcare_mode: config.healthcare_mode,
        detect_patterns: config.detect_patterns.clone(),
        marker_format: match config.redaction.marker_format {
            MarkerFormat::Label => pii::MarkerFormat::Label,
            MarkerFormat::Asterisk => pii::MarkerFormat::Asterisk,
            MarkerFormat::Partial => pii::MarkerFormat::Partial,
        },
        include_metadata: config.redaction.include_metadata,
        preserve_length: config.redaction.preserve_length,
        custom_markers: config.redaction.custom_markers.clone(),
    }
}

fn keep(config: &AuditLoggerConfig) -> Keep {
    match config.bodies {
        Bodies::None => Keep::Nothing,
        Bodies::Redacted => Keep::Redacted,
        Bodies::Encrypted => Keep::Encrypted(config.encrypt_to.iter().filter_map(Recipient::key).collect()),
    }
}

/// The targets in routing order: `order` first, then as written; `only` and `ignore` applied.
fn targets(config: &Config, options: Options, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Target>, CompileError> {
    let routing = &config.providers.routing;
    let mut chosen: Vec<&TargetConfig> = config.providers.targets.iter().filter(|t| routing.uses(&t.id)).collect();
    if chosen.is_empty() {
        return Err(CompileError("providers.routing: `only` and `ignore` leave no target".into()));
    }
    chosen.sort_by_key(|t| routing.order.iter().position(|id| *id == t.id).unwrap_or(routing.order.len()));
    Ok(chosen.into_iter().map(|t| target(t, &config.providers.circuit_breaker, options, env)).collect())
}

fn target(
    config: &TargetConfig,
    circuit_breaker: &CircuitBreaker,
    options: Options,
    env: &dyn Fn(&str) -> Option<String>,
) -> Target {
    let mut target = Target::new(config, key(config.secret.as_ref(), env), circuit_breaker);
    match (&target.key, options.simulator) {
        (Key::Missing(_), Some(simulator)) => {
            log::info!("target {}: no key, answered by the built-in simulator", target.id);
            target.redirect(simulator);
        }
        (Key::Missing(why), None) => log::warn!("target {} is unavailable: {why}", target.id),
        _ => {}
    }
    target
}

fn key(secret: Option<&SecretRef>, env: &dyn Fn(&str) -> Option<String>) -> Key {
    match secret.map(|reference| reference.resolve(env)) {
        None => Key::NotNeeded,
        Some(Ok(secret)) => Key::Present(secret),
        Some(Err(error)) => Key::Missing(error.to_string()),
    }
}
