//! What the simulator says: sentences, echoes, tool calls and structured outputs, the same for the same prompt.

use super::ask::{Ask, ECHO, Format, Last, Tool};
use super::{schema, tokens};
use serde_json::{Value, json};

/// One choice of an answer, complete.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Thinking aloud; empty for models that do not.
    pub reasoning: String,
    pub content: String,
    pub calls: Vec<Call>,
    /// `stop`, `length` or `tool_calls`.
    pub finish: &'static str,
}

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    pub id: String,
    pub name: String,
    /// JSON source, valid for the tool's parameters.
    pub arguments: String,
}

/// A piece of a choice as a stream carries it. All but the role and the name of a tool count as one token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    Reasoning(&'a str),
    Content(&'a str),
    /// The beginning of the nth call.
    Call(usize, &'a Call),
    /// More arguments of the nth call.
    Arguments(usize, &'a str),
}

impl Choice {
    /// The choice number `index` of the answer to `ask`; `default_length` is its length in tokens where the caller wants none.
    pub fn make(ask: &Ask, index: usize, default_length: Option<usize>) -> Choice {
        let seed = ask.seed ^ (index as u64).wrapping_mul(0x9e37_79b9);
        if !ask.tools.is_empty() {
            let calls = ask.tools.iter().enumerate().map(|(nth, tool)| Call::to(tool, seed ^ nth as u64)).collect();
            return Choice { reasoning: reasoning(ask), content: String::new(), calls, finish: "tool_calls" };
        }
        let length = ask.length.or(default_length);
        let mut content = match (&ask.format, &ask.last) {
            (Format::Schema(schema), _) => schema::instance(schema).to_string(),
            (Format::Object, _) => json!({"simulated": true, "answer": opening(&ask.model.id)}).to_string(),
            (Format::Text, Last::User(said)) if ask.echo => echoed(said).to_owned(),
            (Format::Text, Last::Tool(result)) => format!("The tool returned: {}", tokens::prefix(result, 200)),
            (Format::Text, Last::User(_)) => prose(&ask.model.id, seed, length),
        };
        let mut finish = "stop";
        if let Some(end) = ask.stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| content.find(stop)).min() {
            content.truncate(end);
        }
        let mut reasoning = reasoning(ask);
        reasoning.truncate(tokens::prefix(&reasoning, ask.max_tokens).len());
        let left = ask.max_tokens - tokens::count(&reasoning).min(ask.max_tokens);
        let kept = tokens::prefix(&content, left).len();
        if kept < content.len() {
            content.truncate(kept);
            finish = "length";
        }
        Choice { reasoning, content, calls: Vec::new(), finish }
    }

    /// What a stream carries after the role, in order.
    pub fn pieces(&self) -> Vec<Piece<'_>> {
        let mut pieces: Vec<_> = tokens::tokens(&self.reasoning).map(Piece::Reasoning).collect();
        pieces.extend(tokens::tokens(&self.content).map(Piece::Content));
        for (nth, call) in self.calls.iter().enumerate() {
            pieces.push(Piece::Call(nth, call));
            pieces.extend(tokens::tokens(&call.arguments).map(|part| Piece::Arguments(nth, part)));
        }
        pieces
    }

    /// Tokens of the thinking aloud.
    pub fn reasoning_tokens(&self) -> usize {
        tokens::count(&self.reasoning)
    }

    /// Tokens of everything the choice says.
    pub fn tokens(&self) -> usize {
        let calls: usize = self.calls.iter().map(|call| 1 + tokens::count(&call.arguments)).sum();
        self.reasoning_tokens() + tokens::count(&self.content) + calls
    }
}

impl Call {
    fn to(tool: &Tool, seed: u64) -> Call {
        let arguments = match schema::instance(&tool.parameters) {
            object @ Value::Object(_) => object.to_string(),
            _ => "{}".to_owned(),
        };
        let mut state = seed;
        Call { id: format!("call_{:016x}", tokens::next_number(&mut state)), name: tool.name.clone(), arguments }
    }
}

/// The message without the word that asks for the echo.
fn echoed(said: &str) -> &str {
    said.strip_prefix(ECHO).map_or(said, |rest| rest.strip_prefix(' ').unwrap_or(rest))
}

fn reasoning(ask: &Ask) -> String {
    if ask.reasons {
        "The user wants an answer. I am a simulator, so I pick sentences by the prompt's hash.".to_owned()
    } else {
        String::new()
    }
}

fn opening(model: &str) -> String {
    format!("This is the simulator speaking in the place of {model}; no model has read your prompt.")
}

/// Sentences chosen by the seed, `length` tokens of them, or a handful.
fn prose(model: &str, seed: u64, length: Option<usize>) -> String {
    let mut state = seed;
    let mut text = opening(model);
    let wanted = length.unwrap_or(40 + (tokens::next_number(&mut state) % 40) as usize);
    let mut have = tokens::count(&text);
    while have < wanted {
        let nth = (tokens::next_number(&mut state) % SENTENCES.len() as u64) as usize;
        let sentence = SENTENCES.get(nth).copied().unwrap_or_default();
        have += tokens::count(sentence);
        text.push_str(sentence);
    }
    if length.is_some() {
        text.truncate(tokens::prefix(&text, wanted).len());
    }
    text
}

/// Each begins with its space and ends with its full stop.
const SENTENCES: &[&str] = &[
    " The same prompt always gets the same words.",
    " Tokens arrive at the pace the real service is known for.",
    " Every policy on the way has seen these words go by.",
    " A gateway adds very little to the time this takes.",
    " Streams end with a finish reason, the usage and a done marker.",
    " Ask for an echo to see your own text come back.",
    " Name a tool you offer, and it will be called.",
    " A response format with a schema is answered with a valid instance.",
    " Models called sim and the name of a fault fail in that way.",
    " Nothing you write here leaves this machine.",
    " The audit log remembers that this was said, and to whom.",
    " Large answers are made of many small sentences like this one.",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::request::Endpoint;
    use http::HeaderMap;

    fn ask(body: Value) -> Ask {
        Ask::read(Endpoint::ChatCompletions, &HeaderMap::new(), body.to_string().as_bytes(), false).expect("a valid request")
    }

    fn said(model: &str, text: &str) -> Value {
        json!({"model": model, "messages": [{"role": "user", "content": text}]})
    }

    #[test]
    fn the_same_prompt_gets_the_same_answer_and_another_prompt_another() {
        let hello = Choice::make(&ask(said("llama3.1-8b", "Hello")), 0, None);
        assert_eq!(hello, Choice::make(&ask(said("llama3.1-8b", "Hello")), 0, None));
        assert_ne!(hello, Choice::make(&ask(said("llama3.1-8b", "Goodbye")), 0, None));
        assert_ne!(hello, Choice::make(&ask(said("llama3.1-8b", "Hello")), 1, None));
        assert!(hello.content.contains("simulator"));
    }

    #[test]
    fn an_answer_of_a_wanted_length_has_exactly_that_length() {
        for length in [1, 7, 100, 1_000] {
            assert_eq!(Choice::make(&ask(said("sim-x", "Hello")), 0, Some(length)).tokens(), length);
        }
    }

    #[test]
    fn an_echo_begins_after_its_word() {
        assert_eq!(Choice::make(&ask(said("llama3.1-8b", "echo: a@b.example")), 0, None).content, "a@b.example");
        assert_eq!(Choice::make(&ask(said("echo", "as it is")), 0, None).content, "as it is");
    }

    #[test]
    fn max_tokens_cuts_and_says_so_and_stop_cuts_and_does_not() {
        let mut body = said("echo", "one two three four five");
        body["max_tokens"] = json!(2);
        let cut = Choice::make(&ask(body.clone()), 0, None);
        assert_eq!((cut.content.as_str(), cut.finish), ("one two", "length"));
        body["max_tokens"] = json!(100);
        body["stop"] = json!(["four", " three"]);
        let stopped = Choice::make(&ask(body), 0, None);
        assert_eq!((stopped.content.as_str(), stopped.finish), ("one two", "stop"));
    }

    #[test]
    fn the_pieces_of_a_stream_are_the_whole_answer() {
        let choice = Choice::make(&ask(said("gpt-oss-120b", "Hello")), 0, None);
        let (mut reasoning, mut content) = (String::new(), String::new());
        for piece in choice.pieces() {
            match piece {
                Piece::Reasoning(text) => reasoning.push_str(text),
                Piece::Content(text) => content.push_str(text),
                _ => {}
            }
        }
        assert_eq!((reasoning, content), (choice.reasoning.clone(), choice.content.clone()));
        assert_eq!(choice.pieces().len(), choice.tokens());
    }
}
