//! The way of an answer back to the caller: a stream event by event, anything else as a whole.
//!
//! A stream leaves as it arrives, in the very same `Bytes` when nothing changed. Any other answer is gathered up to a bound and
//! judged whole, so that it can still become a refusal, or be asked of another target when it breaks off.

mod pieces;
mod tally;

pub use tally::{Tally, error_status};

use super::hold::{Hold, judge_whole};
use super::resume::Resumed;
use super::said::Said;
use crate::openai::chunk::{Chunk, may_hold_usage};
use crate::openai::request::Prefix;
use crate::openai::sse::{Decoder, Event, Events};
use crate::policy::answer::Answer;
use crate::refusal::Refusal;
use crate::upstream::Failure;
use bytes::Bytes;
use pieces::{Gathered, concat};
use pingora_http::ResponseHeader;
use std::time::Instant;
use tally::{may_fail, may_finish};

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

enum Form {
    Stream(Box<Stream>),
    Whole { body: Gathered, cap: u64 },
}

struct Stream {
    decoder: Decoder,
    hold: Hold,
    /// The usage chunk was our wish, not the caller's, and stays here.
    strip_usage: bool,
    /// `[DONE]` has left.
    done: bool,
    /// The provider's last words, an error, kept back while another target may go on.
    last: Option<Bytes>,
    /// It goes on with what another target began.
    resumed: Option<Resumed>,
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
    /// A stream of events. `strip_usage`: the usage chunk was our wish, not the caller's, and stays here. `keep` what leaves, for
    /// another target to go on with should this one break off.
    pub fn stream(status: u16, answer: Answer, strip_usage: bool, keep: bool) -> Self {
        let hold = if keep { Hold::keeping() } else { Hold::default() };
        let stream = Stream { decoder: Decoder::new(MAX_EVENT), hold, strip_usage, done: false, last: None, resumed: None };
        let form = Form::Stream(Box::new(stream));
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
        matches!(self.form, Form::Stream(_))
    }

    /// Takes the next piece and returns what may leave now.
    ///
    /// # Errors
    /// [`Stop`]: a policy ended it, or the provider's bytes cannot be read by a policy that must read them.
    pub fn feed(&mut self, piece: Option<Bytes>, end: bool) -> Result<Option<Bytes>, Stop> {
        if piece.as_ref().is_some_and(|p| !p.is_empty()) {
            let now = Instant::now();
            self.tally.first_byte.get_or_insert(now);
            self.tally.target_began.get_or_insert(now);
            self.tally.last_byte = Some(now);
        }
        let out = match &mut self.form {
            Form::Whole { body, cap } => {
                body.push(piece, *cap).map_err(Stop::Failed)?;
                if end { Some(self.finish_whole()?) } else { None }
            }
            Form::Stream(_) => self.feed_stream(piece, end)?,
        };
        self.tally.bytes += out.as_ref().map_or(0, |o| o.len() as u64);
        Ok(out)
    }

    /// The answer stops here. Returns what may still leave of it: all that was decided and, when the `upstream_broke`, what is
    /// decided by the text so far having ended; and the refusal, should a policy refuse that.
    pub fn cut(&mut self, upstream_broke: bool) -> (Bytes, Option<Refusal>) {
        let mut out = std::mem::take(&mut self.left);
        let refused = match &mut self.form {
            Form::Stream(stream) if upstream_broke => {
                let refused = stream.hold.end(&mut self.answer, &mut out).err();
                out.extend(stream.last.take().filter(|_| refused.is_none()));
                refused
            }
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

    /// Hands over what was decided when the answer stopped; it leaves now.
    pub fn take_left(&mut self) -> Bytes {
        let left = concat(std::mem::take(&mut self.left), &Bytes::new()).unwrap_or_default();
        self.tally.bytes += left.len() as u64;
        left
    }

    /// Whether the caller has all of a stream: `[DONE]` has left.
    pub fn is_done(&self) -> bool {
        matches!(&self.form, Form::Stream(stream) if stream.done)
    }

    /// What the caller has seen, where another target could go on with it.
    pub fn said(&self) -> Option<&Said> {
        match &self.form {
            Form::Stream(stream) if !stream.done && self.tally.finish_reasons.is_empty() => stream.hold.said(),
            _ => None,
        }
    }

    /// Whether the provider's own error, kept back, is the last word of this stream.
    pub fn has_last_words(&self) -> bool {
        matches!(&self.form, Form::Stream(stream) if stream.last.is_some())
    }

    /// Edits those last words: they may outlive the attempt they come from.
    pub fn edit_last_words(&mut self, edit: impl FnOnce(Bytes) -> Bytes) {
        if let Form::Stream(stream) = &mut self.form {
            stream.last = stream.last.take().map(edit);
        }
    }

    /// Another target, asked in this way, goes on with this stream; `comment` tells the caller.
    ///
    /// # Errors
    /// A policy refuses the answer after all.
    pub fn resume(&mut self, comment: Bytes, how: Prefix, strip_usage: bool) -> Result<(), Refusal> {
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        stream.decoder = Decoder::new(MAX_EVENT);
        stream.strip_usage = strip_usage;
        stream.last = None;
        stream.resumed = Some(Resumed::behind(stream.hold.said().map(Said::sent).unwrap_or_default(), how));
        self.tally.error = None;
        self.tally.target_began = None;
        self.tally.named = false;
        self.left.push(comment);
        stream.hold.resume(&mut self.answer)
    }

    fn feed_stream(&mut self, piece: Option<Bytes>, end: bool) -> Result<Option<Bytes>, Stop> {
        let mut out = std::mem::take(&mut self.left);
        let piece = piece.unwrap_or_default();
        let Form::Stream(stream) = &mut self.form else { return Ok(None) };
        // Taken out while its events are read; a stream that stops needs it no more.
        let mut reading = std::mem::take(&mut stream.decoder);
        let read = self.on_events(reading.push(piece.clone()), &mut out);
        if let Form::Stream(stream) = &mut self.form {
            stream.decoder = reading;
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
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        if stream.done || self.tally.error.is_some() {
            // After [DONE] or an error nothing is said any more.
            return Ok(());
        }
        if stream.resumed.is_some() { self.on_resumed(event, out) } else { self.on_new(event, out) }
    }

    fn on_new(&mut self, event: Event, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        if event.is_done() {
            stream.hold.end(&mut self.answer, out)?;
            stream.done = true;
            self.tally.whole = true;
            out.push(event.raw);
            return Ok(());
        }
        let Some(data) = event.data() else {
            stream.hold.pass(event, &mut self.answer, out);
            return Ok(());
        };
        self.tally.chunks += 1;
        let read = self.tally.chunks == 1 || self.answer.is_watched() || stream.hold.keeps();
        if !read && !may_hold_usage(&data) && !may_finish(&data) && !may_fail(&data) {
            drop(data);
            stream.hold.pass(event, &mut self.answer, out);
            return Ok(());
        }
        let chunk = match Chunk::read(&data) {
            Ok(chunk) => chunk,
            // What begins with something else than JSON is no answer; what comes later is the caller's to see, unless it is watched.
            Err(_) if self.answer.is_watched() || self.tally.chunks == 1 && !is_json(&data) => {
                return Err(Stop::Failed(Failure::Unreadable));
            }
            Err(_) => {
                drop(data);
                stream.hold.pass(event, &mut self.answer, out);
                return Ok(());
            }
        };
        self.tally.learn(&chunk);
        if stream.strip_usage && chunk.is_usage_only() {
            return Ok(());
        }
        if chunk.error && stream.hold.said().is_some() {
            self.tally.error = Some(error_status(&data));
            stream.last = Some(event.raw.clone());
            return Ok(());
        }
        stream.hold.take(event.clone(), &chunk, &mut self.answer, out)?;
        if chunk.error {
            self.tally.error = Some(error_status(&data));
            stream.hold.end(&mut self.answer, out)?;
        }
        Ok(())
    }

    /// An event of a stream that goes on: without what the caller has seen already.
    fn on_resumed(&mut self, event: Event, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        let Some(resumed) = &mut stream.resumed else { return Ok(()) };
        let new = resumed.sift(event).map_err(|_| Stop::Failed(Failure::Unreadable))?;
        new.into_iter().try_for_each(|event| self.on_new(event, out))
    }

    fn end_stream(&mut self, out: &mut Vec<Bytes>) -> Result<(), Stop> {
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        let last = std::mem::replace(&mut stream.decoder, Decoder::new(MAX_EVENT)).finish();
        if let Some(event) = last {
            // Something may follow it: an error event, or another target's.
            let event = if event.is_done() { event } else { event.terminated() };
            self.on_event(event, out)?;
        }
        let Form::Stream(stream) = &mut self.form else { return Ok(()) };
        self.tally.whole |= !self.tally.finish_reasons.is_empty();
        // What is undecided is not said while another target may go on: it will say it again.
        if self.tally.whole || stream.hold.said().is_none() {
            stream.hold.end(&mut self.answer, out)?;
        }
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
            Err(_) if self.answer.is_watched() || !is_json(&body) => return Err(Stop::Failed(Failure::Unreadable)),
            Err(_) => return Ok(body),
        };
        self.tally.learn(&chunk);
        self.tally.error = chunk.error.then_some(self.status);
        let edited = judge_whole(&chunk, &mut self.answer)?;
        Ok(edited.map_or(body.clone(), Bytes::from))
    }
}

/// Whether it is JSON at all, to any depth.
fn is_json(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}
