//! Refuses prompts that try to take over the model: deterministic rules over normalised text.
//!
//! A text is normalised and decoded ([`normalize`](super::normalize)), cut into words (`tokens`), and read once by all rules
//! (`matcher`: an order to set instructions aside, to show the system prompt, to become someone without limits) and by one
//! automaton of structure (`structure`: chat-template tokens, fake boundaries). The operator's own patterns come on top. What fires is
//! weighed (`evidence`) and compared with the threshold. The rules themselves are data: `lexicon.txt`, `rules.txt`, `markers.txt`.
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
//! Rules read words, not intent. A paraphrase that avoids every known word, a task that is hostile only in its context, and a patient
//! persuasion pass. English is covered best; German, French, Spanish, Italian and Portuguese well; ten others by their commonest forms.
//! Asking about an attack in quotes only warns, which is also a way to hide one from the rules.

mod conversation;
mod evidence;
mod lexicon;
mod matcher;
mod settings;
mod structure;
mod table;
mod tokens;

#[cfg(test)]
mod tests;

pub use settings::InjectionSettings;

use super::normalize::{Folding, Normalizer, Scratch, View};
use super::{Fault, Finding, Judgement, Policy, Verdict};
use crate::openai::request::{Channel, Prompt, Role, Text};
use conversation::Conversation;
use evidence::Evidence;
use matcher::States;
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::cell::RefCell;
use structure::{Group, Structure};
use table::Table;

/// A compiled pattern of the operator's may take this much memory.
const MAX_PATTERN: usize = 1 << 20;
/// Fewer smuggled letters than this may be a broken emoji.
const MIN_HIDDEN: usize = 8;
/// Smuggled letters have no honest use.
const HIDDEN_SCORE: f32 = 0.9;

/// The policy `prompt-injection`.
#[derive(Debug)]
pub struct PromptInjection {
    threshold: f64,
    message: String,
    normalizer: Normalizer,
    table: Table,
    structure: Structure,
    patterns: Vec<Regex>,
}

impl PromptInjection {
    /// Compiles the rules and the operator's patterns.
    ///
    /// # Errors
    ///
    /// A sentence that names the setting at fault: a threshold outside 0 to 1, a pattern that does not compile, is too large, or matches
    /// the empty text and thereby everything.
    pub fn new(settings: InjectionSettings) -> Result<Self, String> {
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
        })
    }

    /// What the rules say of one text written by a user, strongest first; `text` is 0 in each. The best score is the text's.
    pub fn explain(&self, text: &str) -> Vec<Finding> {
        MEMORY.with(|memory| match memory.try_borrow_mut() {
            Ok(mut memory) => self.weigh(text, 0, &mut memory),
            Err(_) => self.weigh(text, 0, &mut Memory::default()),
        })
    }

    /// The verdict on the findings of [`PromptInjection::explain`].
    pub fn verdict(&self, findings: &[Finding]) -> Verdict {
        evidence::verdict(findings, self.threshold)
    }

    fn judge(&self, prompt: &Prompt<'_>, memory: &mut Memory) -> Judgement {
        let mut judgement = Judgement::default();
        for (index, text) in prompt.texts.iter().enumerate() {
            let Some(strongest) = strongest_verdict(text) else { continue };
            let findings = self.weigh(&text.text, index, memory);
            judgement.verdict = judgement.verdict.max(self.verdict(&findings).min(strongest));
            judgement.findings.extend(findings);
        }
        if judgement.verdict < Verdict::Block
            && let Some(conversation) = Conversation::of(prompt)
        {
            let findings: Vec<Finding> = self
                .weigh(conversation.text(), 0, memory)
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

    fn weigh(&self, text: &str, index: usize, memory: &mut Memory) -> Vec<Finding> {
        let mut evidence = Evidence::default();
        for (number, pattern) in self.patterns.iter().enumerate() {
            if let Some(found) = pattern.find(text) {
                evidence.add(pattern_rule(number), 1.0, found.range(), false, false);
            }
        }
        let Memory { scratch, states } = memory;
        self.normalizer.scans(text, scratch, |scan| {
            let encoded = matches!(scan.view(), View::Decoded | View::Rot13 | View::Reversed);
            matcher::run(&self.table, scan, states, |hit| {
                evidence.add(hit.rule, hit.score, scan.source(hit.range), hit.muted, encoded);
            });
            self.structure.find(scan.text(), |mark| {
                evidence.add(mark.rule, mark.score, scan.source(mark.range), mark.muted, encoded);
            });
            for (number, pattern) in self.patterns.iter().enumerate() {
                if let Some(found) = pattern.find(scan.text()) {
                    evidence.add(pattern_rule(number), 1.0, scan.source(found.range()), false, false);
                }
            }
            if scan.hidden() >= MIN_HIDDEN {
                evidence.add("hidden.tags", HIDDEN_SCORE, scan.source(0..scan.text().len()), false, false);
            }
        });
        evidence.conclude(index, self.threshold)
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
        Ok(MEMORY.with(|memory| match memory.try_borrow_mut() {
            Ok(mut memory) => self.judge(prompt, &mut memory),
            Err(_) => self.judge(prompt, &mut Memory::default()),
        }))
    }
}

/// Buffers of one thread, so that a text costs no allocation.
#[derive(Default)]
struct Memory {
    scratch: Scratch,
    states: States,
}

thread_local! {
    static MEMORY: RefCell<Memory> = RefCell::default();
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
