//! What no schema can say: how keys refer to each other, and the defaults that depend on other keys.
//!
//! A [`Document`] goes in, a [`Config`] without holes comes out. Every fault is collected; only errors keep the config back.

use super::diagnostic::{Code, Diagnostic, Place, Severity};
use super::document::{AuditLoggerDocument, ChainItem, Document, PolicyDocument, PromptInjectionDocument};
use super::kinds::{PATTERN_SIZE_LIMIT, PII_TYPES, PiiDetectorConfig, PromptInjectionConfig};
use super::source::quote;
use super::tree::{Node, Value};
use super::wording::nearest;
use super::{
    AuditLoggerConfig, Bodies, ChainEntry, Config, Kind, Pack, PiiAction, Policies, PolicyBlocks, When, sinks, testing, traffic,
};
use std::collections::BTreeMap;

/// What the document means.
pub(super) struct Meaning {
    /// `None` when there is an error among the faults.
    pub config: Option<Config>,
    pub faults: Vec<Diagnostic>,
    /// Places of values that are secrets: no excerpt may show them.
    pub secrets: Vec<Place>,
}

/// Completes and checks a document; `root` is the tree it was read from. When it is not `whole`, because faulty parts were left
/// out, nothing is said of what may be among them.
pub(super) fn of(document: Document, root: &Node, whole: bool) -> Meaning {
    let root = Spot { node: Some(root), place: Place::START };
    let mut found = Found::default();
    let pack = document.pack.inspect(|written| pack(written, root.key("pack"), &mut found));
    let policies =
        document.policies.map(|written| Policies { chain: chain(written.chain, root.key("policies").key("chain"), &mut found) });
    let chain = policies.as_ref().map(|policies| policies.chain.as_slice()).unwrap_or_default();
    let policy = policy(document.policy.unwrap_or_default(), chain, root.key("policy"), &mut found);
    let providers = document.providers.map(|written| traffic::resolve(written, root.key("providers"), whole, &mut found));
    let testing = document.testing.unwrap_or_default().suites;
    if whole {
        testing::check(&testing, root.key("testing").key("suites"), &mut found);
    }
    let config = match (pack, policies, providers) {
        (Some(pack), Some(policies), Some(providers)) => {
            let size_limits = document.size_limits.unwrap_or_default();
            Some(Config { pack, policies, policy, providers, size_limits, testing })
        }
        _ => None,
    };
    let sound = found.faults.iter().all(|fault| fault.severity == Severity::Warning);
    Meaning { config: config.filter(|_| sound), faults: found.faults, secrets: found.secrets }
}

/// What the checks have found so far.
#[derive(Default)]
pub(super) struct Found {
    faults: Vec<Diagnostic>,
    secrets: Vec<Place>,
}

impl Found {
    /// Adds a fault at a place.
    pub fn add(&mut self, spot: Spot<'_>, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Diagnostic::new(code, message).at(spot.place).help(help));
    }

    /// Adds the place of a secret.
    pub fn secret(&mut self, spot: Spot<'_>) {
        self.secrets.push(spot.place);
    }
}

/// A part of the tree, or the nearest place to one that is not there: defaults have no place of their own.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    node: Option<&'a Node>,
    place: Place,
}

impl<'a> Spot<'a> {
    /// The value of a key: scalars are pointed at themselves, maps and lists by their key.
    pub fn key(self, key: &str) -> Spot<'a> {
        match self.node.and_then(|node| node.entry(key)) {
            Some(entry) if matches!(entry.node.value, Value::Map(_) | Value::List(_)) => {
                Spot { node: Some(&entry.node), place: entry.place }
            }
            Some(entry) => Spot { node: Some(&entry.node), place: entry.node.place },
            None => Spot { node: None, place: self.place },
        }
    }

    /// The key itself.
    pub fn name(self, key: &str) -> Spot<'a> {
        match self.node.and_then(|node| node.entry(key)) {
            Some(entry) => Spot { node: Some(&entry.node), place: entry.place },
            None => Spot { node: None, place: self.place },
        }
    }

    /// Whether the key is written.
    pub fn has(self, key: &str) -> bool {
        self.node.is_some_and(|node| node.entry(key).is_some())
    }

    /// An item of a list.
    pub fn item(self, index: usize) -> Spot<'a> {
        match self.node.and_then(|node| node.item(index)) {
            Some(node) => Spot { node: Some(node), place: node.place },
            None => Spot { node: None, place: self.place },
        }
    }
}

fn pack(pack: &Pack, spot: Spot<'_>, found: &mut Found) {
    if let Err(error) = semver::Version::parse(&pack.version) {
        let message = format!("`pack.version` cannot be {}: {error}", quote(&pack.version));
        found.add(spot.key("version"), Code::BadValue, message, "write a SemVer version, such as `1.0.0`");
    }
    if !pack.enabled {
        let help = "every request is answered 503 until it is `true`: traffic never passes ungoverned";
        found.add(spot.key("enabled"), Code::Disabled, "the kill switch is on: this configuration serves nothing", help);
    }
}

fn chain(items: Vec<ChainItem>, spot: Spot<'_>, found: &mut Found) -> Vec<ChainEntry> {
    let mut chain: Vec<ChainEntry> = Vec::with_capacity(items.len());
    for (index, item) in items.into_iter().enumerate() {
        let spot = spot.item(index);
        let (kind, when) = match item {
            ChainItem::Plain(kind) => (kind, When::default()),
            ChainItem::Conditional(entry) => match entry.into_iter().next() {
                Some((kind, options)) => (kind, options.unwrap_or_default().when),
                None => continue,
            },
        };
        let entry = ChainEntry { kind, when: condition(when, spot.key(kind.as_str()).key("when"), found) };
        if kind == Kind::AuditLogger && !entry.when.always() {
            let message = "`audit-logger` records every exchange: it takes no `when`";
            found.add(spot.key(kind.as_str()).name("when"), Code::BadValue, message, "write `- audit-logger`");
        } else if chain.iter().any(|earlier| *earlier == entry || (kind == Kind::AuditLogger && earlier.kind == kind)) {
            let message = format!("`{}` is in the chain twice", kind.as_str());
            found.add(spot, Code::DuplicateId, message, "keep one of them, or give each its own `when`");
        }
        chain.push(entry);
    }
    match chain.iter().position(|entry| entry.kind == Kind::AuditLogger) {
        None => {
            let help = "add `- audit-logger` at the end of `policies.chain`";
            found.add(spot, Code::NoAuditLogger, "without `audit-logger` in the chain no audit log is written", help);
        }
        Some(at) if at + 1 < chain.len() => {
            let help = "it records every exchange wherever it stands; last is where readers expect it";
            found.add(spot.item(at), Code::AuditLoggerNotLast, "`audit-logger` is not the last of the chain", help);
        }
        Some(_) => {}
    }
    chain
}

/// Header names compare in lower case, so they are kept in it.
fn condition(when: When, spot: Spot<'_>, found: &mut Found) -> When {
    let mut headers = BTreeMap::new();
    for (name, value) in when.headers {
        let at = spot.key("header").name(&name);
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            found.add(at, Code::BadValue, format!("{} is no name of a header", quote(&name)), "write a name such as `x-team-id`");
        } else if headers.insert(name.to_ascii_lowercase(), value).is_some() {
            let message = format!("the header {} is given twice", quote(&name));
            found.add(at, Code::DuplicateId, message, "names of headers do not depend on case: keep one of them");
        }
    }
    When { headers, ..when }
}

fn policy(blocks: PolicyDocument, chain: &[ChainEntry], spot: Spot<'_>, found: &mut Found) -> PolicyBlocks {
    let written = [blocks.prompt_injection.is_some(), blocks.pii_detector.is_some(), blocks.audit_logger.is_some()];
    for (kind, _) in
        Kind::ALL.into_iter().zip(written).filter(|(kind, written)| *written && chain.iter().all(|e| e.kind != *kind))
    {
        let message = format!("`policy.{}` is set, but `{0}` is not in the chain and does not run", kind.as_str());
        let help = format!("add `- {}` to `policies.chain`, or remove the block", kind.as_str());
        found.add(spot.name(kind.as_str()), Code::BlockNotInChain, message, help);
    }
    PolicyBlocks {
        prompt_injection: prompt_injection(blocks.prompt_injection.unwrap_or_default(), spot.key("prompt-injection"), found),
        pii_detector: pii_detector(blocks.pii_detector.unwrap_or_default(), spot.key("pii-detector"), found),
        audit_logger: audit_logger(blocks.audit_logger.unwrap_or_default(), chain, spot.key("audit-logger"), found),
    }
}

fn prompt_injection(written: PromptInjectionDocument, spot: Spot<'_>, found: &mut Found) -> PromptInjectionConfig {
    let detection = written.detection.unwrap_or_default();
    let inside = spot.key("detection");
    for (key, twice) in [
        ("embedding_threshold", written.embedding_threshold.is_some() && detection.embedding_threshold.is_some()),
        ("attack_patterns", written.attack_patterns.is_some() && detection.attack_patterns.is_some()),
    ] {
        if twice {
            let message = format!("`{key}` and `detection.{key}` are the same setting");
            found.add(inside.name(key), Code::SaidTwice, message, "keep one of them");
        }
    }
    for (written, spot) in [(&written.attack_patterns, spot), (&detection.attack_patterns, inside)] {
        patterns(written.as_deref().unwrap_or_default(), spot.key("attack_patterns"), found);
    }
    let default = PromptInjectionConfig::default();
    PromptInjectionConfig {
        embedding_threshold: written.embedding_threshold.or(detection.embedding_threshold).unwrap_or(default.embedding_threshold),
        attack_patterns: written.attack_patterns.or(detection.attack_patterns).unwrap_or_default(),
        encoding: written.encoding,
        boundaries: written.boundaries,
        response: written.response,
    }
}

fn pii_detector(written: PiiDetectorConfig, spot: Spot<'_>, found: &mut Found) -> PiiDetectorConfig {
    patterns(&written.detect_patterns, spot.key("detect_patterns"), found);
    if written.restore && written.action == PiiAction::Block {
        let message = "`restore: true` has no meaning with `action: block`";
        found.add(spot.key("restore"), Code::BadValue, message, "remove one of them: what is refused is never put back");
    }
    let markers = spot.key("redaction").key("custom_markers");
    for (name, marker) in &written.redaction.custom_markers {
        if !PII_TYPES.contains(&name.as_str()) {
            let help = match nearest(name, &PII_TYPES) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("the types are {}", PII_TYPES.join(", ")),
            };
            found.add(markers.name(name), Code::BadValue, format!("{} is no type of personal data", quote(name)), help);
        }
        if marker.is_empty() || marker.chars().count() > 128 || marker.chars().any(char::is_control) {
            let message = format!("the marker for {} cannot be {}", quote(name), quote(marker));
            found.add(markers.key(name), Code::BadValue, message, "write 1 to 128 characters on one line");
        }
    }
    written
}

fn audit_logger(document: AuditLoggerDocument, chain: &[ChainEntry], spot: Spot<'_>, found: &mut Found) -> AuditLoggerConfig {
    let (sinks, anchor) = sinks::resolve(document.sinks, document.anchor, spot, found);
    let written = AuditLoggerConfig { sinks, anchor, ..document.settings };
    // 45 CFR 164.316(b)(2)(i): documentation is retained for six years.
    const SIX_YEARS: u32 = 2190;
    if written.hipaa_audit_controls && written.retention_days < SIX_YEARS {
        let message = format!("HIPAA asks for six years of records, and `retention_days` is {}", written.retention_days);
        let at = if spot.has("retention_days") { spot.key("retention_days") } else { spot.key("hipaa_audit_controls") };
        found.add(at, Code::ShortRetention, message, format!("write `retention_days: {SIX_YEARS}` or more"));
    }
    bodies(&written, chain, spot, found);
    written
}

/// What is kept of bodies must not say more than the config lets leave, and somebody must be able to read it.
fn bodies(written: &AuditLoggerConfig, chain: &[ChainEntry], spot: Spot<'_>, found: &mut Found) {
    let detects = chain.iter().any(|entry| entry.kind == Kind::PiiDetector);
    if written.bodies == Bodies::Redacted && !detects && !chain.is_empty() {
        let message = "`bodies: redacted` keeps what `pii-detector` leaves, and without it in the chain nothing is taken out";
        found.add(
            spot.key("bodies"),
            Code::BadValue,
            message,
            "add `- pii-detector` to `policies.chain`, or write `bodies: encrypted`",
        );
    }
    let to = spot.key("encrypt_to");
    match written.bodies {
        Bodies::Encrypted if written.encrypt_to.is_empty() => {
            let help = "add `encrypt_to: [age1...]`: `age-keygen` prints the public key of the auditor who runs it";
            found.add(spot.key("bodies"), Code::MissingKey, "`bodies: encrypted` without a key to encrypt to", help);
        }
        Bodies::None | Bodies::Redacted if !written.encrypt_to.is_empty() => {
            let message = "`encrypt_to` has no effect without `bodies: encrypted`";
            found.add(spot.name("encrypt_to"), Code::NoEffect, message, "write `bodies: encrypted`, or remove the keys");
        }
        _ => {}
    }
    for (index, recipient) in written.encrypt_to.iter().enumerate().filter(|(_, recipient)| recipient.key().is_none()) {
        let message = format!("{} is no public key of age", quote(recipient.as_str()));
        found.add(to.item(index), Code::BadValue, message, "a character was lost or changed: its checksum does not fit");
    }
}

/// Checks regular expressions: linear time by construction, bounded in memory, and of use.
fn patterns(patterns: &[String], spot: Spot<'_>, found: &mut Found) {
    for (index, pattern) in patterns.iter().enumerate() {
        let (why, help) = match regex::RegexBuilder::new(pattern).size_limit(PATTERN_SIZE_LIMIT).build() {
            Ok(regex) if regex.is_match("") => {
                ("it matches the empty text, so every text".to_owned(), "ask for at least one character")
            }
            Ok(_) => continue,
            Err(regex::Error::CompiledTooBig(_)) => ("it grows beyond 1 MiB".to_owned(), "use smaller repetitions"),
            Err(error) => {
                // The last line says what is wrong; those before it draw the pattern.
                let text = error.to_string();
                let line = text.lines().last().unwrap_or_default();
                let help = "look-around and back-references are not available: patterns run in linear time";
                (line.trim_start_matches("error: ").to_owned(), help)
            }
        };
        let message = format!("{} is not a usable regular expression: {why}", quote(pattern));
        found.add(spot.item(index), Code::BadPattern, message, help);
    }
}
