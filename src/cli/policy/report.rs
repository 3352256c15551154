//! What each policy of a chain says of one text, on its own: nothing stops the others, and no condition keeps one away.

use crate::openai::chunk::{AnswerChannel, AnswerKind};
use crate::openai::edit::{Splice, rewrite};
use crate::openai::json::encode_into;
use crate::openai::request::{Endpoint, Prompt};
use crate::policy::chain::{Chain, guarded};
use crate::policy::prompt_injection::{Explanation, Gram};
use crate::policy::{Finding, Flow, Judgement, Policy, Released, TextEdit, Verdict};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// Characters of the text a quotation shows, at most.
const MOST_QUOTED: usize = 60;

/// Who wrote a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Role {
    /// The caller's user.
    #[default]
    User,
    /// A tool's result.
    Tool,
    /// The operator.
    System,
    /// An earlier answer, as the caller sends it back.
    Assistant,
    /// The provider's answer: judged by what watches answers.
    Answer,
}

impl Role {
    /// The role a word names.
    pub fn named(word: &str) -> Option<Self> {
        [Role::User, Role::Tool, Role::System, Role::Assistant, Role::Answer].into_iter().find(|role| role.as_str() == word)
    }

    fn as_str(self) -> &'static str {
        match self {
            Role::User => "user",
            Role::Tool => "tool",
            Role::System => "system",
            Role::Assistant => "assistant",
            Role::Answer => "answer",
        }
    }
}

/// What is said of one text. Offsets count code points.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The strongest verdict.
    pub verdict: &'static str,
    /// By policy kind: the highest score of its findings, 1 for a finding without a degree, 0 without a finding.
    pub scores: BTreeMap<&'static str, f32>,
    /// Ordered by place.
    pub findings: Vec<Found>,
    /// What each policy says, in chain order; only when explained.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Said>,
    /// The text as it would go on; only when explained, and when it would change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redacted: Option<String>,
}

/// One finding.
#[derive(Debug, Serialize)]
pub struct Found {
    /// The kind of the policy.
    pub policy: &'static str,
    /// What it is: `email`, `override`.
    #[serde(rename = "type")]
    pub what: Cow<'static, str>,
    /// The first code point.
    pub start: usize,
    /// Behind the last code point.
    pub end: usize,
    /// The rule that found it.
    pub rule: Cow<'static, str>,
    /// Its degree; only when explained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub score: Option<f32>,
    /// The words it rests on, for people; personal data in them shows as its type. Empty for personal data, and unless explained.
    #[serde(skip)]
    pub quote: String,
}

/// What one policy says.
#[derive(Debug, Serialize)]
pub struct Said {
    /// Its kind.
    pub policy: &'static str,
    /// Its verdict.
    pub verdict: &'static str,
    /// Why, for verdicts stronger than `allow`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason_code: Option<&'static str>,
    /// What its model makes of the text, where it has one that reads such a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<Model>,
}

/// What a linear model makes of a text: exact, since its log-odds are a sum over the words of the worst window.
#[derive(Debug, Serialize)]
pub struct Model {
    /// Rules and model together, 0 to 1: 0.5 is one false alarm in 200 benign texts, 0.75 one in 1,000.
    pub score: f32,
    /// Of an attack, by the window alone.
    pub log_odds: f32,
    /// The first code point of the worst window.
    pub start: usize,
    /// Behind its last code point.
    pub end: usize,
    /// The n-grams that add most to the log-odds, strongest first. Those of a value show as its type.
    pub features: Vec<Feature>,
}

impl Model {
    /// The explanation of what it makes of a text, without these values of it.
    pub(super) fn of(text: &str, explanation: Explanation, values: &[Value<'_>]) -> Self {
        let Range { start, end } = explanation.code_points(text);
        let Explanation { score, log_odds, grams, .. } = explanation;
        let feature = |Gram { text: gram, count, weight }: Gram| {
            let known = |(value, _): &&Value<'_>| {
                let value = text.get(value.clone()).unwrap_or_default().to_lowercase();
                gram.trim_end_matches('-').split(' ').any(|word| word.len() > 1 && value.contains(word))
            };
            let gram = values.iter().find(known).map_or_else(|| gram.clone(), |(_, what)| format!("<{what}>"));
            Feature { gram, count, weight }
        };
        Self { score, log_odds, start, end, features: grams.into_iter().map(feature).collect() }
    }

    /// The same for people, a line each.
    pub fn lines(&self) -> impl Iterator<Item = String> {
        let Self { score, log_odds, start, end, features } = self;
        let head = format!("score {score:.2}; its worst window is {start} to {end}, log-odds {log_odds:+.2}");
        let line = |Feature { gram, count, weight }: &Feature| {
            let times = if *count > 1 { format!(" x{count}") } else { String::new() };
            format!("{weight:+.2}  {gram}{times}")
        };
        std::iter::once(head).chain(features.iter().map(line))
    }
}

/// One n-gram.
#[derive(Debug, Serialize)]
pub struct Feature {
    /// A word, two words (`^` stands for the beginning of the text), or the beginning of a word (`inst-`), as they read once folded.
    pub gram: String,
    /// How often it stands in the window.
    pub count: u32,
    /// Log-odds it adds, all its occurrences together.
    pub weight: f32,
}

/// Examines texts, one after the other.
pub struct Examiner {
    policies: Vec<Arc<dyn Policy>>,
    explain: bool,
    body: String,
}

impl Examiner {
    /// An examiner with the policies of a chain.
    pub fn new(chain: &Chain, explain: bool) -> Self {
        Self { policies: chain.policies().cloned().collect(), explain, body: String::new() }
    }

    /// The kinds that examine, in chain order.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.policies.iter().map(|policy| policy.kind()).collect()
    }

    /// Examines one text.
    ///
    /// # Errors
    /// A sentence: a policy could not judge.
    pub fn examine(&mut self, text: &str, role: Role) -> Result<Report, String> {
        let judged = match role {
            Role::Answer => self.policies.iter().map(|policy| judge_answer(policy.as_ref(), text)).collect(),
            _ => self.judge_message(text, role),
        };
        let read = matches!(role, Role::User | Role::Tool);
        self.report(text, judged?, read)
    }

    fn judge_message(&mut self, text: &str, role: Role) -> Result<Vec<Judgement>, String> {
        self.body.clear();
        self.body.extend([r#"{"messages":[{"role":""#, role.as_str(), r#"","content":""#]);
        encode_into(text, &mut self.body);
        self.body.push_str(r#""}]}"#);
        let prompt =
            Prompt::read(Endpoint::ChatCompletions, self.body.as_bytes()).map_err(|refusal| refusal.message.into_owned())?;
        let judge =
            |policy: &Arc<dyn Policy>| guarded(|| policy.inspect(&prompt)).map_err(|fault| faulted(policy.as_ref(), &fault));
        self.policies.iter().map(judge).collect()
    }

    /// `read` is whether a text of this role can be refused for what it says.
    fn report(&self, text: &str, judged: Vec<Judgement>, read: bool) -> Result<Report, String> {
        let mut report = Report {
            verdict: judged.iter().map(|judgement| judgement.verdict).max().unwrap_or_default().as_str(),
            scores: BTreeMap::new(),
            findings: Vec::new(),
            policies: Vec::new(),
            redacted: None,
        };
        let values = if self.explain { values(&judged) } else { Vec::new() };
        for (policy, judgement) in self.policies.iter().zip(&judged) {
            let score = judgement.findings.iter().map(|finding| finding.score.unwrap_or(1.0)).fold(0.0, f32::max);
            report.scores.insert(policy.kind(), score);
            report.findings.extend(judgement.findings.iter().map(|finding| self.found(policy.kind(), finding, text, &values)));
            if self.explain {
                let reason_code = (judgement.verdict > Verdict::Allow).then(|| policy.reason_code());
                let model = policy.explanation(text).filter(|_| read).map(|explanation| Model::of(text, explanation, &values));
                report.policies.push(Said { policy: policy.kind(), verdict: judgement.verdict.as_str(), reason_code, model });
            }
        }
        if self.explain {
            report.redacted = redacted(text, judged);
        }
        count_in_code_points(text, &mut report.findings);
        report.findings.sort_by_key(|found| (found.start, found.end));
        Ok(report)
    }

    fn found(&self, policy: &'static str, finding: &Finding, text: &str, values: &[Value<'_>]) -> Found {
        let Finding { what, rule, range, score, .. } = finding.clone();
        let quote = if self.explain && score.is_some() { quote(text, &range, values) } else { String::new() };
        Found { policy, what, start: range.start, end: range.end, rule, score: score.filter(|_| self.explain), quote }
    }
}

/// A value that is never quoted, and its type.
type Value<'a> = (Range<usize>, &'a str);

/// What has no degree is a value: personal data or a secret.
fn values(judged: &[Judgement]) -> Vec<Value<'_>> {
    let findings = judged.iter().flat_map(|judgement| &judgement.findings);
    let mut values: Vec<_> = findings.filter(|f| f.score.is_none()).map(|f| (f.range.clone(), f.what.as_ref())).collect();
    values.sort_by_key(|(range, _)| range.start);
    values
}

/// A part of the text with the values in it shown as their types.
fn quote(text: &str, range: &Range<usize>, values: &[Value<'_>]) -> String {
    let (mut shown, mut at) = (String::new(), range.start);
    for (value, what) in values.iter().filter(|(value, _)| value.start < range.end && range.start < value.end) {
        shown.push_str(text.get(at..value.start).unwrap_or_default());
        shown.extend(["<", what, ">"]);
        at = at.max(value.end);
    }
    shown.push_str(text.get(at..range.end).unwrap_or_default());
    match shown.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{}...", shown.get(..end).unwrap_or_default()),
        None => shown,
    }
}

fn judge_answer(policy: &dyn Policy, text: &str) -> Result<Judgement, String> {
    let watched = guarded(|| {
        let Some(mut watch) = policy.watch(&AnswerChannel { choice: 0, kind: AnswerKind::Content }) else {
            return Ok(Judgement::default());
        };
        let mut out = Released::default();
        let blocked = watch.feed(text, &mut out) == Flow::Block || watch.end(&mut out) == Flow::Block;
        let verdict = match (blocked, out.findings.is_empty()) {
            (true, _) => Verdict::Block,
            (false, false) => Verdict::Redact,
            (false, true) => Verdict::Allow,
        };
        let edits = out.replacements.into_iter().map(|replacement| {
            let Range { start, end } = replacement.range;
            TextEdit { text: 0, range: start as usize..end as usize, with: replacement.with }
        });
        Ok(Judgement { verdict, findings: out.findings, edits: edits.collect(), restores: None })
    });
    watched.map_err(|fault| faulted(policy, &fault))
}

fn faulted(policy: &dyn Policy, fault: &crate::policy::Fault) -> String {
    format!("the policy {} could not judge this text: {fault}", policy.kind())
}

fn redacted(text: &str, judged: Vec<Judgement>) -> Option<String> {
    let edits = judged.into_iter().flat_map(|judgement| judgement.edits);
    let splices: Vec<Splice> = edits.map(|edit| Splice::new(edit.range, edit.with)).collect();
    let changes = !splices.is_empty();
    changes.then(|| String::from_utf8_lossy(&rewrite(text.as_bytes(), splices)).into_owned())
}

/// Turns byte offsets into code points, in one pass over the text.
fn count_in_code_points(text: &str, findings: &mut [Found]) {
    if text.is_ascii() {
        return;
    }
    let mut places: Vec<&mut usize> = findings.iter_mut().flat_map(|found| [&mut found.start, &mut found.end]).collect();
    places.sort_by_key(|place| **place);
    let (mut bytes, mut code_points) = (0, 0);
    for place in places {
        let upto = text.floor_char_boundary(*place);
        code_points += text.get(bytes..upto).unwrap_or_default().chars().count();
        bytes = upto;
        *place = code_points;
    }
}

#[cfg(test)]
mod tests;
