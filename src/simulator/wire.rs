//! The bytes of an answer: whole objects, stream chunks, usage and times, as Cerebras and OpenAI write them.
//!
//! Times are written by hand, because the API prints them like `0.000073161`, which a JSON library would turn into `7.3161e-05`,
//! and relays must keep such numbers as they are. Chunks are written by hand because a load test makes millions of them.

use super::answer::{Call, Choice, Piece};
use super::ask::Ask;
use super::model::Style;
use super::pace::{QUEUE_TIME, prompt_time};
use crate::openai::request::Endpoint;
use serde_json::{Value, json};
use std::io::Write;
use std::time::Duration;

/// What every object of one answer repeats, and its accounts.
#[derive(Debug, Clone)]
pub struct Envelope {
    /// The first fields, up to the bracket that opens the choices.
    start: String,
    /// The bracket that closes them, and the fields up to the kind of object, which is the last that all objects have.
    rest: String,
    /// Seconds since 1970.
    created: u64,
    chat: bool,
    style: Style,
    include_usage: bool,
    prompt_tokens: usize,
    completion_tokens: usize,
    reasoning_tokens: usize,
    /// How long the tokens of one choice take.
    completion_time: Duration,
}

impl Envelope {
    /// The envelope of the answer `choices` to `ask`, spoken at `speed` tokens per second.
    pub fn new(ask: &Ask, choices: &[Choice], speed: u32, created: u64) -> Self {
        let chat = ask.endpoint == Endpoint::ChatCompletions;
        let longest = choices.iter().map(Choice::tokens).max().unwrap_or(0);
        let (id, model) = (uuid::Uuid::now_v7(), Value::from(ask.model.id.as_str()));
        Self {
            start: format!("\"id\":\"{}-{id}\",\"choices\":[", if chat { "chatcmpl" } else { "cmpl" }),
            rest: format!("],\"created\":{created},\"model\":{model},\"system_fingerprint\":\"fp_simulator\",\"object\":"),
            created,
            chat,
            style: ask.model.style,
            include_usage: ask.include_usage,
            prompt_tokens: ask.prompt_tokens,
            completion_tokens: choices.iter().map(Choice::tokens).sum(),
            reasoning_tokens: choices.iter().map(Choice::reasoning_tokens).sum(),
            completion_time: if speed == 0 { Duration::ZERO } else { Duration::from_secs_f64(longest as f64 / f64::from(speed)) },
        }
    }

    /// The answer in one object.
    pub fn whole(&self, choices: &[Choice]) -> Vec<u8> {
        let object = if self.chat { "chat.completion" } else { "text_completion" };
        let choices: Vec<_> = choices.iter().enumerate().map(|(index, choice)| self.choice(index, choice).to_string()).collect();
        let mut out = Vec::new();
        put(&mut out, format_args!("{{{}{}{}\"{object}\"", self.start, choices.join(","), self.rest));
        self.accounts(&mut out);
        out.push(b'}');
        out
    }

    /// The chunk that opens a choice.
    pub fn opening(&self, index: usize, out: &mut Vec<u8>) {
        if self.chat {
            self.chunk(out, false, |out| {
                out.extend_from_slice(b"{\"delta\":{\"role\":\"assistant\"");
                self.end_delta(index, out);
            });
        }
    }

    /// The chunk of one piece.
    pub fn piece(&self, index: usize, piece: Piece<'_>, out: &mut Vec<u8>) {
        self.chunk(out, false, |out| {
            match piece {
                Piece::Content(text) if !self.chat => {
                    out.extend_from_slice(b"{\"text\":");
                    quote(text, out);
                    return put(out, format_args!(",\"index\":{index},\"finish_reason\":null,\"logprobs\":null}}"));
                }
                Piece::Content(text) => {
                    out.extend_from_slice(b"{\"delta\":{\"content\":");
                    quote(text, out);
                }
                Piece::Reasoning(text) => {
                    out.extend_from_slice(b"{\"delta\":{\"reasoning\":");
                    quote(text, out);
                }
                Piece::Call(nth, call) => {
                    put(out, format_args!("{{\"delta\":{{\"tool_calls\":[{}]", tool_call(call, "", Some(nth))))
                }
                Piece::Arguments(nth, part) => {
                    put(
                        out,
                        format_args!(
                            "{{\"delta\":{{\"tool_calls\":[{{\"index\":{nth},\"type\":\"function\",\"function\":{{\"arguments\":"
                        ),
                    );
                    quote(part, out);
                    out.extend_from_slice(b"}}]");
                }
            }
            self.end_delta(index, out);
        });
    }

    /// The chunk that ends a choice; after the last choice come the accounts.
    pub fn closing(&self, index: usize, choice: &Choice, is_last: bool, out: &mut Vec<u8>) {
        let finish = choice.finish;
        self.chunk(out, is_last && self.style == Style::Cerebras, |out| {
            if self.chat {
                put(out, format_args!("{{\"delta\":{{}},\"finish_reason\":\"{finish}\",\"index\":{index}}}"));
            } else {
                put(out, format_args!("{{\"text\":\"\",\"index\":{index},\"finish_reason\":\"{finish}\",\"logprobs\":null}}"));
            }
        });
        if is_last && self.style == Style::OpenAi && self.include_usage {
            self.chunk(out, true, |_| {});
        }
    }

    /// One event, with what `choices` writes between the brackets, and the usage and times if `accounts`.
    fn chunk(&self, out: &mut Vec<u8>, accounts: bool, choices: impl FnOnce(&mut Vec<u8>)) {
        out.extend_from_slice(b"data: {");
        out.extend_from_slice(self.start.as_bytes());
        choices(out);
        out.extend_from_slice(self.rest.as_bytes());
        out.extend_from_slice(if self.chat { b"\"chat.completion.chunk\"" } else { b"\"text_completion\"" });
        if accounts {
            self.accounts(out);
        }
        out.extend_from_slice(b"}\n\n");
    }

    fn end_delta(&self, index: usize, out: &mut Vec<u8>) {
        let nulls = if self.style == Style::OpenAi { ",\"logprobs\":null,\"finish_reason\":null" } else { "" };
        put(out, format_args!("}},\"index\":{index}{nulls}}}"));
    }

    /// The usage and, for Cerebras, the times.
    fn accounts(&self, out: &mut Vec<u8>) {
        put(out, format_args!(",\"usage\":{}", self.usage()));
        if self.style == Style::Cerebras {
            let (queue, prompt, completion) = (QUEUE_TIME, prompt_time(self.prompt_tokens), self.completion_time);
            let total = seconds(queue + prompt + completion);
            let (queue, prompt, completion) = (seconds(queue), seconds(prompt), seconds(completion));
            put(
                out,
                format_args!(
                    ",\"time_info\":{{\"queue_time\":{queue},\"prompt_time\":{prompt},\"completion_time\":{completion},"
                ),
            );
            put(out, format_args!("\"total_time\":{total},\"created\":{}}}", self.created));
        }
    }

    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {
                "accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0, "reasoning_tokens": self.reasoning_tokens},
        })
    }

    fn choice(&self, index: usize, choice: &Choice) -> Value {
        if !self.chat {
            return json!({"text": choice.content, "index": index, "finish_reason": choice.finish, "logprobs": null});
        }
        let mut message = json!({"role": "assistant"});
        if choice.calls.is_empty() {
            message["content"] = json!(choice.content);
        } else {
            message["content"] = Value::Null;
            message["tool_calls"] = choice.calls.iter().map(|call| tool_call(call, &call.arguments, None)).collect();
        }
        if !choice.reasoning.is_empty() {
            message["reasoning"] = json!(choice.reasoning);
        }
        json!({"finish_reason": choice.finish, "index": index, "message": message})
    }
}

/// The model list.
pub fn models<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    json!({"object": "list", "data": names.map(model).collect::<Vec<_>>()})
}

/// One model of the list.
pub fn model(name: &str) -> Value {
    json!({"id": name, "object": "model", "created": 0, "owned_by": "simulator"})
}

/// Writes formatted text; into memory that cannot fail.
fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(text);
}

/// Writes a JSON string; into memory that cannot fail.
fn quote(text: &str, out: &mut Vec<u8>) {
    let _ = serde_json::to_writer(out, text);
}

fn tool_call(call: &Call, arguments: &str, index: Option<usize>) -> Value {
    let mut value = json!({"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}});
    if let Some(index) = index {
        value["index"] = json!(index);
    }
    value
}

/// Seconds in decimal notation, whatever their size.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:09}", duration.as_secs(), duration.subsec_nanos());
    let trimmed = text.trim_end_matches('0');
    if trimmed.ends_with('.') { format!("{trimmed}0") } else { trimmed.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_times_are_written_without_an_exponent() {
        assert_eq!(seconds(QUEUE_TIME), "0.000073161");
        assert_eq!(seconds(Duration::ZERO), "0.0");
        assert_eq!(seconds(Duration::from_millis(1_500)), "1.5");
    }
}
