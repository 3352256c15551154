//! The watches of one answer: every policy that watches, on every channel of every choice.

use super::chain::{Decision, FailMode, Mode, guarded, policy_error, strongest};
use super::restore::{Restorer, Restoring};
use super::{Change, Flow, Policy, Released, Replacement, Verdict, Watch};
use crate::openai::chunk::{AnswerChannel, AnswerKind};
use crate::refusal::Refusal;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

/// Text channels one answer may open: each keeps its watches until the end. Real answers have a dozen.
const MAX_CHANNELS: usize = 4096;

/// A policy that watches the answer of one exchange, and what it took out of that exchange's prompt.
#[derive(Clone)]
pub struct Watcher {
    policy: Arc<dyn Policy>,
    restores: Option<Arc<Restorer>>,
}

/// Watches one answer. Offsets are those of [`Watch`]: bytes of a channel's decoded text from its beginning.
pub struct Answer {
    watchers: Vec<Watcher>,
    decisions: Vec<Decision>,
    channels: Vec<Channel>,
    mode: Mode,
    degraded: bool,
}

/// One channel: what was fed, what is decided, what is to be replaced.
pub struct Channel {
    /// Which.
    pub id: AnswerChannel,
    /// Text fed so far, in bytes.
    pub fed: u64,
    /// Text before this is decided by every watch.
    pub upto: u64,
    /// Text before this is decided for good: it is the caller's already, or about to be, whatever is found in it now.
    seen: u64,
    /// Ordered and disjoint; the relay drops those it has applied.
    pub replacements: VecDeque<Replacement>,
    watches: Vec<Running>,
}

/// One watch of one channel.
struct Running {
    /// Whose: an index into [`Answer::watchers`].
    watcher: usize,
    watch: Box<dyn Watch>,
    released: Released,
    /// Findings that were told when the text seemed to be over, and will be found again when it goes on.
    told: usize,
}

impl Watcher {
    /// `None` when there is nothing to watch for and nothing to put back.
    pub fn new(policy: Arc<dyn Policy>, restores: Option<Arc<Restorer>>) -> Option<Self> {
        (policy.watches_answers() || restores.is_some()).then_some(Self { policy, restores })
    }

    /// Whether it puts values back into the answer.
    pub fn restores(&self) -> bool {
        self.restores.is_some()
    }

    fn watch(&self, channel: &AnswerChannel) -> Option<Box<dyn Watch>> {
        let inner = self.policy.watch(channel);
        let Some(restorer) = &self.restores else { return inner };
        Some(Box::new(Restoring::new(restorer.clone(), is_json(channel), inner)))
    }
}

impl From<Arc<dyn Policy>> for Watcher {
    fn from(policy: Arc<dyn Policy>) -> Self {
        Self { policy, restores: None }
    }
}

impl Answer {
    /// Watches by `watchers`, none of which need be interested in every channel.
    pub fn new(watchers: Vec<Watcher>, mode: Mode) -> Self {
        let decisions = watchers.iter().map(|w| Decision::of_answer(w.policy.as_ref(), Verdict::Allow)).collect();
        Self { watchers, decisions, channels: Vec::new(), mode, degraded: false }
    }

    /// Whether anybody watches.
    pub fn is_watched(&self) -> bool {
        !self.watchers.is_empty()
    }

    /// The position of a channel, begun when new.
    pub fn channel(&mut self, id: AnswerChannel) -> usize {
        if let Some(at) = self.channels.iter().position(|c| c.id == id) {
            return at;
        }
        let begin = |(watcher, of): (usize, &Watcher)| {
            Some(Running { watcher, watch: of.watch(&id)?, released: Released::default(), told: 0 })
        };
        let watches = self.watchers.iter().enumerate().filter_map(begin).collect();
        self.channels.push(Channel { id, fed: 0, upto: 0, seen: 0, replacements: VecDeque::new(), watches });
        self.channels.len() - 1
    }

    /// How many channels have begun.
    pub fn channels(&self) -> usize {
        self.channels.len()
    }

    /// One channel, by the position [`Answer::channel`] gave.
    pub fn at(&mut self, at: usize) -> &mut Channel {
        &mut self.channels[at]
    }

    /// Gives a channel its next piece of text.
    ///
    /// # Errors
    /// The refusal that ends the answer: a watch blocked, or faulted (under `observe` neither happens), or the provider opens
    /// channels without end.
    pub fn feed(&mut self, at: usize, delta: &str) -> Result<(), Refusal> {
        if self.channels.len() > MAX_CHANNELS {
            let message = "the provider's answer has more text channels than any answer needs";
            return Err(Refusal::upstream(502, message));
        }
        self.channels[at].fed += delta.len() as u64;
        self.run(at, Step::Feed(delta))
    }

    /// The text of a channel is over, as far as one can tell: all of it is decided now. Should it go on all the same, it is judged
    /// behind what was there: of a value that was not over, the rest is replaced.
    ///
    /// # Errors
    /// As for [`Answer::feed`].
    pub fn end(&mut self, at: usize) -> Result<(), Refusal> {
        if !self.is_open(at) {
            return Ok(());
        }
        let ended = self.run(at, Step::End);
        let channel = &mut self.channels[at];
        channel.upto = channel.fed;
        channel.seen = channel.fed;
        ended
    }

    /// The answer broke off and goes on elsewhere, behind `said`: what a caller has seen of the one channel that goes on. The
    /// watches read that again, for what follows may only mean something behind it, and decide nothing of it.
    ///
    /// # Errors
    /// As for [`Answer::feed`].
    pub fn resume(&mut self, id: AnswerChannel, said: &str) -> Result<(), Refusal> {
        let (decisions, degraded) = (self.decisions.clone(), self.degraded);
        self.channels.clear();
        let at = self.channel(id);
        let fed = self.feed(at, said);
        let channel = &mut self.channels[at];
        channel.seen = channel.fed;
        channel.upto = channel.upto.max(channel.seen);
        channel.replacements.clear();
        // What is found in it was found before.
        (self.decisions, self.degraded) = (decisions, degraded);
        fed
    }

    /// Whether some watch has not decided all the text of a channel, even where observation lets it leave.
    pub fn is_open(&self, at: usize) -> bool {
        let channel = &self.channels[at];
        channel.seen < channel.fed
            && (channel.upto < channel.fed || channel.watches.iter().any(|running| running.released.upto < channel.fed))
    }

    /// The channels so far, each with whether somebody watches it.
    pub fn watched(&self) -> impl Iterator<Item = (AnswerKind, bool)> {
        self.channels.iter().map(|channel| (channel.id.kind, !channel.watches.is_empty()))
    }

    /// Hands over what the policies found in the answer.
    pub fn take_decisions(&mut self) -> Vec<Decision> {
        std::mem::take(&mut self.decisions)
    }

    /// The watchers, for another answer from its beginning.
    pub fn into_watchers(self) -> Vec<Watcher> {
        self.watchers
    }

    /// A policy faulted and the answer went on.
    pub fn is_degraded(&self) -> bool {
        self.degraded
    }

    /// The strongest verdict so far.
    pub fn verdict(&self) -> &'static str {
        strongest(self.decisions.iter().map(|d| d.verdict))
    }

    fn run(&mut self, at: usize, step: Step<'_>) -> Result<(), Refusal> {
        let Self { watchers, decisions, channels, mode, degraded } = self;
        let channel = &mut channels[at];
        let mut refused = None;
        for Running { watcher, watch, released, told } in &mut channel.watches {
            let policy = watchers[*watcher].policy.as_ref();
            let decision = &mut decisions[*watcher];
            let (began, decided) = (Instant::now(), released.upto);
            let flow = guarded(|| {
                Ok(match step {
                    Step::Feed(delta) => watch.feed(delta, released),
                    Step::End => watch.fork().end(released),
                })
            });
            decision.took += began.elapsed();
            let again = released.findings.drain(..released.findings.len().min(*told)).count();
            *told = match step {
                Step::Feed(_) => *told - again,
                Step::End => again + released.findings.len(),
            };
            if let Some(finding) = released.findings.first()
                && decision.verdict == "allow"
            {
                log::debug!("policy {} found {} in an answer", policy.kind(), finding.what);
                decision.verdict = Verdict::Redact.as_str();
                decision.reason_code = Some(policy.reason_code());
            }
            released.findings.drain(..).for_each(|finding| decision.note(&finding));
            match flow {
                // What goes on has decided no more than before.
                Ok(Flow::Continue) if matches!(step, Step::End) => released.upto = decided,
                Ok(Flow::Continue) => {}
                Ok(Flow::Block) => {
                    decision.verdict = Verdict::Block.as_str();
                    decision.reason_code = Some(policy.reason_code());
                    refused.get_or_insert_with(|| Refusal::output_blocked(policy.kind(), policy.reason_code(), policy.message()));
                }
                Err(fault) => {
                    log::error!("policy {} could not judge an answer: {fault}", policy.kind());
                    decision.verdict = "error";
                    *watch = Box::new(Blind);
                    released.upto = channel.fed;
                    match mode.fail {
                        FailMode::Block if !mode.observe => _ = refused.get_or_insert_with(|| policy_error(policy.kind())),
                        _ => *degraded = true,
                    }
                }
            }
        }
        if mode.observe {
            channel.upto = channel.fed;
            channel.watches.iter_mut().for_each(|running| running.released.replacements.clear());
            return Ok(());
        }
        channel.settle();
        refused.map_or(Ok(()), Err)
    }
}

impl Channel {
    /// Merges what the watches released: text leaves when all of them have decided it, and where two replace the same text the
    /// policy listed first wins.
    fn settle(&mut self) {
        self.upto = self.watches.iter().map(|running| running.released.upto).min().unwrap_or(self.fed).max(self.seen);
        let json = is_json(&self.id);
        for replacement in self.watches.iter_mut().flat_map(|running| running.released.replacements.drain(..)) {
            let Some(replacement) = unseen(replacement, self.seen, json) else { continue };
            let at = self.replacements.partition_point(|r| r.range.start < replacement.range.start);
            let clear = |other: Option<&Replacement>| {
                other.is_none_or(|o| o.range.end <= replacement.range.start || o.range.start >= replacement.range.end)
            };
            if clear(self.replacements.get(at)) && clear(at.checked_sub(1).and_then(|before| self.replacements.get(before))) {
                self.replacements.insert(at, replacement);
            }
        }
    }
}

/// What of a replacement can still be done: the text before `seen` is out. The rest of a value is taken out; the rest of a token
/// stays, for half of it is there already.
fn unseen(mut replacement: Replacement, seen: u64, json: bool) -> Option<Replacement> {
    if replacement.range.start >= seen {
        return Some(replacement);
    }
    if replacement.range.end <= seen || replacement.change == Change::Restores {
        return None;
    }
    replacement.range.start = seen;
    // Behind the first half of a bare number only digits may follow.
    if json && replacement.with.starts_with('"') {
        replacement.with = "0".to_owned();
    }
    Some(replacement)
}

/// Whether the text of a channel is JSON itself.
fn is_json(channel: &AnswerChannel) -> bool {
    matches!(channel.kind, AnswerKind::Arguments(_) | AnswerKind::FunctionArguments)
}

/// What a watch is to do.
#[derive(Clone, Copy)]
enum Step<'a> {
    Feed(&'a str),
    End,
}

/// Stands in for a watch that faulted under fail mode `allow`.
struct Blind;

impl Watch for Blind {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        out.upto += delta.len() as u64;
        Flow::Continue
    }
    fn end(&mut self, _out: &mut Released) -> Flow {
        Flow::Continue
    }
    fn fork(&self) -> Box<dyn Watch> {
        Box::new(Blind)
    }
}
