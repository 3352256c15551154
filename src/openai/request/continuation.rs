//! Asks a target to go on with an answer that another one has begun: the text so far becomes the last message.

use super::members::source;
use super::outline::{Outline, first_member};
use super::{Endpoint, Role};
use crate::openai::edit::Splice;
use crate::openai::json::{JsonError, Kind, Reader, encode};
use std::borrow::Cow;
use std::ops::Range;

/// How a target is told that the last message is the beginning of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// Not at all: it goes on with a last message that is an assistant's.
    LastMessage,
    /// `"prefix": true` inside the message, as Mistral and DeepSeek want it.
    Flag,
    /// `"continue_final_message": true` and `"add_generation_prompt": false` beside the messages, as vLLM and SGLang want them.
    FinalMessage,
}

/// Members that bind the answer to a grammar. The target would begin the grammar anew in the middle of the answer.
const GRAMMARS: &[&str] = &[
    "response_format",
    "structured_outputs",
    "guided_json",
    "guided_regex",
    "guided_choice",
    "guided_grammar",
    "regex",
    "ebnf",
    "grammar",
];

/// What [`Prefix::FinalMessage`] says beside the messages.
const FINAL_MESSAGE: [(&str, &str); 2] = [("continue_final_message", "true"), ("add_generation_prompt", "false")];

impl Outline {
    /// Whether an answer can be continued at all: a stream of one chat completion, free in its form and without an echo of the
    /// prompt, to a conversation whose last message is not the assistant's already.
    pub fn is_continuable(&self, body: &[u8]) -> bool {
        self.last_message(body).is_some()
    }

    /// Asks for the rest of an answer that begins with `text`; `None` unless [`Outline::is_continuable`].
    pub fn continued(&self, body: &[u8], text: &str, how: Prefix) -> Option<Vec<Splice>> {
        let end = self.last_message(body)?.end;
        let flag = if how == Prefix::Flag { ",\"prefix\":true" } else { "" };
        let message = format!(",{{\"role\":\"assistant\",\"content\":\"{}\"{flag}}}", encode(text));
        let mut splices = vec![Splice::new(end..end, message)];
        if how == Prefix::FinalMessage {
            let mut sent = [None, None];
            self.members.each(body, |member| {
                let name = member.name(body);
                for (sent, (wanted, _)) in sent.iter_mut().zip(FINAL_MESSAGE) {
                    if wanted == name {
                        *sent = Some(member.value.clone());
                    }
                }
            });
            splices.extend(sent.into_iter().zip(FINAL_MESSAGE).map(|(sent, (name, value))| match sent {
                Some(range) => Splice::new(range, value),
                None => first_member(body, format!("\"{name}\":{value},")),
            }));
        }
        Some(splices)
    }

    /// The last message, if an answer to this request can be continued.
    fn last_message(&self, body: &[u8]) -> Option<Range<usize>> {
        if self.endpoint != Endpoint::ChatCompletions || !self.stream {
            return None;
        }
        let (mut last, mut fits) = (None, true);
        self.members.each(body, |member| {
            let value = source(body, &member.value);
            match member.name(body).as_ref() {
                "messages" => last = open_end(value).map(|end| member.value.start + end.start..member.value.start + end.end),
                "n" => fits &= value == "null" || value.parse().is_ok_and(|n: f64| n <= 1.0),
                "echo" => fits &= matches!(value, "null" | "false"),
                name if GRAMMARS.contains(&name) => fits &= is_free(value),
                _ => {}
            }
        });
        last.filter(|_| fits)
    }
}

/// The last of these messages, unless it is an assistant's or no message.
fn open_end(messages: &str) -> Option<Range<usize>> {
    let last = last_element(messages).ok().flatten()?;
    let author = string_member(messages.get(last.clone())?, "role").ok()?;
    author.is_none_or(|role| Role::named(&role) != Role::Assistant).then_some(last)
}

/// Whether the value of one of [`GRAMMARS`] leaves the answer free.
fn is_free(value: &str) -> bool {
    value == "null" || string_member(value, "type").is_ok_and(|form| form.as_deref() == Some("text"))
}

fn last_element(array: &str) -> Result<Option<Range<usize>>, JsonError> {
    let mut reader = Reader::new(array);
    let mut last = None;
    reader.enter_array()?;
    while reader.next_element()? {
        last = Some(reader.skip()?);
    }
    Ok(last)
}

/// The string under a name of an object.
fn string_member<'a>(object: &'a str, name: &str) -> Result<Option<Cow<'a, str>>, JsonError> {
    let mut reader = Reader::new(object);
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        if key.decode() == name && reader.kind()? == Kind::String {
            return Ok(Some(reader.string()?.decode()));
        }
        reader.skip()?;
    }
    Ok(None)
}
