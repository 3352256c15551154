//! The bytes of an answer: whole objects, stream chunks, usage and times, as Cerebras and OpenAI write them.
//!
//! Written out by hand where a number's form matters: the API prints times like `0.000073161`, which a JSON library would turn
//! into `7.3161e-05`, and relays must keep such numbers as they are.

use super::answer::{Call, Choice, Piece};
use super::ask::Ask;
use super::model::Style;
use super::pace::{QUEUE_TIME, prompt_time};
use crate::openai::request::Endpoint;
use serde_json::{Value, json};
use std::fmt::Write;
use std::time::Duration;

/// What every object of one answer repeats, and its accounts.
#[derive(Debug, Clone)]
pub struct Envelope {
    id: String,
    /// Seconds since 1970.
    created: u64,
    model: String,
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
        Self {
            id: format!("{}-{}", if chat { "chatcmpl" } else { "cmpl" }, uuid::Uuid::now_v7()),
            created,
            model: ask.model.id.clone(),
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
        let choices: Vec<_> = choices.iter().enumerate().map(|(index, choice)| self.choice(index, choice)).collect();
        let object = if self.chat { "chat.completion" } else { "text_completion" };
        let mut out = String::from("{");
        self.begin(&mut out, object, &Value::Array(choices).to_string());
        let _ = write!(out, ",\"usage\":{}", self.usage());
        self.end(&mut out);
        out.into_bytes()
    }

    /// The chunk that opens a choice.
    pub fn opening(&self, index: usize, out: &mut String) {
        if self.chat {
            self.delta(index, &json!({"role": "assistant"}).to_string(), out);
        }
    }

    /// The chunk of one piece.
    pub fn piece(&self, index: usize, piece: Piece<'_>, out: &mut String) {
        let delta = match piece {
            Piece::Content(text) if !self.chat => return self.text(index, text, None, out),
            Piece::Content(text) => json!({"content": text}),
            Piece::Reasoning(text) => json!({"reasoning": text}),
            Piece::Call(nth, call) => json!({"tool_calls": [tool_call(call, "", Some(nth))]}),
            Piece::Arguments(nth, part) => json!({"tool_calls": [{"index": nth, "function": {"arguments": part}}]}),
        };
        self.delta(index, &delta.to_string(), out);
    }

    /// The chunk that ends a choice; after the last choice come the accounts.
    pub fn closing(&self, index: usize, choice: &Choice, is_last: bool, out: &mut String) {
        let accounts = is_last && self.style == Style::Cerebras;
        let finish = Value::from(choice.finish);
        if self.chat {
            self.chunk(&format!("[{{\"delta\":{{}},\"finish_reason\":{finish},\"index\":{index}}}]"), accounts, out);
        } else {
            let last = format!("[{{\"text\":\"\",\"finish_reason\":{finish},\"index\":{index},\"logprobs\":null}}]");
            self.chunk(&last, accounts, out);
        }
        if is_last && self.style == Style::OpenAi && self.include_usage {
            self.chunk("[]", true, out);
        }
    }

    fn delta(&self, index: usize, delta: &str, out: &mut String) {
        let finish = if self.style == Style::OpenAi { ",\"logprobs\":null,\"finish_reason\":null" } else { "" };
        self.chunk(&format!("[{{\"delta\":{delta},\"index\":{index}{finish}}}]"), false, out);
    }

    fn text(&self, index: usize, text: &str, finish: Option<&str>, out: &mut String) {
        self.chunk(&json!([{"text": text, "index": index, "finish_reason": finish, "logprobs": null}]).to_string(), false, out);
    }

    /// One event. `accounts` adds the usage and, for Cerebras, the times.
    fn chunk(&self, choices: &str, accounts: bool, out: &mut String) {
        out.push_str("data: {");
        self.begin(out, if self.chat { "chat.completion.chunk" } else { "text_completion" }, choices);
        if accounts {
            let _ = write!(out, ",\"usage\":{}", self.usage());
            self.end(out);
        } else {
            out.push('}');
        }
        out.push_str("\n\n");
    }

    fn begin(&self, out: &mut String, object: &str, choices: &str) {
        let model = Value::from(self.model.as_str());
        let _ = write!(
            out,
            "\"id\":\"{}\",\"choices\":{choices},\"created\":{},\"model\":{model},\"system_fingerprint\":\"fp_simulator\",\"object\":\"{object}\"",
            self.id, self.created
        );
    }

    fn end(&self, out: &mut String) {
        if self.style == Style::Cerebras {
            let (queue, prompt, completion) = (QUEUE_TIME, prompt_time(self.prompt_tokens), self.completion_time);
            let _ = write!(
                out,
                ",\"time_info\":{{\"queue_time\":{},\"prompt_time\":{},\"completion_time\":{},\"total_time\":{},\"created\":{}}}",
                seconds(queue),
                seconds(prompt),
                seconds(completion),
                seconds(queue + prompt + completion),
                self.created
            );
        }
        out.push('}');
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
