//! What the operator wrote, checked and with every default in place: the only part that knows YAML.
//!
//! [`parse`] reads a text in four steps, and each step reports everything it finds before the next one starts:
//!
//! 1. `tree`: the YAML with the place of every key and value; syntax, duplicate keys, size and depth.
//! 2. `shape`: the tree against the JSON Schema derived from the types below: unknown keys, wrong types, ranges.
//! 3. `document`: the typed document, by `serde_yaml`.
//! 4. `meaning`: what no schema can say: references between keys, secrets, URLs, patterns; defaults become values.
//!
//! The outcome is a [`Config`] that needs no further checking, or every error at once, each a [`Diagnostic`] with its place.

mod base_url;
mod diagnostic;
mod document;
mod durations;
mod kinds;
mod meaning;
mod min_free;
mod provider_ref;
mod providers;
mod recipient;
mod resilience;
mod routing;
mod scalar;
mod schema;
mod secret;
mod shape;
mod sinks;
mod source;
mod targets;
mod testing;
mod traffic;
mod tree;
mod wording;

#[cfg(test)]
mod tests;

pub use base_url::{BaseUrl, Scheme};
pub use diagnostic::{Code, Diagnostic, Severity};
pub use kinds::{
    AuditLoggerConfig, Bodies, Boundaries, Encoding, LogLevel, MarkerFormat, PATTERN_SIZE_LIMIT, PII_TYPES, PiiAction,
    PiiDetectorConfig, PromptInjectionConfig, Redaction, Response, ResponseAction,
};
pub use min_free::MinFree;
pub use provider_ref::{
    CEREBRAS_MODELS, KnownModel, KnownProvider, Mode, PROVIDERS, ProviderRef, ProviderRefError, known_model, known_provider,
};
pub use providers::{AssistantPrefix, HealthProbe, ModelEntry, Pricing, Providers, SizeLimits, TargetConfig};
pub use recipient::Recipient;
pub use resilience::{Backoff, BackoffStrategy, CircuitBreaker, Fallback, MidStream, Queue, RetryPolicy, Trigger};
pub use routing::{Hedge, Routing, Strategy};
pub use schema::json_schema;
pub use secret::{Secret, SecretError, SecretRef};
pub use sinks::{
    AnchorConfig, HeaderValue, NatsLogin, NatsSink, NatsUrl, OtlpSink, S3Keys, S3Sink, S3Store, SinkConfig, SinkKind, SystemLog,
};
pub use testing::{Case, CaseEndpoint, CaseInput, Expected, ExpectedVerdict, StreamPart, Suite, UpstreamResponse};

use document::Document;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use source::Source;
use std::collections::BTreeMap;
use std::path::Path;

/// A whole configuration, valid and with every default resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Who this configuration is.
    pub pack: Pack,
    /// Which policies run, in which order.
    pub policies: Policies,
    /// How each kind of policy behaves; a kind without a block has its defaults.
    pub policy: PolicyBlocks,
    /// Where requests go.
    pub providers: Providers,
    /// How large a request or an answer may be.
    pub size_limits: SizeLimits,
    /// What `kt policy test` tries on the chain; nothing at run time.
    pub testing: Vec<Suite>,
}

/// The name and version of a configuration, and whether it serves at all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// The name of this configuration, as it appears in records.
    #[schemars(length(min = 1, max = 200))]
    pub name: String,
    /// The version of this configuration: SemVer, such as `1.0.0`.
    #[schemars(extend("format" = "semver"))]
    pub version: String,
    /// The kill switch: `false` starts the gateway and answers 503 to every request. Traffic never passes ungoverned.
    pub enabled: bool,
    /// An identifier of your own.
    #[serde(default)]
    #[schemars(length(min = 1, max = 200))]
    pub id: Option<String>,
    /// Who maintains this configuration.
    #[serde(default)]
    #[schemars(length(max = 200))]
    pub author: Option<String>,
    /// What this configuration is for.
    #[serde(default)]
    #[schemars(length(max = 2000))]
    pub description: Option<String>,
    /// Labels of your own.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
}

/// The policies of this configuration.
#[derive(Debug, Clone, PartialEq)]
pub struct Policies {
    /// In running order; never empty. Within a phase the first block stops the chain.
    pub chain: Vec<ChainEntry>,
}

/// One policy in the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainEntry {
    /// Which policy.
    pub kind: Kind,
    /// Which requests it judges; the default is all of them.
    pub when: When,
}

/// Conditions that must all hold for a policy to run; an absent condition holds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
    /// The request path begins with this, such as `/v1/chat/`.
    #[serde(default)]
    #[schemars(regex(pattern = "^/"))]
    pub path: Option<String>,
    /// The request carries each of these headers with exactly this value. Names are lower case once loaded.
    #[serde(default, rename = "header")]
    pub headers: BTreeMap<String, String>,
    /// The caller asked for one of these models.
    #[serde(default, rename = "model")]
    pub models: Vec<String>,
}

impl When {
    /// Whether the policy runs on every request.
    pub fn always(&self) -> bool {
        self.path.is_none() && self.headers.is_empty() && self.models.is_empty()
    }
}

/// The kinds of policy this build has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(extend("x-what" = "policy kind", "x-later" = LATER_KINDS))]
pub enum Kind {
    /// Refuses prompts that try to take over the model.
    PromptInjection,
    /// Redacts or refuses personal data and secrets, in prompts and in answers.
    PiiDetector,
    /// Records every exchange in the tamper-evident audit log. Place it last.
    AuditLogger,
}

impl Kind {
    /// Every kind, in the order a chain usually has them.
    pub const ALL: [Kind; 3] = [Kind::PromptInjection, Kind::PiiDetector, Kind::AuditLogger];

    /// The kind as a configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::PromptInjection => "prompt-injection",
            Kind::PiiDetector => "pii-detector",
            Kind::AuditLogger => "audit-logger",
        }
    }
}

/// Kinds of the catalogue that this build lacks: refused by name, so that nobody believes one is at work.
pub(crate) const LATER_KINDS: &[&str] = &[
    "agent-firewall",
    "data-routing-policy",
    "dlp-filter",
    "language-validator",
    "rbac",
    "request-rewriter",
    "response-rewriter",
    "safety-filter",
    "tool-validation",
];

/// The settings of each kind.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PolicyBlocks {
    /// Settings of `prompt-injection`.
    pub prompt_injection: PromptInjectionConfig,
    /// Settings of `pii-detector`.
    pub pii_detector: PiiDetectorConfig,
    /// Settings of `audit-logger`.
    pub audit_logger: AuditLoggerConfig,
}

/// A configuration that loaded, and what its author may want to know.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Things that are allowed and probably not meant.
    pub warnings: Vec<Diagnostic>,
    /// Digest of the file's bytes: which configuration decided, for records.
    pub sha256: [u8; 32],
}

/// Diagnostics reported of one file, at most: nobody reads more, and a file of nothing but faults stays cheap.
const MOST_DIAGNOSTICS: usize = 200;

/// Reads and checks a file. A file that cannot be read is one diagnostic like any other.
pub fn load(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let name = path.display().to_string();
    let text = tree::read(path).map_err(|(code, message)| vec![Diagnostic::new(code, message).of_file(&name)])?;
    parse(&name, &text)
}

/// Checks a text; `name` is what diagnostics call it. Never touches the environment or the file system.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let mut source = Source::new(name, text);
    let (tree, mut faults) = tree::build(text);
    let shape = tree.as_ref().map(|tree| shape::check(tree, &schema::SCHEMA));
    let (sound, secrets) = match shape {
        Some(shape) => {
            faults.extend(shape.faults);
            (shape.sound, shape.secrets)
        }
        None => (None, Vec::new()),
    };
    secrets.into_iter().for_each(|place| source.hide(place));
    if let (true, Some(tree)) = (faults.is_empty(), &tree) {
        faults.extend(disagreement(text, tree));
    }
    // With faults, what is sound is still examined, so that the author hears of everything at once.
    let document = match &sound {
        Some(_) if faults.is_empty() => serde_yaml::from_str::<Document>(text).map_err(|error| faults.push(located(&error))).ok(),
        Some(sound) => sound.to_yaml().and_then(|sound| serde_yaml::from_value::<Document>(sound).ok()),
        None => None,
    };
    let mut config = None;
    if let (Some(document), Some(sound)) = (document, &sound) {
        let meaning = meaning::of(document, sound, faults.is_empty());
        meaning.secrets.into_iter().for_each(|place| source.hide(place));
        faults.extend(meaning.faults);
        config = meaning.config;
    }
    faults.sort_by_key(|fault| (fault.severity, fault.line, fault.column));
    let broken = faults.iter().any(|fault| fault.severity == Severity::Error);
    // Warnings about half a configuration may be untrue, so errors go alone.
    let faults = faults.into_iter().filter(|fault| !broken || fault.severity == Severity::Error);
    let faults: Vec<_> = faults.take(MOST_DIAGNOSTICS).map(|fault| source.complete(fault)).collect();
    match config {
        Some(config) if !broken => Ok(Loaded { config, warnings: faults, sha256: Sha256::digest(text.as_bytes()).into() }),
        _ => Err(faults),
    }
}

/// A fault when `serde_yaml` understands the text differently from the tree: the checks would have judged another text.
fn disagreement(text: &str, tree: &tree::Node) -> Option<Diagnostic> {
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(value) if tree.to_yaml().as_ref() == Some(&value) => None,
        Ok(_) => Some(Diagnostic::new(Code::Ambiguous, "YAML readers understand this file in different ways")),
        Err(error) => Some(located(&error)),
    }
}

/// An error of `serde_yaml`, after everything we check ourselves: rare, so its own words have to do.
fn located(error: &serde_yaml::Error) -> Diagnostic {
    let words = error.to_string();
    let why = if source::looks_secret(&words) { "a value does not fit its key" } else { &words };
    let fault = Diagnostic::new(Code::Ambiguous, format!("this file cannot be read: {why}"));
    match error.location() {
        Some(at) => fault.at(diagnostic::Place { line: at.line(), column: at.column(), width: 1 }),
        None => fault,
    }
}
