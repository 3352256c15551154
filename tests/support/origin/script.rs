//! The vocabulary of a script: what the origin does with each request.

use super::{Origin, Request};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// What the origin does with one request.
#[derive(Debug, Clone)]
pub struct Step {
    pub act: Act,
    /// Instead of `act`, for a request that asks for a stream.
    pub streamed: Option<Act>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// Answer as soon as the head of the request is read, and leave its body unread.
    pub before_body: bool,
    /// Close the connection after the answer.
    pub closes: bool,
    /// Wait for the gate with the request read and nothing answered.
    pub held: bool,
}

/// The kinds of things an origin does.
#[derive(Debug, Clone)]
pub enum Act {
    /// An answer with a Content-Length.
    Whole(Vec<u8>),
    /// A chunked answer, an event a write.
    Stream { events: Vec<Vec<u8>>, pace: Pace, end: End },
    /// These bytes, so many a write, head and all.
    Raw { bytes: Vec<u8>, per_write: usize },
    /// No answer, with the connection open.
    Hang,
    /// No answer, and the connection closed.
    Close,
    /// No answer, and the connection reset; over HTTP/2 the stream.
    Reset,
    /// No answer, and nothing more to say, with an ear for what the other side still says.
    HalfClose,
    /// `head`, and then `filler` again and again, `gap` apart, for as long as the other side reads.
    Endless { head: Vec<u8>, filler: Vec<u8>, gap: Duration },
}

/// When the events of a stream leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// This long after one another.
    Gap(Duration),
    /// When the test says so.
    Gate,
}

/// What follows the last event of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end of the body, as framing has it.
    Clean,
    /// A TCP reset; over HTTP/2 a reset of the stream.
    Reset,
    /// The connection is closed without the end of the body; over HTTP/2 as a reset.
    Truncated,
    /// Nothing, with the connection open.
    Silence,
}

impl Step {
    fn new(act: Act) -> Step {
        Step { act, streamed: None, status: 200, headers: Vec::new(), before_body: false, closes: false, held: false }
    }

    /// What is done with this request.
    pub fn act_for(&self, request: &Request) -> &Act {
        self.streamed.as_ref().filter(|_| request.asks_for_a_stream()).unwrap_or(&self.act)
    }

    /// What an origin without a script does.
    pub fn unscripted() -> Step {
        let body = json!({"error": {"message": "this origin has no script"}}).to_string();
        Step { status: 500, ..Step::new(Act::Whole(body.into_bytes())) }
    }
}

impl Origin {
    /// Reads well between two steps; does nothing.
    pub fn then(self) -> Origin {
        self
    }

    /// An answer with this status: a Cerebras error body from 400 on, else an empty object.
    pub fn replies(self, status: u16) -> Origin {
        let message = format!("scripted {status}");
        let error = json!({"message": message, "type": "scripted_error", "param": "", "code": format!("scripted_{status}")});
        let body = if status >= 400 { error } else { json!({}) };
        self.step(Act::Whole(body.to_string().into_bytes())).edit(|step| step.status = status)
    }

    /// A whole chat completion that says `text`.
    pub fn chat(self, text: &str) -> Origin {
        self.body(completion(text).to_string())
    }

    /// 200 with this body, JSON unless a header says otherwise.
    pub fn body(self, body: impl AsRef<[u8]>) -> Origin {
        self.step(Act::Whole(body.as_ref().to_vec()))
    }

    /// A stream of these data events, `[DONE]` included only if it is among them, `gap` apart.
    pub fn streams(self, events: &[&str], gap: Duration) -> Origin {
        self.step(stream(events, gap))
    }

    /// A whole chat stream, the given pieces of content an event each between the role and the finish, then `[DONE]`.
    pub fn streams_text(self, pieces: &[&str]) -> Origin {
        self.step(chat_stream(pieces))
    }

    /// A whole chat completion of these pieces, or a whole chat stream of them for a request that asks for one.
    pub fn chats_as_asked(self, pieces: &[&str]) -> Origin {
        self.chat(&pieces.concat()).edit(|step| step.streamed = Some(chat_stream(pieces)))
    }

    /// A chunked answer of exactly these pieces, a chunk and a write each.
    pub fn streams_bytes(self, pieces: &[&[u8]]) -> Origin {
        let events = pieces.iter().map(|piece| piece.to_vec()).collect();
        self.step(Act::Stream { events, pace: Pace::Gap(Duration::ZERO), end: End::Clean })
    }

    /// Reads the request and never answers.
    pub fn hangs(self) -> Origin {
        self.step(Act::Hang)
    }

    /// Reads the request and closes the connection.
    pub fn closes_without_answer(self) -> Origin {
        self.step(Act::Close)
    }

    /// Reads the request and resets the connection.
    pub fn resets_without_answer(self) -> Origin {
        self.step(Act::Reset)
    }

    /// Reads the request, closes its own direction of the connection, and reads on. HTTP/1.1 only.
    pub fn half_closes(self) -> Origin {
        self.step(Act::HalfClose)
    }

    /// Writes `head` and then `filler` without end, `gap` apart. HTTP/1.1 only.
    pub fn never_ends(self, head: &str, filler: &str, gap: Duration) -> Origin {
        self.step(Act::Endless { head: head.into(), filler: filler.into(), gap })
    }

    /// Writes exactly these bytes, head and all, and closes the connection. HTTP/1.1 only.
    pub fn raw(self, bytes: impl AsRef<[u8]>) -> Origin {
        self.fragmented(bytes, usize::MAX)
    }

    /// Writes exactly these bytes, `per_write` at a time, and closes the connection. HTTP/1.1 only.
    pub fn fragmented(self, bytes: impl AsRef<[u8]>, per_write: usize) -> Origin {
        self.step(Act::Raw { bytes: bytes.as_ref().to_vec(), per_write: per_write.max(1) })
    }

    /// With this status.
    pub fn with_status(self, status: u16) -> Origin {
        self.edit(|step| step.status = status)
    }

    /// Adds a header to the last step; `content-type` replaces the default.
    pub fn with_header(self, name: &str, value: &str) -> Origin {
        self.edit(|step| step.headers.push((name.to_owned(), value.to_owned())))
    }

    /// The last step's stream sends an event at each [`Origin::next_event`].
    pub fn gated(self) -> Origin {
        self.edit_stream(|_, pace, _| *pace = Pace::Gate)
    }

    /// The last step's stream ends in a reset after `count` events.
    pub fn resets_after(self, count: usize) -> Origin {
        self.breaks_off(count, End::Reset)
    }

    /// The last step's stream ends after `count` events with the connection closed and no end of the body.
    pub fn truncates_after(self, count: usize) -> Origin {
        self.breaks_off(count, End::Truncated)
    }

    /// The last step's stream falls silent after `count` events, with the connection open.
    pub fn stalls_after(self, count: usize) -> Origin {
        self.breaks_off(count, End::Silence)
    }

    /// The last step answers as soon as the head of the request is read, and never reads its body.
    pub fn answers_without_reading(self) -> Origin {
        self.edit(|step| step.before_body = true)
    }

    /// The last step begins its answer, head and all, at an [`Origin::next_event`].
    pub fn held(self) -> Origin {
        self.edit(|step| step.held = true)
    }

    /// The last step closes the connection after its answer.
    pub fn closes_after(self) -> Origin {
        self.edit(|step| step.closes = true)
    }

    /// The last step's answer is gzip-encoded, asked for or not; a stream is flushed after each event.
    pub fn gzip(self) -> Origin {
        self.with_header("content-encoding", "gzip").edit(|step| match &mut step.act {
            Act::Whole(body) => *body = gzip(std::slice::from_ref(body)).concat(),
            Act::Stream { events, .. } => *events = gzip(events),
            other => panic!("{other:?} has no body to encode"),
        })
    }

    /// Whether a step of the script is for HTTP/1.1 only.
    pub fn needs_http1(&self) -> bool {
        let only_http1 = |act: &Act| matches!(act, Act::Raw { .. } | Act::HalfClose | Act::Endless { .. });
        self.shared.log().script.iter().any(|step| only_http1(&step.act))
    }

    fn step(self, act: Act) -> Origin {
        self.shared.log().script.push(Step::new(act));
        self
    }

    fn edit(self, change: impl FnOnce(&mut Step)) -> Origin {
        change(self.shared.log().script.last_mut().expect("a step to change"));
        self
    }

    fn edit_stream(self, change: impl FnOnce(&mut Vec<Vec<u8>>, &mut Pace, &mut End)) -> Origin {
        self.edit(|step| match &mut step.act {
            Act::Stream { events, pace, end } => change(events, pace, end),
            other => panic!("{other:?} is no stream"),
        })
    }

    fn breaks_off(self, count: usize, with: End) -> Origin {
        self.edit_stream(|events, _, end| {
            events.truncate(count);
            *end = with;
        })
    }
}

/// A whole chat completion in Cerebras's manner.
pub fn completion(text: &str) -> Value {
    json!({
        "id": "chatcmpl-scripted", "object": "chat.completion", "created": 1_700_000_000, "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
        "time_info": {"queue_time": 0.1, "total_time": 0.2},
    })
}

/// A whole chat stream of these pieces.
fn chat_stream(pieces: &[&str]) -> Act {
    let mut events = vec![chunk(&json!({"role": "assistant"}), None)];
    events.extend(pieces.iter().map(|piece| chunk(&json!({"content": piece}), None)));
    events.push(chunk(&json!({}), Some("stop")));
    let events: Vec<_> = events.iter().map(String::as_str).chain(["[DONE]"]).collect();
    stream(&events, Duration::ZERO)
}

fn stream(events: &[&str], gap: Duration) -> Act {
    let events = events.iter().map(|data| format!("data: {data}\n\n").into_bytes()).collect();
    Act::Stream { events, pace: Pace::Gap(gap), end: End::Clean }
}

/// The data of one chunk of a chat stream; the last one carries the usage.
fn chunk(delta: &Value, finish: Option<&str>) -> String {
    let mut chunk = json!({
        "id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "scripted",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    });
    if finish.is_some() {
        chunk["usage"] = json!({"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5});
    }
    chunk.to_string()
}

/// One gzip stream over all parts, cut where each part is flushed.
fn gzip(parts: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let mut encoded: Vec<Vec<u8>> = Vec::new();
    for part in parts {
        encoder.write_all(part).and_then(|()| encoder.flush()).expect("memory takes all");
        encoded.push(std::mem::take(encoder.get_mut()));
    }
    let tail = encoder.finish().expect("memory takes all");
    match encoded.last_mut() {
        Some(last) => last.extend(tail),
        None => encoded.push(tail),
    }
    encoded
}
