//! The watches of one answer: every policy that watches, on every channel of every choice.

use super::chain::{Decision, FailMode, Mode, guarded, policy_error, strongest};
use super::restore::{Restorer, Restoring};
use super::{Flow, Policy, Released, Replacement, Verdict, Watch};
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
    /// Text before this is the caller's already, whatever is found in it now.
    seen: u64,
    /// Ordered and disjoint; the relay drops those it has applied.
    pub replacements: VecDeque<Replacement>,
    watches: Vec<(usize, Box<dyn Watch>, Released)>,
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
        let json = matches!(channel.kind, AnswerKind::Arguments(_) | AnswerKind::FunctionArguments);
        Some(Box::new(Restoring::new(restorer.clone(), json, inner)))
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
        let begin = |(at, watcher): (usize, &Watcher)| Some((at, watcher.watch(&id)?, Released::default()));
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
        self.run(at, |watch, out| watch.feed(delta, out))
    }

    /// The text of a channel is over; text that comes all the same is watched from there on as a new one.
    ///
    /// # Errors
    /// As for [`Answer::feed`].
    pub fn end(&mut self, at: usize) -> Result<(), Refusal> {
        if self.channels[at].upto == self.channels[at].fed && self.channels[at].watches.is_empty() {
            return Ok(());
        }
        let ended = self.run(at, |watch, out| watch.end(out));
        let channel = &mut self.channels[at];
        channel.upto = channel.fed;
        for (watcher, watch, released) in &mut channel.watches {
            if let Some(fresh) = self.watchers[*watcher].watch(&channel.id) {
                *watch = Box::new(Shifted { by: channel.fed, inner: fresh });
                *released = Released { upto: channel.fed, ..Released::default() };
            }
        }
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
        channel.upto < channel.fed || channel.watches.iter().any(|(_, _, released)| released.upto < channel.fed)
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

    fn run(&mut self, at: usize, mut step: impl FnMut(&mut dyn Watch, &mut Released) -> Flow) -> Result<(), Refusal> {
        let Self { watchers, decisions, channels, mode, degraded } = self;
        let channel = &mut channels[at];
        let mut refused = None;
        for (index, watch, released) in &mut channel.watches {
            let policy = watchers[*index].policy.as_ref();
            let decision = &mut decisions[*index];
            let began = Instant::now();
            let flow = guarded(|| Ok(step(watch.as_mut(), released)));
            decision.took += began.elapsed();
            if let Some(finding) = released.findings.first()
                && decision.verdict == "allow"
            {
                log::debug!("policy {} found {} in an answer", policy.kind(), finding.what);
                decision.verdict = Verdict::Redact.as_str();
                decision.reason_code = Some(policy.reason_code());
            }
            released.findings.drain(..).for_each(|finding| decision.note(&finding));
            match flow {
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
            channel.watches.iter_mut().for_each(|(_, _, released)| released.replacements.clear());
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
        self.upto = self.watches.iter().map(|(_, _, released)| released.upto).min().unwrap_or(self.fed).max(self.seen);
        for (_, _, released) in &mut self.watches {
            for mut replacement in released.replacements.drain(..) {
                if replacement.range.end <= self.seen {
                    continue;
                }
                replacement.range.start = replacement.range.start.max(self.seen);
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
}

/// A watch that began in the middle of a channel.
struct Shifted {
    by: u64,
    inner: Box<dyn Watch>,
}

impl Shifted {
    fn run(&mut self, out: &mut Released, step: impl FnOnce(&mut dyn Watch, &mut Released) -> Flow) -> Flow {
        let mut local = Released { upto: out.upto - self.by, ..Released::default() };
        let flow = step(self.inner.as_mut(), &mut local);
        out.upto = local.upto + self.by;
        out.findings.append(&mut local.findings);
        out.replacements.extend(
            local.replacements.into_iter().map(|r| Replacement { range: r.range.start + self.by..r.range.end + self.by, ..r }),
        );
        flow
    }
}

impl Watch for Shifted {
    fn feed(&mut self, delta: &str, out: &mut Released) -> Flow {
        self.run(out, |watch, local| watch.feed(delta, local))
    }
    fn end(&mut self, out: &mut Released) -> Flow {
        self.run(out, |watch, local| watch.end(local))
    }
}
