//! What can be proved of an exchange later: commitments to its bodies, and the bodies themselves where the config keeps them.
//!
//! The request is committed to as the caller sent it, decoded, and once more without what policies took out of it, where they did:
//! that is what targets were sent. What differs from target to target (model, dropped fields) is in the record by name. The answer is
//! committed to as it leaves, piece by piece.
//!
//! Salts are durable with the record whose commitment they open. Bodies go with the last record: an exchange that the gateway did not
//! live to end has its commitments alone. Nothing is encrypted before the answer has left.

use super::exchange::{Exchange, Facts};
use super::relay::Relay;
use crate::audit::commitment::{Commitment, Committed, Committing, Salt};
use crate::audit::record::{Content, Omission, Redacted};
use crate::audit::vault::{Body, Budget, Deposit, Keep, Salts};
use crate::openai::edit::{Splice, apply};
use bytes::Bytes;
use std::sync::LazyLock;

/// The longest body that is kept, in bytes.
const LONGEST: usize = 1 << 20;
/// Memory of all bodies that are gathered or wait for the disk, in bytes.
static MEMORY: LazyLock<Budget> = LazyLock::new(|| Budget::of(128 << 20));

/// The evidence of one exchange.
#[derive(Default)]
pub struct Evidence {
    request: Option<Committed>,
    redacted: Option<Committed>,
    answer: Option<Committing>,
    answered: Option<Committed>,
    /// The request's body, while it may be stored.
    body: Option<Bytes>,
    /// What was taken out of it.
    redactions: Vec<Splice>,
    /// The answer so far, while it may be stored.
    gathered: Option<Result<Body, Omission>>,
    /// Values are put back into the answer.
    restores: bool,
    /// The chain let the request go.
    admitted: bool,
    request_is: Stored,
    answer_is: Stored,
}

/// What became of a body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stored {
    /// Nobody asked for it.
    #[default]
    No,
    Yes,
    Omitted(Omission),
}

impl Evidence {
    /// The request was read.
    pub fn read(&mut self, body: &Bytes, keep: &Keep) {
        self.request = commit(body);
        self.body = keep.keeps().then(|| body.clone());
    }

    /// The chain let the request go, with these places replaced; and puts values back into the answer, or not.
    pub fn admitted(&mut self, body: &Bytes, redactions: &[Splice], restores: bool) {
        (self.admitted, self.restores) = (true, restores);
        if !redactions.is_empty() {
            self.redacted = commit(&apply(body, redactions.to_vec()));
            self.redactions = redactions.to_vec();
        }
    }

    /// A piece of the answer leaves.
    pub fn leaves(&mut self, piece: &[u8], keep: &Keep) {
        if self.answer.is_none() {
            self.answer = Salt::fresh().map(Salt::begin);
        }
        if let Some(answer) = &mut self.answer {
            answer.update(piece);
        }
        if !keep.keeps() {
            return;
        }
        if let Ok(body) = self.gathered.get_or_insert_with(|| Ok(MEMORY.body())) {
            if body.bytes().len() + piece.len() > LONGEST {
                self.gathered = Some(Err(Omission::TooLarge));
            } else if !body.push(piece) {
                self.gathered = Some(Err(Omission::Busy));
            }
        }
    }

    /// What goes to the vault with the first record.
    pub fn begun(&self) -> Deposit {
        Deposit { salts: self.request_salts(), ..Deposit::default() }
    }

    /// The request, as records speak of it.
    pub fn request(&self, exchange: &str) -> Content {
        let redacted = self.redacted.as_ref().map(|r| Redacted { bytes: r.bytes, commit: r.commitment.commit.clone() });
        Content { redacted, ..content(self.request.as_ref(), self.request_is, exchange, "req") }
    }

    /// The answer; `None` when nothing of one left.
    pub fn answer(&self, exchange: &str) -> Option<Content> {
        self.answered.as_ref().map(|answered| content(Some(answered), self.answer_is, exchange, "resp"))
    }

    fn request_salts(&self) -> Salts {
        let salt = |committed: &Option<Committed>| committed.as_ref().map(|c| c.salt.clone());
        Salts { request: salt(&self.request), redacted: salt(&self.redacted), answer: None }
    }

    /// The bodies, in the form they are kept in.
    fn bodies(&mut self, facts: &Facts, relay: Option<&Relay>, keep: &Keep, observes: bool) -> (Option<Body>, Option<Body>) {
        let (request, answer) = (self.body.take(), self.gathered.take());
        let (request, answer) = match keep {
            Keep::Nothing => return (None, None),
            Keep::Redacted => {
                let read = |phase| has_read(facts, phase) && !observes;
                let request = request.map(|body| match self.admitted && read("input") {
                    true => Ok(apply(&body, std::mem::take(&mut self.redactions))),
                    false => Err(Omission::Unread),
                });
                let judged = read("output") && relay.is_some_and(|relay| relay.status < 400);
                let answer = answer.map(|body| match body {
                    Ok(_) if self.restores => Err(Omission::Restored),
                    Ok(_) if !judged => Err(Omission::Unread),
                    body => body,
                });
                (request.map(|body| body.and_then(|body| gather(&body))), answer)
            }
            Keep::Encrypted(to) => {
                let request =
                    request.map(|body| if body.len() > LONGEST { Err(Omission::TooLarge) } else { MEMORY.sealed(&body, to) });
                (request, answer.map(|body| body.and_then(|body| MEMORY.sealed(body.bytes(), to))))
            }
        };
        (self.request_is, self.answer_is) = (stored(&request), stored(&answer));
        (request.and_then(Result::ok), answer.and_then(Result::ok))
    }
}

/// The exchange is over: what goes to the vault with its last record, which is its `only` one or not. After this the evidence says
/// what was stored.
pub fn close(exchange: &mut Exchange, relay: Option<&Relay>, only: bool) -> Deposit {
    let Exchange { evidence, facts, gateway, .. } = exchange;
    evidence.answered = evidence.answer.take().map(Committing::finish);
    let (request, answer) = evidence.bodies(facts, relay, &gateway.keep, gateway.chain.mode().observe);
    let mut salts = if only { evidence.request_salts() } else { Salts::default() };
    salts.answer = evidence.answered.as_ref().map(|c| c.salt.clone());
    Deposit { salts, form: gateway.keep.form(), request, answer }
}

fn commit(body: &[u8]) -> Option<Committed> {
    let mut committing = Salt::fresh()?.begin();
    committing.update(body);
    Some(committing.finish())
}

fn content(committed: Option<&Committed>, is: Stored, exchange: &str, part: &str) -> Content {
    Content {
        bytes: committed.map_or(0, |c| c.bytes),
        commitment: committed.map(|c| Commitment::clone(&c.commitment)),
        body_ref: (is == Stored::Yes).then(|| format!("vault/{exchange}/{part}")),
        body_omitted: if let Stored::Omitted(why) = is { Some(why) } else { None },
        ..Content::default()
    }
}

/// Whether `pii-detector` has read all it reads of a phase, and acted on it.
fn has_read(facts: &Facts, phase: &str) -> bool {
    let of_phase = |d: &&crate::policy::chain::Decision| d.kind == "pii-detector" && d.phase == phase;
    let mut verdicts = facts.decisions.iter().filter(of_phase).map(|d| d.verdict).peekable();
    verdicts.peek().is_some() && verdicts.all(|verdict| matches!(verdict, "allow" | "warn" | "redact" | "escalate"))
}

fn gather(bytes: &[u8]) -> Result<Body, Omission> {
    let mut body = MEMORY.body();
    match bytes.len() {
        length if length > LONGEST => Err(Omission::TooLarge),
        _ if body.push(bytes) => Ok(body),
        _ => Err(Omission::Busy),
    }
}

fn stored(body: &Option<Result<Body, Omission>>) -> Stored {
    match body {
        None => Stored::No,
        Some(Ok(_)) => Stored::Yes,
        Some(Err(why)) => Stored::Omitted(*why),
    }
}
