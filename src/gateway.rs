//! What a config means: compiled once, immutable, shared by every exchange that begins under it.

use crate::audit::record::{ConfigStamp, Pack};
use crate::config::{AuditLoggerConfig, MarkerFormat, PiiAction, PiiDetectorConfig, PromptInjectionConfig};
use crate::config::{ChainEntry, Config, Fallback, Kind, Loaded, Routing, SecretRef, SizeLimits, TargetConfig};
use crate::policy::Policy;
use crate::policy::chain::{Chain, Link, Mode};
use crate::policy::pii::{self, PiiDetector, PiiSettings};
use crate::policy::prompt_injection::{InjectionSettings, PromptInjection};
use crate::upstream::{Failure, Key, Plan, Target};
use std::collections::HashSet;
use std::sync::Arc;

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
    /// Every target, in routing order.
    pub targets: Vec<Arc<Target>>,
    /// Bounds on what is read.
    pub limits: SizeLimits,
    /// Settings of the audit log; `None` when the chain has no `audit-logger`.
    pub audit: Option<AuditLoggerConfig>,
    fallback: Fallback,
    allow_fallbacks: bool,
}

/// A config that parses but cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CompileError(String);

impl Gateway {
    /// Compiles a config. A key that cannot be resolved makes its target unavailable, not the gateway: it is logged, shown in
    /// `/health`, and `/readyz` is 503 while no target is available.
    ///
    /// # Errors
    /// A pattern that does not compile, or a routing list that leaves no target.
    pub fn compile(loaded: &Loaded, options: Options, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, CompileError> {
        let config = &loaded.config;
        Ok(Self {
            stamp: Arc::new(ConfigStamp {
                config_sha256: hex::encode(loaded.sha256),
                pack: Pack { name: config.pack.name.clone(), version: config.pack.version.clone() },
            }),
            enabled: config.pack.enabled,
            chain: chain(config, options.mode)?,
            targets: targets(config, options, env)?,
            limits: config.size_limits.clone(),
            audit: config.policies.chain.iter().any(|e| e.kind == Kind::AuditLogger).then(|| config.policy.audit_logger.clone()),
            fallback: config.providers.fallback.clone(),
            allow_fallbacks: config.providers.routing.allow_fallbacks,
        })
    }

    /// The targets for one exchange: those that serve the model the caller asks for, then the rest, healthy before doubtful; at
    /// most the first and `max_fallback_attempts` more.
    pub fn route(&self, wanted: &str) -> Plan {
        let usable = || self.targets.iter().filter(|t| t.has_key());
        let mut order: Vec<&Arc<Target>> = usable().collect();
        order.sort_by_key(|t| (!t.health.is_healthy(), !t.serves(wanted)));
        let fallbacks =
            if self.fallback.enabled && self.allow_fallbacks { self.fallback.max_fallback_attempts as usize } else { 0 };
        Plan::new(order.into_iter().take(1 + fallbacks).map(|t| (t.clone(), t.model_for(wanted))).collect())
    }

    /// Whether a failure moves an exchange on to its next target.
    pub fn falls_back(&self, failure: Failure) -> bool {
        self.fallback.triggers.contains(&failure.trigger())
    }

    /// Whether some target could serve.
    pub fn is_ready(&self) -> bool {
        self.enabled && self.targets.iter().any(|t| t.has_key())
    }

    /// Whether some target answers to `model`.
    pub fn has_model(&self, model: &str) -> bool {
        self.targets.iter().any(|t| t.serves(model))
    }

    /// Every model id and alias the targets answer to, distinct, in routing order, with the provider.
    pub fn models(&self) -> Vec<(&str, &str)> {
        let mut seen = HashSet::new();
        let all = self.targets.iter().flat_map(|t| t.model_ids().map(|id| (id, &*t.provider)));
        all.filter(|(id, _)| seen.insert(*id)).collect()
    }
}

fn chain(config: &Config, mode: Mode) -> Result<Chain, CompileError> {
    let links = config.policies.chain.iter().filter_map(|entry| {
        let policy = policy(entry, config)?;
        Some(policy.map(|policy| Link { when: entry.when.clone(), policy }))
    });
    Ok(Chain::new(links.collect::<Result<_, _>>()?, mode))
}

/// The policy of one chain entry; `audit-logger` is settings of the journal, not a policy.
fn policy(entry: &ChainEntry, config: &Config) -> Option<Result<Arc<dyn Policy>, CompileError>> {
    let blocks = &config.policy;
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

/// The targets in routing order: `order` first, then as written; `only` and `ignore` applied.
fn targets(config: &Config, options: Options, env: &dyn Fn(&str) -> Option<String>) -> Result<Vec<Arc<Target>>, CompileError> {
    let Routing { order, only, ignore, .. } = &config.providers.routing;
    let listed = |id: &str| (only.is_empty() || only.iter().any(|o| o == id)) && !ignore.iter().any(|i| i == id);
    let mut chosen: Vec<&TargetConfig> = config.providers.targets.iter().filter(|t| listed(&t.id)).collect();
    if chosen.is_empty() {
        return Err(CompileError("providers.routing: `only` and `ignore` leave no target".into()));
    }
    chosen.sort_by_key(|t| order.iter().position(|o| *o == t.id).unwrap_or(order.len()));
    Ok(chosen.into_iter().map(|t| Arc::new(target(t, options, env))).collect())
}

fn target(config: &TargetConfig, options: Options, env: &dyn Fn(&str) -> Option<String>) -> Target {
    let mut target = Target::new(config, key(config.secret.as_ref(), env));
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
