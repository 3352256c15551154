//! The settings of each policy kind: the blocks under `policy:`.

use super::sinks::{AnchorConfig, SinkConfig};
use super::{MinFree, Recipient, SecretRef};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Settings of `prompt-injection`.
#[derive(Debug, Clone, PartialEq)]
pub struct PromptInjectionConfig {
    /// The score, 0 to 1, at which the local classifier blocks.
    pub embedding_threshold: f64,
    /// Regular expressions added to the built-in rules, matched after normalisation. Each is known to compile within
    /// [`PATTERN_SIZE_LIMIT`] and never to match the empty text.
    pub attack_patterns: Vec<String>,
    /// Disguises that are undone before matching.
    pub encoding: Encoding,
    /// Attempts to forge the borders between messages.
    pub boundaries: Boundaries,
    /// What a refused caller sees.
    pub response: Response,
}

impl Default for PromptInjectionConfig {
    fn default() -> Self {
        Self {
            embedding_threshold: 0.75,
            attack_patterns: Vec::new(),
            encoding: Encoding::default(),
            boundaries: Boundaries::default(),
            response: Response::default(),
        }
    }
}

/// Memory a compiled pattern may take, in bytes (`regex::RegexBuilder::size_limit`).
pub const PATTERN_SIZE_LIMIT: usize = 1 << 20;

/// Disguises that are undone before matching.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Encoding {
    /// Look inside base64.
    pub decode_base64: bool,
    /// Fold Unicode compatibility forms and drop invisible characters.
    pub normalize_unicode: bool,
    /// Read look-alike letters of other scripts as the letters they imitate.
    pub detect_homoglyphs: bool,
}

impl Default for Encoding {
    fn default() -> Self {
        Self { decode_base64: true, normalize_unicode: true, detect_homoglyphs: true }
    }
}

/// Attempts to forge the borders between messages.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Boundaries {
    /// Refuse chat-template delimiters in what a user wrote.
    pub enforce_delimiters: bool,
    /// Refuse forged role markers, such as a user message that pretends to contain a system message.
    pub reject_fake_boundaries: bool,
}

impl Default for Boundaries {
    fn default() -> Self {
        Self { enforce_delimiters: true, reject_fake_boundaries: true }
    }
}

/// What a refused caller sees.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    /// What happens on a hit.
    pub action: ResponseAction,
    /// The sentence in the refusal.
    #[schemars(length(min = 1, max = 1000))]
    pub message: String,
    /// The level of the log line a hit leaves.
    pub log_level: LogLevel,
}

impl Default for Response {
    fn default() -> Self {
        Self {
            action: ResponseAction::Block,
            message: "Request blocked: potential prompt injection detected".into(),
            log_level: LogLevel::Warn,
        }
    }
}

/// What a hit of `prompt-injection` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ResponseAction {
    /// The request is refused with 409 and the provider is never called.
    #[default]
    Block,
}

/// The level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// No line at all.
    Off,
    /// As a failure of the gateway itself.
    Error,
    /// As something to look at.
    #[default]
    Warn,
    /// As something to know.
    Info,
    /// For whoever looks for a fault.
    Debug,
    /// For whoever looks closely.
    Trace,
}

/// Settings of `pii-detector`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("x-later" = ["backend"]))]
pub struct PiiDetectorConfig {
    /// What a find does.
    pub action: PiiAction,
    /// Look for credit card numbers, security codes and card-holder names.
    pub pci_mode: bool,
    /// Look for medical record numbers, insurance ids and provider ids.
    pub healthcare_mode: bool,
    /// Regular expressions of your own; what they match is a `custom` find. Each is known to compile within
    /// [`PATTERN_SIZE_LIMIT`] and never to match the empty text.
    #[schemars(length(max = 256), inner(length(min = 1, max = 4096)))]
    pub detect_patterns: Vec<String>,
    /// How a redacted value looks.
    pub redaction: Redaction,
    /// Give each distinct value of a prompt a token of its own (`[EMAIL_1]`), and put the value back where the token stands in
    /// the answer the caller sees. `redaction` then says what becomes of other values in the answer. Not with `action: block`.
    pub restore: bool,
}

impl Default for PiiDetectorConfig {
    fn default() -> Self {
        Self {
            action: PiiAction::Redact,
            pci_mode: true,
            healthcare_mode: false,
            detect_patterns: Vec::new(),
            redaction: Redaction::default(),
            restore: false,
        }
    }
}

/// What a find of `pii-detector` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PiiAction {
    /// The value is replaced; the request or answer goes on.
    #[default]
    Redact,
    /// The request is refused with 409; an answer ends there.
    Block,
}

/// How a redacted value looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Redaction {
    /// The form of the replacement.
    pub marker_format: MarkerFormat,
    /// Count finds by type in the record and in `x-keeptrusts-redactions`.
    pub include_metadata: bool,
    /// Make the replacement as long as the value, where the format allows it.
    pub preserve_length: bool,
    /// Replacements of your own by type, instead of the labels: `email: "<mail>"`. Keys are of [`PII_TYPES`].
    pub custom_markers: BTreeMap<String, String>,
}

impl Default for Redaction {
    fn default() -> Self {
        Self {
            marker_format: MarkerFormat::Label,
            include_metadata: true,
            preserve_length: false,
            custom_markers: BTreeMap::new(),
        }
    }
}

/// The form of a replacement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MarkerFormat {
    /// `[EMAIL_REDACTED]`
    #[default]
    Label,
    /// `****`
    Asterisk,
    /// The ends stay readable: `j***@e***.com`
    Partial,
}

/// The types `pii-detector` tells apart: each is the lower case of its label without `_REDACTED`.
pub const PII_TYPES: [&str; 13] = [
    "email",
    "phone",
    "ssn",
    "credit_card",
    "cvv",
    "cardholder_name",
    "ip_address",
    "iban",
    "mrn",
    "insurance_id",
    "npi",
    "secret",
    "custom",
];

/// Settings of `audit-logger`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AuditLoggerConfig {
    /// `true`: what cannot be recorded is refused with 503. `false`: it goes on, and the gap itself is recorded.
    pub immutable: bool,
    /// Days after which whole segments may be pruned, never earlier.
    #[schemars(range(min = 1, max = 36500))]
    pub retention_days: u32,
    /// Record what an audit under HIPAA asks for: who reached which model when, and each reading of the log.
    pub hipaa_audit_controls: bool,
    /// Record also what was denied, what was not for a model, and who read the log.
    pub log_all_access: bool,
    /// Wait this long for companions before each sync to disk; 0 syncs at once.
    #[schemars(range(max = 1000))]
    pub commit_interval_ms: u32,
    /// How long a request waits for a place in the log before it is refused.
    #[schemars(range(min = 1, max = 60000))]
    pub max_wait_ms: u32,
    /// Free space below which requests are refused, before the disk is full: bytes (`2GiB`) or a share (`10%`).
    pub min_free: MinFree,
    /// What is kept of prompts and answers, beside commitments that prove later which they were; up to 1 MiB of each.
    pub bodies: Bodies,
    /// Public age keys (`age1...`) of the auditors who may read bodies: for `bodies: encrypted`.
    #[schemars(length(max = 16))]
    pub encrypt_to: Vec<Recipient>,
    /// The Ed25519 key that signs checkpoints, as PKCS#8 PEM; without it one is made beside the log at its first start.
    pub signing_key_ref: Option<SecretRef>,
    /// The places that get every record.
    // Written as [`SinkDocument`](super::sinks::SinkDocument), beside these settings.
    #[serde(skip)]
    pub sinks: Vec<SinkConfig>,
    /// Where signed checkpoints go.
    #[serde(skip)]
    pub anchor: Option<AnchorConfig>,
}

impl Default for AuditLoggerConfig {
    fn default() -> Self {
        Self {
            immutable: true,
            retention_days: 365,
            hipaa_audit_controls: false,
            log_all_access: true,
            commit_interval_ms: 0,
            max_wait_ms: 250,
            min_free: MinFree::default(),
            bodies: Bodies::None,
            encrypt_to: Vec::new(),
            signing_key_ref: None,
            sinks: Vec::new(),
            anchor: None,
        }
    }
}

/// What the audit log keeps of prompts and answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Bodies {
    /// Nothing.
    #[default]
    None,
    /// Their text, without what `pii-detector` takes out.
    Redacted,
    /// All of it, encrypted to `encrypt_to`: the gateway cannot read it back.
    Encrypted,
}
