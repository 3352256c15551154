//! Refuses prompts that try to take over the model: deterministic rules and a small linear model over normalised text.
//!
//! A text is normalised and decoded ([`normalize`](super::normalize)), cut into words (`tokens`), and read once by all rules
//! (`matcher`: an order to set instructions aside, to show the system prompt, to become someone without limits), by the linear model
//! (`model`: the worst 64 words, by the n-grams of `grams` and the weights of `weights`) and by one automaton of structure (`structure`:
//! chat-template tokens, fake boundaries). The operator's own patterns come on top. What fires is weighed (`evidence`) and compared with
//! the threshold: rules that suffice block, or else rules and model together, whose score counts false alarms (0.5 is 1 in 200 benign
//! texts, 0.75 is 1 in 1,000, of the sources it was measured on). A text seen before is not weighed again (`cache`).
//!
//! The rules are data: `lexicon.txt`, `rules.txt`, `markers.txt`. So is the model: `weights.bin`, written by `kt-train`, whose feature
//! `train` opens `training`.
//!
//! # What is read
//!
//! Every text a user, a tool or a function wrote, in every channel, and those contents joined, so that an attack split over parts or
//! messages is still one. Not the operator's `system` and `developer` messages, nor tool definitions and schemas: they are written to instruct. What an
//! assistant is said to have written (content, reasoning, arguments) is read too, since callers supply it, but only warns: a model's own refusal
//! quotes the attack it refuses, and blocking it would end every conversation that was ever attacked.
//!
//! # Limits
//!
//! Rules and model read words, not intent. A paraphrase that avoids every known word, a task that is hostile only in its context, and a patient
//! persuasion pass. English is covered best; German, French, Spanish, Italian and Portuguese well; ten others by their commonest forms.
//! Asking about an attack in quotes warns at most, mostly not even that, which is also a way to hide one.

mod cache;
mod conversation;
mod evidence;
mod explanation;
mod grams;
mod index;
mod letters;
mod lexicon;
mod matcher;
mod model;
mod settings;
mod structure;
mod table;
mod tokens;
#[cfg(feature = "train")]
pub mod training;
mod weights;

#[cfg(test)]
mod proof;
#[cfg(test)]
mod tests;

pub use explanation::Explanation;
pub use model::Gram;
pub use settings::InjectionSettings;

use super::normalize::{Folding, Normalizer, Scratch, View};
use super::{Fault, Finding, Judgement, Policy, Verdict};
use crate::openai::request::{Channel, Prompt, Role, Text};
use cache::Cache;
use conversation::Conversation;
use evidence::{Doubt, Evidence};
use matcher::States;
use model::Windows;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::cell::RefCell;
use std::hash::RandomState;
use structure::{Group, Structure};
use table::Table;
use tokens::Token;
use weights::Weights;

/// A compiled pattern of the operator's may take this much memory.
const MAX_PATTERN: usize = 1 << 20;
/// Fewer smuggled letters than this may be a broken emoji.
const MIN_HIDDEN: usize = 8;
/// Smuggled letters have no honest use.
const HIDDEN_SCORE: f32 = 0.9;
/// Memory for the findings of texts that come again, in bytes.
const CACHE: usize = 4 << 20;

/// The policy `prompt-injection`.
#[derive(Debug)]
pub struct PromptInjection {
    threshold: f64,
    message: String,
    normalizer: Normalizer,
    table: Table,
    structure: Structure,
    patterns: Vec<Regex>,
    weights: Weights,
    cache: Cache,
}

impl PromptInjection {
    /// Compiles the rules and the operator's patterns, and checks the weights.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting at fault: a threshold outside 0 to 1, a pattern that does not compile, is too large, or matches
    /// the empty text and thereby everything. Or that the weights in this binary are not those of its code.
    pub fn new(settings: InjectionSettings) -> Result<Self, String> {
        Self::with_weights(settings, Weights::parse(include_bytes!("weights.bin")).map_err(|error| error.to_string())?)
    }

    /// [`PromptInjection::new`], but with these weights.
    fn with_weights(settings: InjectionSettings, weights: Weights) -> Result<Self, String> {
        if !(0.0..=1.0).contains(&settings.threshold) {
            return Err(format!("embedding_threshold: {} is not between 0 and 1", settings.threshold));
        }
        let folding = Folding { unicode: settings.normalize_unicode, homoglyphs: settings.detect_homoglyphs };
        let mut groups = Vec::new();
        groups.extend(settings.enforce_delimiters.then_some(Group::Delimiter));
        groups.extend(settings.reject_fake_boundaries.then_some(Group::Boundary));
        Ok(Self {
            threshold: settings.threshold,
            message: settings.message,
            normalizer: Normalizer::new(folding, settings.decode_base64),
            table: Table::read(include_str!("lexicon.txt"), include_str!("rules.txt"))?,
            structure: Structure::read(include_str!("markers.txt"), &groups)?,
            patterns: settings.attack_patterns.iter().enumerate().map(pattern).collect::<Result<_, _>>()?,
            weights,
            cache: Cache::new(CACHE, [RandomState::new(), RandomState::new()]),
        })
    }

    /// What is found in one text written by a user, strongest first; `text` is 0 in each. The best score is the text's.
    pub fn explain(&self, text: &str) -> Vec<Finding> {
        with_memory(|memory| self.weigh(text, memory))
    }

    /// The verdict on the findings of [`PromptInjection::explain`].
    pub fn verdict(&self, findings: &[Finding]) -> Verdict {
        evidence::verdict(findings, self.threshold)
    }

    fn judge(&self, prompt: &Prompt<'_>, memory: &mut Memory) -> Judgement {
        let mut conversation = std::mem::take(&mut memory.conversation);
        let judgement = self.judge_with(prompt, &mut conversation, memory);
        conversation.forget();
        memory.conversation = conversation;
        judgement
    }

    fn judge_with(&self, prompt: &Prompt<'_>, conversation: &mut Conversation, memory: &mut Memory) -> Judgement {
        let mut judgement = Judgement::default();
        for (index, text) in prompt.texts.iter().enumerate() {
            let Some(strongest) = strongest_verdict(text) else { continue };
            let findings = self.recall(&text.text, memory);
            judgement.verdict = judgement.verdict.max(self.verdict(&findings).min(strongest));
            judgement.findings.extend(findings.into_iter().map(|finding| Finding { text: index, ..finding }));
        }
        if judgement.verdict < Verdict::Block && conversation.join(prompt) {
            let findings: Vec<Finding> = self
                .recall(conversation.text(), memory)
                .into_iter()
                .filter_map(|finding| {
                    let (text, range) = conversation.across(&finding.range)?;
                    Some(Finding { text, range, ..finding })
                })
                .collect();
            judgement.verdict = judgement.verdict.max(self.verdict(&findings));
            judgement.findings.extend(findings);
        }
        judgement
    }

    /// What [`Policy::inspect`] says when no text was seen before.
    #[cfg(test)]
    fn judge_anew(&self, prompt: &Prompt<'_>) -> Judgement {
        self.judge(prompt, &mut Memory { forgetful: true, ..Memory::default() })
    }

    /// [`PromptInjection::weigh`], unless this text was weighed before.
    fn recall(&self, text: &str, memory: &mut Memory) -> Vec<Finding> {
        let key = if memory.forgetful { None } else { self.cache.key(text) };
        if let Some(findings) = key.and_then(|key| self.cache.get(key)) {
            return findings;
        }
        let findings = self.weigh(text, memory);
        if let Some(key) = key {
            self.cache.put(key, &findings);
        }
        findings
    }

    fn weigh(&self, text: &str, memory: &mut Memory) -> Vec<Finding> {
        self.gather(text, memory).conclude(self.threshold, self.weights.terms())
    }

    /// The evidence of one text.
    fn gather<'m>(&self, text: &str, memory: &'m mut Memory) -> &'m mut Evidence {
        let Memory { scratch, states, evidence, .. } = memory;
        evidence.clear();
        for (number, pattern) in self.patterns.iter().enumerate() {
            if let Some(found) = pattern.find(text) {
                evidence.add(pattern_rule(number), 1.0, Doubt::default(), || found.range());
            }
        }
        self.normalizer.scans(text, scratch, |scan| {
            let encoded = matches!(scan.view(), View::Decoded | View::Rot13 | View::Reversed);
            let mut windows = Windows::default();
            let read = |token: &Token| windows.read(&self.weights, scan.text(), token);
            matcher::run(&self.table, scan, states, read, |hit| {
                evidence.add(hit.rule, hit.score, Doubt { muted: hit.muted, encoded }, || scan.source(hit.range));
            });
            if let Some(window) = windows.finish() {
                evidence.weigh(window.sum, || scan.source(window.range));
            }
            self.structure.find(scan.text(), |mark| {
                evidence.add(mark.rule, mark.score, Doubt { muted: mark.muted, encoded }, || scan.source(mark.range));
            });
            for (number, pattern) in self.patterns.iter().enumerate() {
                if let Some(found) = pattern.find(scan.text()) {
                    evidence.add(pattern_rule(number), 1.0, Doubt::default(), || scan.source(found.range()));
                }
            }
            if scan.hidden() >= MIN_HIDDEN {
                evidence.add("hidden.tags", HIDDEN_SCORE, Doubt::default(), || scan.source(0..scan.text().len()));
            }
        });
        evidence
    }
}

impl Policy for PromptInjection {
    fn kind(&self) -> &'static str {
        "prompt-injection"
    }

    fn reason_code(&self) -> &'static str {
        "prompt_injection.detected"
    }

    fn message(&self) -> Cow<'static, str> {
        Cow::Owned(self.message.clone())
    }

    fn inspect(&self, prompt: &Prompt<'_>) -> Result<Judgement, Fault> {
        Ok(with_memory(|memory| self.judge(prompt, memory)))
    }

    fn reads(&self, text: &Text<'_>) -> bool {
        strongest_verdict(text).is_some()
    }

    fn explanation(&self, text: &str) -> Option<Explanation> {
        self.explain_model(text)
    }
}

/// Buffers of one thread, so that a text costs no allocation.
#[derive(Default)]
struct Memory {
    scratch: Scratch,
    states: States,
    evidence: Evidence,
    conversation: Conversation,
    /// Looks nothing up.
    forgetful: bool,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
}

fn with_memory<T>(act: impl FnOnce(&mut Memory) -> T) -> T {
    MEMORY.with(|memory| match memory.try_borrow_mut() {
        Ok(mut memory) => act(&mut memory),
        Err(_) => act(&mut Memory::default()),
    })
}

/// The most a text can lead to, by who wrote it and where it stands; `None` when it is not read.
fn strongest_verdict(text: &Text<'_>) -> Option<Verdict> {
    match (text.role, text.channel) {
        (Role::System, _) | (_, Channel::Definition) => None,
        (Role::Assistant, _) => Some(Verdict::Warn),
        (Role::User | Role::Tool, _) => Some(Verdict::Block),
    }
}

fn pattern((number, source): (usize, &String)) -> Result<Regex, String> {
    let pattern = RegexBuilder::new(source)
        .case_insensitive(true)
        .size_limit(MAX_PATTERN)
        .dfa_size_limit(MAX_PATTERN)
        .build()
        .map_err(|error| format!("attack_patterns[{number}]: {error}"))?;
    if pattern.is_match("") {
        return Err(format!("attack_patterns[{number}]: matches the empty text, so it would block everything"));
    }
    Ok(pattern)
}

fn pattern_rule(number: usize) -> String {
    format!("attack_patterns.{number}")
}
