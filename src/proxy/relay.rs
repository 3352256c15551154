//! The way of an answer back to the caller: a stream event by event, anything else as a whole.
//!
//! A stream leaves as it arrives, in the very same `Bytes` when nothing changed. Any other answer is gathered up to a bound and
//! judged whole, so that it can still become a refusal, or be asked of another target when it breaks off.

use super::hold::{Hold, judge_whole};
use crate::openai::chunk::{Chunk, Usage, may_hold_usage};
use crate::openai::sse::{Decoder, Event, Events};
use crate::policy::answer::Answer;
use crate::refusal::Refusal;
use crate::upstream::Failure;
use bytes::{Bytes, BytesMut};
use pingora_http::ResponseHeader;
use std::time::Instant;

/// A gathered answer is at most this long unless `size_limits.max_response_bytes` says otherwise, in bytes.
pub const DEFAULT_MAX_RESPONSE: u64 = 64 << 20;
/// One event of a stream is at most this long, in bytes.
const MAX_EVENT: usize = 16 << 20;

/// One answer on its way.
pub struct Relay {
    /// Watches it.
    pub answer: Answer,
    /// What was learnt on the way.
    pub tally: Tally,
    /// The provider's status.
    pub status: u16,
    /// The head as the caller is to see it, kept for answers whose length is not known yet.
    pub head: Option<Box<ResponseHeader>>,
    /// What was decided when the answer stopped, and has not left yet.
    left: Vec<Bytes>,
    form: Form,
}

/// What an answer taught.
#[derive(Debug, Default)]
pub struct Tally {
    /// Tokens, as the provider counts them.
    pub usage: Option<Usage>,
    /// Why each choice ended.
    pub finish_reasons: Vec<String>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The model that answered, as the provider names it.
    pub model: Option<String>,
    /// Events with data, `[DONE]` aside.
    pub chunks: u64,
    /// When the first byte of the body arrived.
    pub first_byte: Option<Instant>,
    /// When the last did.
    pub last_byte: Option<Instant>,
    /// The answer came to its proper end: `[DONE]`, a finish reason, or a whole body.
    pub whole: bool,
    /// The provider reported an error inside the stream: its status, 500 when it names none.
    pub error: Option<u16>,
    /// Body bytes handed to the caller.
    pub bytes: u64,
}

enum Form {
    Stream { decoder: Decoder, hold: Hold, strip_usage: bool, done: bool },
    Whole { body: Gathered, cap: u64 },
}

/// Why an answer stops.
pub enum Stop {
    /// The caller gets this instead of the rest.
    Refused(Refusal),
    /// The target failed.
    Failed(Failure),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

impl Relay {
    /// A stream of events. `strip_usage`: the usage chunk was our wish, not the caller's, and stays here.
    pub fn stream(status: u16, answer: Answer, strip_usage: bool) -> Self {
        let decoder = Decoder::new(MAX_EVENT);
        let form = Form::Stream { decoder, hold: Hold::default(), strip_usage, done: false };
        Self { answer, tally: Tally::default(), status, head: None, left: Vec::new(), form }
    }

    /// An answer that is judged whole, of at most `cap` bytes.
    pub fn whole(status: u16, answer: Answer, cap: u64) -> Self {
        Self {
            answer,
            tally: Tally::default(),
            status,
            head: None,
            left: Vec::new(),
            form: Form::Whole { body: Gathered::default(), cap },
        }
    }

    /// Whether it is a stream.
    pub fn is_stream(&self) -> bool {
        matches!(self.form, Form::Stream { .. })
    }

    /// Takes the next piece and returns what may leave now.
    ///
    /// # Errors
    /// [`Stop`]: a policy ended it, or the provider's bytes cannot be read by a policy that must read them.
    pub fn feed(&mut self, piece: Option<Bytes>, end: bool) -> Result<Option<Bytes>, Stop> {
        if piece.as_ref().is_some_and(|p| !p.is_empty()) {
            let now = Instant::now();
            self.tally.first_byte.get_or_insert(now);
            self.tally.last_byte = Some(now);
        }
        let out = match &mut self.form {
            Form::Whole { body, cap } => {
                body.push(piece, *cap)?;
                if end { Some(self.finish_whole()?) } else { None }
            }
            Form::Stream { .. } => self.feed_stream(piece, end)?,
        };
        self.tally.bytes += out.as_ref().map_or(0, |o| o.len() as u64);
        Ok(out)
    }

    /// The answer stops here. Returns what may still leave of it: all that was decided and, when the `upstream_broke`, what is
    /// decided by the text so far having ended; and the refusal, should a policy refuse that.
    pub fn cut(&mut self, upstream_broke: bool) -> (Bytes, Option<Refusal>) {
        let mut out = std::mem::take(&mut self.left);
        let refused = match &mut self.form {
            Form::Stream { hold, .. } if upstream_broke => hold.end(&mut self.answer, &mut out).err(),
            _ => None,
        };
        let out = concat(out, &Bytes::new()).unwrap_or_default();
        self.tally.bytes += out.len() as u64;
        (out, refused)
    }

    /// Whether something was decided when the answer stopped.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Whether the caller has all of a stream: `[DONE]` has left.
    pub fn is_done(&self) -> bool {
        matches!(self.form, Form::Stream { done: true, .. })
    }

    fn feed_stream(&mut self, piece: Option<Bytes>, end: bool) -> Result<Option<Bytes>, Stop> {
        let mut out = Vec::new();
        let piece = piece.unwrap_or_default();
        let Form::Stream { decoder, .. } = &mut self.form else { return Ok(None) };
        // Taken out while its events are read; a stream that stops needs it no more.
        let mut reading = std::mem::take(decoder);
        let read = self.on_events(reading.push(piece.clone()), &mut out);
        if let Form::Stream { decoder, .. } = &mut self.form {
            *decoder = reading;
        }
        match read.and_then(|()| if end { self.end_stream(&mut out) } else { Ok(()) }) {
            Ok(()) => Ok(concat(out, &piece)),
            Err(stop) => {
                self.left = out;
                Err(stop)
            }
        }
    }

    fn on_events(&mut self, events: Events<'_>, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        for event in events {
            self.on_event(event.map_err(|_| Stop::Failed(Failure::Unreadable))?, out)?;
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Form::Stream { hold, strip_usage, done, .. } = &mut self.form else { return Ok(()) };
        if *done || self.tally.error.is_some() {
            // After [DONE] or an error nothing is said any more.
            return Ok(());
        }
        if event.is_done() {
            hold.end(&mut self.answer, out)?;
            *done = true;
            self.tally.whole = true;
            out.push(event.raw);
            return Ok(());
        }
        let Some(data) = event.data() else {
            hold.pass(event, &mut self.answer, out);
            return Ok(());
        };
        self.tally.chunks += 1;
        let first = self.tally.chunks == 1;
        if !first && !self.answer.is_watched() && !may_hold_usage(&data) && !may_finish(&data) && !may_fail(&data) {
            drop(data);
            hold.pass(event, &mut self.answer, out);
            return Ok(());
        }
        let chunk = match Chunk::read(&data) {
            Ok(chunk) => chunk,
            Err(_) if self.answer.is_watched() => return Err(Stop::Failed(Failure::Unreadable)),
            Err(_) => {
                drop(data);
                hold.pass(event, &mut self.answer, out);
                return Ok(());
            }
        };
        self.tally.learn(&chunk);
        if *strip_usage && chunk.is_usage_only() {
            return Ok(());
        }
        hold.take(event.clone(), &chunk, &mut self.answer, out)?;
        if chunk.error {
            self.tally.error = Some(error_status(&data));
            hold.end(&mut self.answer, out)?;
        }
        Ok(())
    }

    fn end_stream(&mut self, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Form::Stream { decoder, .. } = &mut self.form else { return Ok(()) };
        let last = std::mem::replace(decoder, Decoder::new(MAX_EVENT)).finish();
        if let Some(event) = last {
            self.on_event(event, out)?;
        }
        let Form::Stream { hold, .. } = &mut self.form else { return Ok(()) };
        hold.end(&mut self.answer, out)?;
        self.tally.whole |= !self.tally.finish_reasons.is_empty();
        Ok(())
    }

    fn finish_whole(&mut self) -> Result<Bytes, Stop> {
        let Form::Whole { body, .. } = &mut self.form else { return Ok(Bytes::new()) };
        let body = std::mem::take(body).into_bytes();
        self.tally.whole = true;
        if self.status >= 400 {
            return Ok(body);
        }
        let chunk = match Chunk::read(&body) {
            Ok(chunk) => chunk,
            Err(_) if self.answer.is_watched() => return Err(Stop::Failed(Failure::Unreadable)),
            Err(_) => return Ok(body),
        };
        self.tally.learn(&chunk);
        self.tally.error = chunk.error.then_some(self.status);
        let edited = judge_whole(&chunk, &mut self.answer)?;
        Ok(edited.map_or(body.clone(), Bytes::from))
    }
}

impl Tally {
    fn learn(&mut self, chunk: &Chunk<'_>) {
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        for (_, reason) in &chunk.finish {
            self.finish_reasons.push(reason.to_string());
        }
        if self.id.is_none() {
            self.id = chunk.id.as_deref().map(Into::into);
            self.model = chunk.model.as_deref().map(Into::into);
        }
    }
}

/// Pieces of a body until it is whole; one piece is not copied.
#[derive(Default)]
struct Gathered(Vec<Bytes>, u64);

impl Gathered {
    fn push(&mut self, piece: Option<Bytes>, cap: u64) -> Result<(), Stop> {
        let Some(piece) = piece.filter(|p| !p.is_empty()) else { return Ok(()) };
        self.1 += piece.len() as u64;
        if self.1 > cap {
            return Err(Stop::Failed(Failure::Unreadable));
        }
        self.0.push(piece);
        Ok(())
    }

    fn into_bytes(self) -> Bytes {
        join(self.0)
    }
}

/// Whether an object may end a choice: as cheap as [`may_hold_usage`], and as approximate.
fn may_finish(json: &[u8]) -> bool {
    let Some(at) = memchr::memmem::find(json, b"\"finish_reason\"") else { return false };
    let value = json[at + b"\"finish_reason\"".len()..].iter().find(|b| !matches!(b, b':' | b' '));
    value.is_some_and(|b| *b != b'n')
}

/// Whether an object may report an error, likewise.
fn may_fail(json: &[u8]) -> bool {
    memchr::memmem::find(json, b"\"error\"").is_some()
}

/// The HTTP status an error inside a stream stands for.
fn error_status(json: &[u8]) -> u16 {
    let event: serde_json::Value = serde_json::from_slice(json).unwrap_or_default();
    let named =
        ["/status_code", "/error/status_code", "/error/status", "/error/code"].iter().find_map(|at| event.pointer(at)?.as_u64());
    named.and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status)).unwrap_or(500)
}

/// The events that leave with one piece, as few buffers as can be: neighbours within `piece` are one slice of it.
fn concat(out: Vec<Bytes>, piece: &Bytes) -> Option<Bytes> {
    let base = piece.as_ptr() as usize;
    let mut parts: Vec<Bytes> = Vec::with_capacity(1);
    for next in out.into_iter().filter(|b| !b.is_empty()) {
        let at = (next.as_ptr() as usize).wrapping_sub(base);
        match parts.last_mut() {
            Some(last) if last.as_ptr() as usize + last.len() == next.as_ptr() as usize && at + next.len() <= piece.len() => {
                let from = (last.as_ptr() as usize).wrapping_sub(base);
                if from <= at {
                    *last = piece.slice(from..at + next.len());
                } else {
                    parts.push(next);
                }
            }
            _ => parts.push(next),
        }
    }
    (!parts.is_empty()).then(|| join(parts))
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}
