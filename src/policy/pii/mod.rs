//! Finds personal data and credentials in prompts and answers, and redacts or refuses them.
//!
//! A detector proposes a candidate by its shape and a validator confirms it by its check digit, table or entropy, so that prose
//! and ordinary numbers stay as they are. The values found and what they rest on:
//!
//! | type | shape | confirmed by |
//! |---|---|---|
//! | `email` | `local@domain.tld`; of a longer run the last 64 bytes before the `@` count | labels, 2-24 letters of top-level domain |
//! | `credit_card` (PCI) | 12-19 digits, also in groups of three or more | issuer range, its lengths, Luhn |
//! | `cvv`, `cardholder_name` (PCI) | behind their name, or behind a weaker one close to a card | digits, capitalised words |
//! | `iban` | country, two digits, its length | mod 97 |
//! | `ssn` | `ddd-dd-dddd`; other spellings where the text speaks of one | numbers never issued |
//! | `phone` | international, North American shape; any other where the text speaks of phones | lengths, not a date |
//! | `ip_address` | IPv4, IPv6, networks | octets; loopback and the like are left alone |
//! | `mrn`, `insurance_id`, `npi` (healthcare) | behind their name | NPI: Luhn with 80840 |
//! | `secret` | published prefixes, JWT, PEM private keys, URL passwords, `api_key = ...` | header, length, entropy, placeholders |
//! | `custom` | the configured patterns | |
//!
//! Context is looked for to the left only, and no detector sees further than 512 bytes, in whole texts as in streams. That is the
//! limit of what a stream holds back; most of the time it holds the last word. Not found: names, places and dates as such, digits
//! spelled out or in other scripts, values taken apart by markup. In prompts, values in disguise are looked for besides (`disguises`).

mod addresses;
mod bytes;
mod candidates;
mod context;
mod custom;
mod disguises;
mod heard;
mod markers;
mod matching;
mod numbers;
mod phone;
mod screen;
mod secrets;
mod token_formats;
mod tokens;
mod validators;
mod watch;
mod words;

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

pub use markers::MarkerFormat;

use crate::openai::chunk::{AnswerChannel, AnswerKind};
use crate::openai::json_text::JsonText;
use crate::openai::request::Prompt;
use crate::policy::{Fault, Finding, Flow, Judgement, Policy, Released, Replacement, TextEdit, Verdict, Watch};
use candidates::{Detectors, Scan};
use custom::CustomPatterns;
use markers::Markers;
use matching::{Input, Rule, RuleId};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use tokens::Tokens;
use watch::{PiiWatch, Redaction, View};

/// What happens to a value that is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Action {
    /// A marker takes its place.
    #[default]
    Redact,
    /// In the prompt a token of its own takes the place of each distinct value, `[EMAIL_1]` for one, and in the answer each
    /// token becomes its value again. What else is found in the answer gets a marker.
    Restore,
    /// The prompt is refused, the answer cut off.
    Block,
}

/// How personal data is looked for and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PiiSettings {
    pub action: Action,
    /// Look for card numbers, verification values and card-holder names.
    pub pci_mode: bool,
    /// Look for medical record, insurance and provider numbers.
    pub healthcare_mode: bool,
    /// Regular expressions looked for besides: `regex` crate syntax, classes and word boundaries in their ASCII meaning, matches of
    /// at most 512 bytes.
    pub detect_patterns: Vec<String>,
    pub marker_format: MarkerFormat,
    /// Findings say which rule matched where; otherwise only of which type they are.
    pub include_metadata: bool,
    /// Markers have as many characters as what they replace: labels are cut or filled up with `*`.
    pub preserve_length: bool,
    /// Markers by type name, instead of the format's.
    pub custom_markers: BTreeMap<String, String>,
}

impl Default for PiiSettings {
    fn default() -> PiiSettings {
        PiiSettings {
            action: Action::Redact,
            pci_mode: true,
            healthcare_mode: false,
            detect_patterns: Vec::new(),
            marker_format: MarkerFormat::Label,
            include_metadata: true,
            preserve_length: false,
            custom_markers: BTreeMap::new(),
        }
    }
}

/// The `pii-detector` policy.
#[derive(Debug, Clone)]
pub struct PiiDetector {
    shared: Arc<Shared>,
}

/// What the detector and its watches need alike.
#[derive(Debug)]
struct Shared {
    detectors: Detectors,
    markers: Markers,
    action: Action,
    include_metadata: bool,
}

/// One value found in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Byte range in the text.
    pub range: Range<usize>,
    /// Its type, `email` for one.
    pub what: &'static str,
    /// Stable id of the rule that found it: `secret.github`, `custom.0`.
    pub rule: Cow<'static, str>,
}

impl PiiDetector {
    /// Compiles the settings. The error says which of them is at fault and why.
    pub fn new(settings: PiiSettings) -> Result<PiiDetector, String> {
        let custom = CustomPatterns::new(&settings.detect_patterns)?;
        let markers = Markers::new(settings.marker_format, settings.preserve_length, settings.custom_markers)?;
        let detectors = Detectors { pci: settings.pci_mode, healthcare: settings.healthcare_mode, custom };
        let shared = Shared { detectors, markers, action: settings.action, include_metadata: settings.include_metadata };
        Ok(PiiDetector { shared: Arc::new(shared) })
    }

    /// Every value in a text, in order, none overlapping.
    pub fn find(&self, text: &str) -> Vec<Match> {
        let values = self.values(text).into_iter();
        values.map(|(range, Rule { kind, id })| Match { range, what: kind.name(), rule: id.name() }).collect()
    }

    fn values(&self, text: &str) -> Vec<(Range<usize>, Rule)> {
        let mut scan = Scan::default();
        let input = Input { bytes: text.as_bytes(), ended: true };
        let mut found: Vec<(Range<usize>, Rule)> = Vec::new();
        while let Some(piece) = scan.next(&self.shared.detectors, &input) {
            match found.last_mut() {
                Some((long, _)) if !piece.first => long.end = piece.end,
                _ => found.push((piece.start..piece.end, piece.rule)),
            }
        }
        found
    }

    /// Puts a token in the place of every value.
    fn tokenise(&self, prompt: &Prompt<'_>) -> Judgement {
        let mut judgement = Judgement::default();
        let mut tokens = None;
        for (index, text) in prompt.texts.iter().enumerate() {
            let json = text.json.then(|| JsonText::whole(&text.text));
            let shown = json.as_ref().map_or(text.text.as_ref(), JsonText::view);
            for (range, rule) in self.values(shown) {
                let value = shown.get(range.clone()).unwrap_or_default();
                let token = tokens.get_or_insert_with(|| Tokens::beside(prompt)).of(rule.kind, value);
                let (range, with) = match &json {
                    None => (range, token),
                    Some(json) => {
                        let with = watch::fit(json, range.clone(), value, &token);
                        let source = json.source_range(range.start as u64..range.end as u64);
                        (source.start as usize..source.end as usize, with)
                    }
                };
                judgement.findings.push(self.shared.finding(rule, index, range.clone()));
                judgement.edits.push(TextEdit { text: index, range, with });
            }
        }
        self.unmask(prompt, &mut judgement, |value| {
            Some(tokens.get_or_insert_with(|| Tokens::beside(prompt)).of(value.rule.kind, &value.written))
        });
        judgement.verdict = if tokens.is_some() { Verdict::Redact } else { Verdict::Allow };
        judgement.restores = tokens.map(|tokens| Arc::new(tokens.into_restorer()));
        judgement
    }

    /// The text with every value replaced; `json` for JSON source, which stays JSON.
    fn redact(&self, text: &str, json: bool) -> Result<Released, Fault> {
        let source = json.then(|| JsonText::whole(text));
        let view = source.as_ref().map_or(View::Plain { text, forgotten: 0 }, View::Json);
        let mut out = Released::default();
        let flow = Redaction::new(Arc::clone(&self.shared)).advance(view, true, &mut out);
        if flow == Flow::Continue && out.upto != text.len() as u64 {
            return Err(Fault(format!("personal data: {} of {} bytes decided", out.upto, text.len())));
        }
        Ok(out)
    }
}

impl Policy for PiiDetector {
    fn kind(&self) -> &'static str {
        "pii-detector"
    }

    fn reason_code(&self) -> &'static str {
        "pii.detected"
    }

    fn message(&self) -> Cow<'static, str> {
        Cow::Borrowed("Request blocked: personal data or a credential detected")
    }

    fn inspect(&self, prompt: &Prompt<'_>) -> Result<Judgement, Fault> {
        if self.shared.action == Action::Restore {
            return Ok(self.tokenise(prompt));
        }
        let mut judgement = Judgement::default();
        for (index, text) in prompt.texts.iter().enumerate() {
            let out = self.redact(&text.text, text.json)?;
            judgement.findings.extend(out.findings.into_iter().map(|finding| Finding { text: index, ..finding }));
            let edit =
                |r: Replacement| TextEdit { text: index, range: r.range.start as usize..r.range.end as usize, with: r.with };
            judgement.edits.extend(out.replacements.into_iter().map(edit));
        }
        let replaces = self.shared.action != Action::Block;
        self.unmask(prompt, &mut judgement, |value| {
            replaces.then(|| self.shared.markers.write(value.rule.kind, &value.written, 0))
        });
        judgement.verdict = match self.shared.action {
            _ if judgement.findings.is_empty() => Verdict::Allow,
            Action::Redact | Action::Restore => Verdict::Redact,
            Action::Block => Verdict::Block,
        };
        Ok(judgement)
    }

    fn watches_answers(&self) -> bool {
        true
    }

    fn watch(&self, channel: &AnswerChannel) -> Option<Box<dyn Watch>> {
        let json = matches!(channel.kind, AnswerKind::Arguments(_) | AnswerKind::FunctionArguments);
        Some(Box::new(PiiWatch::new(Arc::clone(&self.shared), json)))
    }
}

impl Shared {
    fn finding(&self, rule: Rule, text: usize, range: Range<usize>) -> Finding {
        let what = Cow::Borrowed(rule.kind.name());
        if self.include_metadata {
            Finding { what, rule: rule.id.name(), text, range, score: None }
        } else {
            Finding { what, rule: Cow::Borrowed("pii"), text, range: 0..0, score: None }
        }
    }
}

impl RuleId {
    fn name(self) -> Cow<'static, str> {
        match self {
            RuleId::Named(name) => Cow::Borrowed(name),
            RuleId::Custom(index) => Cow::Owned(format!("custom.{index}")),
        }
    }
}
