//! Decides the answer to one request, as data: what is sent, when each part is due, and how it fails.

use super::answer::{Choice, Piece};
use super::ask::Ask;
use super::fault::Fault;
use super::ledger::{Ledger, Seen};
use super::model::{Model, Style};
use super::pace::Timeline;
use super::refusal::Refusal;
use super::wire::{self, Envelope};
use super::{Settings, embedding};
use crate::openai::request::Endpoint;
use bytes::Bytes;
use http::Method;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// An answer, not yet delivered.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub media: &'static str,
    pub headers: Vec<(&'static str, String)>,
    pub content: Content,
    /// How its delivery fails.
    pub fault: Option<Fault>,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Content {
    /// Sent at once when `at` has passed since the request was read.
    Whole { body: Bytes, at: Duration },
    /// Sent token by token.
    Stream(Script),
}

/// A stream to be told.
#[derive(Debug)]
pub struct Script {
    pub timeline: Timeline,
    /// Moments before a fault in the middle.
    pub fault_after: usize,
    envelope: Envelope,
    choices: Vec<Choice>,
}

impl Reply {
    /// The answer to a request that was read whole.
    pub fn to(seen: &Seen, settings: &Settings, ledger: &Ledger, number: u64) -> Reply {
        let path = seen.path.split('?').next().unwrap_or_default();
        let is_api = path.starts_with("/v1/") && path != "/v1/tcp_warming";
        if let Some(key) = settings.api_key.as_ref().filter(|_| is_api) {
            let sent = seen.headers.get(http::header::AUTHORIZATION).map(|value| value.as_bytes());
            if sent != Some(format!("Bearer {key}").as_bytes()) {
                return Reply::refused(&Refusal::wrong_key());
            }
        }
        let reply = match (&seen.method, path) {
            (&Method::POST, "/v1/chat/completions") => Reply::inference(Endpoint::ChatCompletions, seen, settings, number),
            (&Method::POST, "/v1/completions") => Reply::inference(Endpoint::Completions, seen, settings, number),
            (&Method::POST, "/v1/embeddings") => Reply::inference(Endpoint::Embeddings, seen, settings, number),
            (&Method::GET, "/v1/models") => Reply::json(&wire::models(Model::names())),
            (&Method::GET, "/v1/tcp_warming") => Reply::json(&serde_json::json!({"status": "ok"})),
            (&Method::GET, "/health") => Reply::json(&serde_json::json!({"status": "healthy", "counts": ledger.counts()})),
            (&Method::GET, "/sim/counts") => Reply::json(&ledger.counts()),
            (&Method::GET, "/sim/last") => Reply::json(&ledger.last()),
            (&Method::GET, path) => match path.strip_prefix("/v1/models/") {
                Some(name) if Model::find(name).is_some() => Reply::json(&wire::model(name)),
                Some(name) => Reply::refused(&Refusal::unknown_model(Style::Cerebras, name)),
                None => Reply::refused(&Refusal::unknown_path(path)),
            },
            _ => Reply::refused(&Refusal::unknown_path(path)),
        };
        if is_api { reply.with_rate_limits(number) } else { reply }
    }

    /// An error answer.
    pub fn refused(refusal: &Refusal) -> Reply {
        Reply::whole(refusal.status, "application/json", refusal.body())
    }

    fn inference(endpoint: Endpoint, seen: &Seen, settings: &Settings, number: u64) -> Reply {
        match Ask::read(endpoint, &seen.headers, &seen.body, settings.strict) {
            Ok(ask) => Reply::answer(&ask, settings, number),
            Err(refusal) => Reply::refused(&refusal),
        }
    }

    fn answer(ask: &Ask, settings: &Settings, number: u64) -> Reply {
        let style = ask.model.style;
        match ask.fault {
            Some(Fault::Status(status)) => return Reply::refused_with_pause(&Refusal::of_status(status, style), ask.retry_after),
            Some(Fault::Flaky(n)) if number.is_multiple_of(u64::from(n)) => {
                return Reply::refused_with_pause(&Refusal::of_status(503, style), ask.retry_after);
            }
            Some(Fault::ErrorEvent) if !ask.stream => return Reply::refused(&Refusal::of_status(500, style)),
            Some(Fault::Html) => return Reply::whole(502, "text/html", HTML.into()),
            Some(Fault::Empty) => return Reply::whole(200, "application/json", Vec::new()),
            _ => {}
        }
        if ask.endpoint == Endpoint::Embeddings {
            return Reply { fault: ask.fault, ..Reply::whole(200, "application/json", embedding::answer(ask)) };
        }
        let speed = ask.speed.or(settings.tokens_per_second).unwrap_or(ask.model.speed);
        let timeline = match ask.fault {
            Some(Fault::SlowTokens(gap)) => Timeline::every(gap),
            _ => Timeline::new(ask.prompt_tokens, speed),
        };
        let choices: Vec<_> = (0..ask.choices).map(|index| Choice::make(ask, index, settings.tokens_per_answer)).collect();
        let envelope = Envelope::new(ask, &choices, speed, unix_time());
        if ask.stream {
            let script = Script { timeline, fault_after: ask.fault_after, envelope, choices };
            let headers = vec![("cache-control", "no-cache".to_owned())];
            return Reply {
                status: 200,
                media: "text/event-stream",
                headers,
                content: Content::Stream(script),
                fault: ask.fault,
            };
        }
        let at = timeline.at(choices.iter().map(Choice::tokens).max().unwrap_or(0));
        let content = Content::Whole { body: envelope.whole(&choices).into(), at };
        Reply { status: 200, media: "application/json", headers: Vec::new(), content, fault: ask.fault }
    }

    fn refused_with_pause(refusal: &Refusal, seconds: u32) -> Reply {
        let mut reply = Reply::refused(refusal);
        if matches!(refusal.status, 429 | 503) {
            reply.headers.push(("retry-after", seconds.to_string()));
        }
        reply
    }

    fn json(value: &serde_json::Value) -> Reply {
        Reply::whole(200, "application/json", value.to_string().into_bytes())
    }

    fn whole(status: u16, media: &'static str, body: Vec<u8>) -> Reply {
        Reply {
            status,
            media,
            headers: Vec::new(),
            content: Content::Whole { body: body.into(), at: Duration::ZERO },
            fault: None,
        }
    }

    /// The six headers Cerebras sends with every answer. The numbers move, the limits are never enforced.
    fn with_rate_limits(mut self, number: u64) -> Reply {
        let left = REQUESTS_A_DAY.saturating_sub(number);
        self.headers.extend([
            ("x-ratelimit-limit-requests-day", REQUESTS_A_DAY.to_string()),
            ("x-ratelimit-remaining-requests-day", left.to_string()),
            ("x-ratelimit-reset-requests-day", "33011.382867097855".to_owned()),
            ("x-ratelimit-limit-tokens-minute", TOKENS_A_MINUTE.to_string()),
            ("x-ratelimit-remaining-tokens-minute", (TOKENS_A_MINUTE - number % TOKENS_A_MINUTE).to_string()),
            ("x-ratelimit-reset-tokens-minute", "11.382867097854614".to_owned()),
        ]);
        self
    }
}

impl Script {
    /// What each choice says, in pieces.
    pub fn pieces(&self) -> Vec<Vec<Piece<'_>>> {
        self.choices.iter().map(Choice::pieces).collect()
    }

    /// The chunks before the first token.
    pub fn open(&self, out: &mut Vec<u8>) {
        (0..self.choices.len()).for_each(|index| self.envelope.opening(index, out));
    }

    /// The chunks of one moment: the nth piece of every choice that has one.
    pub fn tell(&self, pieces: &[Vec<Piece<'_>>], nth: usize, out: &mut Vec<u8>) {
        for (index, pieces) in pieces.iter().enumerate() {
            if let Some(piece) = pieces.get(nth) {
                self.envelope.piece(index, *piece, out);
            }
        }
    }

    /// The chunks after the last token, without the done marker.
    pub fn close(&self, out: &mut Vec<u8>) {
        let last = self.choices.len().saturating_sub(1);
        self.choices.iter().enumerate().for_each(|(index, choice)| self.envelope.closing(index, choice, index == last, out));
    }
}

fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

const REQUESTS_A_DAY: u64 = 1_440_000;
const TOKENS_A_MINUTE: u64 = 1_000_000;

const HTML: &str = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n";
