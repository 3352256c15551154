//! The policies of a config, in order, applied to one exchange.
//!
//! Within a phase policies run in listed order on what the caller sent; the first block ends it, and the rest are recorded as
//! skipped. A policy that faults or panics is a fault, never a verdict: the fail mode decides.

use super::answer::Watcher;
use super::{Fault, Judgement, Policy, Verdict};
use crate::config::When;
use crate::openai::edit::Splice;
use crate::openai::request::{Prompt, Text};
use crate::refusal::Refusal;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rules that a decision names by their strength.
pub const FEATURES: usize = 5;

/// What happens to an exchange when a policy faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FailMode {
    /// 503 `policy_error`.
    #[default]
    Block,
    /// It goes on, and its record is marked `degraded`.
    Allow,
}

/// How verdicts are applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mode {
    /// Faults.
    pub fail: FailMode,
    /// Evaluate and record, never block or rewrite.
    pub observe: bool,
}

/// One entry of `policies.chain`.
pub struct Link {
    /// The conditions under which it applies; all must hold.
    pub when: When,
    /// What judges.
    pub policy: Arc<dyn Policy>,
}

/// The policies of a config.
#[derive(Default)]
pub struct Chain {
    links: Vec<Link>,
    mode: Mode,
}

/// What of a request decides whether a link applies.
pub struct Facts<'a> {
    /// Path of the request.
    pub path: &'a str,
    /// Looks a header up by its lower-case name.
    pub header: &'a dyn Fn(&str) -> Option<&'a str>,
    /// The model the caller asked for.
    pub model: &'a str,
}

/// What the chain says of one prompt.
#[derive(Default)]
pub struct Ruling {
    /// The strongest verdict.
    pub verdict: Verdict,
    /// One for each policy of the config that applies, in order.
    pub decisions: Vec<Decision>,
    /// The redactions, as edits of the body.
    pub splices: Vec<Splice>,
    /// The answer in place of the provider's.
    pub refusal: Option<Refusal>,
    /// A policy faulted and the fail mode let the request go on.
    pub degraded: bool,
    /// What watches the answer.
    pub watching: Vec<Watcher>,
}

/// What one policy said in one phase, for the record.
#[derive(Debug, Clone)]
pub struct Decision {
    /// Policy kind.
    pub kind: &'static str,
    /// `input` or `output`.
    pub phase: &'static str,
    /// Verdict word, or `skipped`, or `error`.
    pub verdict: &'static str,
    /// Present for verdicts stronger than `allow`.
    pub reason_code: Option<&'static str>,
    /// Rule ids, distinct, in order of first appearance.
    pub rules: Vec<String>,
    /// What was found and how often.
    pub found: Vec<(String, u32)>,
    /// The highest score of a rule that has one.
    pub score: Option<f32>,
    /// The strongest rules that have a score, each once, strongest first; at most [`FEATURES`].
    pub features: Vec<(String, f32)>,
    /// Time spent judging.
    pub took: Duration,
}

impl Chain {
    /// A chain in listed order.
    pub fn new(links: Vec<Link>, mode: Mode) -> Self {
        Self { links, mode }
    }

    /// Judges a prompt.
    pub fn inspect(&self, prompt: &Prompt<'_>, facts: &Facts<'_>) -> Ruling {
        let mut ruling = Ruling::default();
        for link in self.links.iter().filter(|link| applies(&link.when, facts)) {
            let policy = link.policy.as_ref();
            if ruling.refusal.is_some() {
                ruling.decisions.push(Decision::skipped(policy));
                continue;
            }
            let began = Instant::now();
            let judged = guarded(|| policy.inspect(prompt));
            let decision = Decision::of(policy, "input", &judged, began.elapsed());
            ruling.decisions.push(decision);
            // Where nothing is taken out, nothing is put back.
            let restores = judged.as_ref().ok().and_then(|judged| judged.restores.clone()).filter(|_| !self.mode.observe);
            ruling.watching.extend(Watcher::new(link.policy.clone(), restores));
            match judged {
                Ok(judgement) => ruling.apply(policy, judgement, prompt, self.mode),
                Err(fault) => ruling.fault(policy, &fault, self.mode),
            }
        }
        ruling
    }

    /// Whether some policy that applies reads a text, for each text of a prompt.
    pub fn reads<'c>(&'c self, facts: &Facts<'_>) -> impl Fn(&Text<'_>) -> bool + 'c {
        let applying: Vec<&dyn Policy> =
            self.links.iter().filter(|link| applies(&link.when, facts)).map(|link| link.policy.as_ref()).collect();
        move |text| applying.iter().any(|policy| policy.reads(text))
    }

    /// Its policies in listed order, each kind once, whatever their conditions.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<dyn Policy>> {
        let seen = |at: usize, kind| self.links.iter().take(at).any(|earlier| earlier.policy.kind() == kind);
        self.links.iter().enumerate().filter(move |(at, link)| !seen(*at, link.policy.kind())).map(|(_, link)| &link.policy)
    }

    /// How verdicts are applied.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Whether nothing judges.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }
}

impl Ruling {
    fn apply(&mut self, policy: &dyn Policy, judgement: Judgement, prompt: &Prompt<'_>, mode: Mode) {
        self.verdict = self.verdict.max(judgement.verdict);
        if mode.observe {
            return;
        }
        match judgement.verdict {
            Verdict::Block => self.refusal = Some(Refusal::input_blocked(policy.kind(), policy.reason_code(), policy.message())),
            // Text by text: each is walked once, however many values stand in it.
            _ => {
                for edits in judgement.edits.chunk_by(|edit, next| edit.text == next.text) {
                    let Some(text) = edits.first().and_then(|edit| prompt.texts.get(edit.text)) else { continue };
                    let edits = edits.iter().map(|edit| (edit.range.clone(), edit.with.as_str()));
                    self.splices.extend(text.splices(prompt, edits));
                }
            }
        }
    }

    fn fault(&mut self, policy: &dyn Policy, fault: &Fault, mode: Mode) {
        log::error!("policy {} could not judge: {fault}", policy.kind());
        match mode.fail {
            FailMode::Allow => self.degraded = true,
            FailMode::Block if mode.observe => self.degraded = true,
            FailMode::Block => self.refusal = Some(policy_error(policy.kind())),
        }
    }

    /// How many values of the body were replaced; a long one may take more than one splice.
    pub fn redactions(&self) -> usize {
        let redacting = self.decisions.iter().filter(|d| d.verdict == Verdict::Redact.as_str());
        redacting.flat_map(|d| &d.found).map(|(_, count)| *count as usize).sum()
    }
}

impl Decision {
    fn skipped(policy: &dyn Policy) -> Self {
        Self {
            kind: policy.kind(),
            phase: "input",
            verdict: "skipped",
            reason_code: None,
            rules: Vec::new(),
            found: Vec::new(),
            score: None,
            features: Vec::new(),
            took: Duration::ZERO,
        }
    }

    fn of(policy: &dyn Policy, phase: &'static str, judged: &Result<Judgement, Fault>, took: Duration) -> Self {
        let none = Vec::new();
        let (verdict, findings) = match judged {
            Ok(judgement) => (judgement.verdict.as_str(), &judgement.findings),
            Err(_) => ("error", &none),
        };
        let strong = judged.as_ref().is_ok_and(|j| j.verdict > Verdict::Allow);
        let mut decision =
            Self { verdict, phase, took, reason_code: strong.then(|| policy.reason_code()), ..Self::skipped(policy) };
        for finding in findings {
            decision.note(finding);
        }
        decision
    }

    /// What a policy found in an answer.
    pub fn of_answer(policy: &dyn Policy, verdict: Verdict) -> Self {
        Self { phase: "output", verdict: verdict.as_str(), ..Self::skipped(policy) }
    }

    /// Adds one finding to the tally.
    pub fn note(&mut self, finding: &super::Finding) {
        if !self.rules.iter().any(|rule| *rule == finding.rule) {
            self.rules.push(finding.rule.to_string());
        }
        match self.found.iter_mut().find(|(what, _)| *what == finding.what) {
            Some((_, count)) => *count += 1,
            None => self.found.push((finding.what.to_string(), 1)),
        }
        if finding.score > self.score {
            self.score = finding.score;
        }
        if let Some(score) = finding.score {
            self.weigh(&finding.rule, score);
        }
    }
}

impl Decision {
    fn weigh(&mut self, rule: &str, score: f32) {
        self.features.retain(|(known, weaker)| known != rule || *weaker > score);
        if !self.features.iter().any(|(known, _)| known == rule) {
            let at = self.features.partition_point(|(_, stronger)| *stronger >= score);
            self.features.insert(at, (rule.to_owned(), score));
            self.features.truncate(FEATURES);
        }
    }
}

/// The strongest among words of verdicts; other words, such as `skipped`, do not count.
pub fn strongest(words: impl Iterator<Item = &'static str> + Clone) -> &'static str {
    let order = [Verdict::Block, Verdict::Escalate, Verdict::Redact, Verdict::Warn].map(Verdict::as_str);
    order.into_iter().find(|word| words.clone().any(|w| w == *word)).unwrap_or(Verdict::Allow.as_str())
}

/// 503: a policy that faulted, under fail mode `block`.
pub fn policy_error(kind: &'static str) -> Refusal {
    let message =
        format!("the policy {kind} could not judge this request, and the gateway does not forward what it could not judge");
    Refusal { policy: Some(kind), ..Refusal::unavailable("policy_error", message) }
}

/// Runs policy code; a panic in it is a fault of that policy, not of the process.
pub(crate) fn guarded<T>(judge: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(judge)).unwrap_or_else(|_| Err(Fault("it panicked".into())))
}

fn applies(when: &When, facts: &Facts<'_>) -> bool {
    when.path.as_deref().is_none_or(|prefix| facts.path.starts_with(prefix))
        && when.headers.iter().all(|(name, value)| (facts.header)(&name.to_ascii_lowercase()) == Some(value.as_str()))
        && (when.models.is_empty() || when.models.iter().any(|model| model == facts.model))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::request::Endpoint;
    use std::borrow::Cow;

    /// Says the same of every prompt; `None` panics.
    struct Always(&'static str, Option<Verdict>);

    impl Policy for Always {
        fn kind(&self) -> &'static str {
            self.0
        }
        fn reason_code(&self) -> &'static str {
            "test.reason"
        }
        fn message(&self) -> Cow<'static, str> {
            "no".into()
        }
        fn inspect(&self, _prompt: &Prompt<'_>) -> Result<Judgement, Fault> {
            let verdict = self.1.expect("a policy with a bug");
            Ok(Judgement { verdict, ..Judgement::default() })
        }
    }

    fn ruling(mode: Mode, links: Vec<(When, Always)>) -> Ruling {
        let links = links.into_iter().map(|(when, policy)| Link { when, policy: Arc::new(policy) }).collect();
        let prompt = Prompt::read(Endpoint::ChatCompletions, br#"{"model":"m","messages":[]}"#).unwrap();
        let header = |name: &str| (name == "x-team-id").then_some("support");
        Chain::new(links, mode).inspect(&prompt, &Facts { path: "/v1/chat/completions", header: &header, model: "m" })
    }

    fn words(ruling: &Ruling) -> Vec<(&'static str, &'static str)> {
        ruling.decisions.iter().map(|d| (d.kind, d.verdict)).collect()
    }

    #[test]
    fn the_first_block_stops_the_chain_and_the_rest_is_recorded_as_skipped() {
        let links = [("a", Verdict::Warn), ("b", Verdict::Block), ("c", Verdict::Block)];
        let ruling = ruling(Mode::default(), links.map(|(kind, v)| (When::default(), Always(kind, Some(v)))).into());
        assert_eq!(words(&ruling), [("a", "warn"), ("b", "block"), ("c", "skipped")]);
        assert_eq!(ruling.verdict, Verdict::Block);
        assert_eq!(ruling.refusal.unwrap().policy, Some("b"));
    }

    #[test]
    fn a_link_applies_when_all_its_conditions_hold() {
        let header = |value: &str| [("x-team-id".to_string(), value.to_string())].into();
        let whens = [
            (When { path: Some("/v1/chat".into()), headers: header("support"), models: vec!["m".into()] }, true),
            (When { path: Some("/v1/completions".into()), ..When::default() }, false),
            (When { headers: header("other"), ..When::default() }, false),
            (When { models: vec!["x".into()], ..When::default() }, false),
            (When { path: Some("/v1/".into()), models: vec!["x".into()], ..When::default() }, false),
        ];
        for (when, expected) in whens {
            let judged = ruling(Mode::default(), vec![(when.clone(), Always("a", Some(Verdict::Warn)))]);
            assert_eq!(!judged.decisions.is_empty(), expected, "{when:?}");
        }
    }

    #[test]
    fn a_panic_is_a_fault_of_its_policy_and_the_fail_mode_decides() {
        let broken = || vec![(When::default(), Always("a", None))];
        let closed = ruling(Mode::default(), broken());
        let refusal = closed.refusal.unwrap();
        assert_eq!((refusal.status, refusal.code), (503, "policy_error"));
        let open = ruling(Mode { fail: FailMode::Allow, observe: false }, broken());
        assert!(open.refusal.is_none() && open.degraded);
        assert_eq!(open.decisions[0].verdict, "error");
    }

    #[test]
    fn thousands_of_values_in_one_escaped_text_are_each_replaced_in_one_walk_over_it() {
        let content = "to \\u0001jane@example.com, ".repeat(5_000);
        let body = format!(r#"{{"messages":[{{"role":"user","content":"{content}"}}]}}"#);
        let prompt = Prompt::read(Endpoint::ChatCompletions, body.as_bytes()).unwrap();
        let detector: Arc<dyn Policy> = Arc::new(crate::policy::pii::PiiDetector::new(Default::default()).unwrap());
        let chain = Chain::new(vec![Link { when: When::default(), policy: detector }], Mode::default());
        let ruling = chain.inspect(&prompt, &Facts { path: "/", header: &|_| None, model: "" });
        let edited = crate::openai::edit::rewrite(body.as_bytes(), ruling.splices);
        assert_eq!(String::from_utf8(edited).unwrap(), body.replace("jane@example.com", "[EMAIL_REDACTED]"));
    }

    #[test]
    fn observation_records_and_never_blocks() {
        let links =
            vec![(When::default(), Always("a", Some(Verdict::Block))), (When::default(), Always("b", Some(Verdict::Warn)))];
        let ruling = ruling(Mode { observe: true, ..Mode::default() }, links);
        assert!(ruling.refusal.is_none() && ruling.splices.is_empty());
        assert_eq!(words(&ruling), [("a", "block"), ("b", "warn")]);
    }
}
