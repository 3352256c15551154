//! What a request asks for: the body and the `x-sim-*` headers, read once into the few things the answer depends on.

use super::fault::{self, Fault};
use super::model::{Model, Style};
use super::refusal::Refusal;
use super::tokens;
use crate::openai::request::Endpoint;
use http::HeaderMap;
use serde_json::Value;

/// A request that will be answered.
#[derive(Debug)]
pub struct Ask {
    pub endpoint: Endpoint,
    pub model: Model,
    pub fault: Option<Fault>,
    pub stream: bool,
    /// `stream_options.include_usage`
    pub include_usage: bool,
    /// Choices wanted for each prompt, 1 to 128.
    pub choices: usize,
    /// The most tokens one choice may have.
    pub max_tokens: usize,
    /// The exact length of the answer in tokens, when the caller wants one.
    pub length: Option<usize>,
    /// Texts at which the answer ends.
    pub stop: Vec<String>,
    /// The last message: what is echoed, or what a tool returned.
    pub last: Last,
    pub tools: Vec<Tool>,
    pub format: Format,
    /// The model thinks aloud in this answer.
    pub reasons: bool,
    /// The answer is the last user message.
    pub echo: bool,
    pub prompt_tokens: usize,
    /// Equal prompts have equal seeds and so equal answers.
    pub seed: u64,
    /// Tokens before a fault in the middle of an answer.
    pub fault_after: usize,
    /// `x-sim-tokens-per-second`
    pub speed: Option<u32>,
    /// `x-sim-retry-after`, seconds.
    pub retry_after: u32,
    /// The body, for the endpoints that need more of it.
    pub body: Value,
}

/// Who spoke last, and what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Last {
    User(String),
    Tool(String),
}

/// A tool the answer will call.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    pub name: String,
    /// The JSON Schema of its arguments.
    pub parameters: Value,
}

/// The form of the answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    Text,
    /// Any JSON object.
    Object,
    /// JSON valid for this schema.
    Schema(Value),
}

/// Tokens of an answer nobody bounded; also the most anyone gets.
const MOST_TOKENS: usize = 131_072;

impl Ask {
    /// Reads a request. `strict` refuses top-level fields that are not in Cerebras's schema.
    pub fn read(endpoint: Endpoint, headers: &HeaderMap, body: &[u8], strict: bool) -> Result<Ask, Refusal> {
        let knobs = Knobs(headers);
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| Refusal::invalid(knobs.style(None), "", format!("the body is not JSON: {error}")))?;
        let name = body.get("model").and_then(Value::as_str).unwrap_or_default();
        let mut model = Model::find(name).ok_or_else(|| Refusal::unknown_model(knobs.style(None), name))?;
        model.style = knobs.style(Some(model.style));
        let style = model.style;
        if strict || knobs.is_on("x-sim-strict") {
            refuse_unknown_fields(endpoint, &body, style)?;
        }
        let (text, last) = read_prompt(endpoint, &body, style)?;
        let tools = if endpoint == Endpoint::ChatCompletions { tools_to_call(&body, &last) } else { Vec::new() };
        let quiet = body.get("reasoning_effort").is_some_and(|effort| effort == "none")
            || body.get("reasoning_format").is_some_and(|format| format == "hidden")
            || body.get("disable_reasoning").is_some_and(|off| off == true);
        let count = |key: &str| body.get(key).and_then(Value::as_u64).map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        Ok(Ask {
            endpoint,
            fault: knobs.fault(style)?.or_else(|| Fault::of_model(&model.id)),
            stream: body.get("stream").is_some_and(|stream| stream == true),
            include_usage: body.pointer("/stream_options/include_usage").is_some_and(|on| on == true),
            choices: count("n").unwrap_or(1).clamp(1, 128),
            max_tokens: count("max_completion_tokens").or(count("max_tokens")).unwrap_or(MOST_TOKENS).min(MOST_TOKENS),
            length: knobs.number("x-sim-tokens").map(|n: usize| n.min(MOST_TOKENS)),
            stop: texts(body.get("stop")),
            tools,
            format: read_format(&body),
            reasons: model.reasons && !quiet,
            echo: model.echo || knobs.is_on("x-sim-echo") || matches!(&last, Last::User(text) if text.starts_with(ECHO)),
            prompt_tokens: tokens::count(&text),
            seed: tokens::seed(&text),
            fault_after: knobs.number("x-sim-after").unwrap_or(5),
            speed: knobs.number("x-sim-tokens-per-second"),
            retry_after: knobs.number("x-sim-retry-after").unwrap_or(1),
            model,
            last,
            body,
        })
    }
}

/// A user message that begins so is answered with the rest of itself.
pub const ECHO: &str = "echo:";

/// The headers with which a caller directs the simulator.
struct Knobs<'a>(&'a HeaderMap);

impl Knobs<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.to_str().ok().map(str::trim)
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    fn is_on(&self, name: &str) -> bool {
        self.text(name).is_some_and(|value| matches!(value, "1" | "true" | "on"))
    }

    fn style(&self, of_model: Option<Style>) -> Style {
        match self.text("x-sim-style") {
            Some("openai") => Style::OpenAi,
            Some("cerebras") => Style::Cerebras,
            _ => of_model.unwrap_or(Style::Cerebras),
        }
    }

    fn fault(&self, style: Style) -> Result<Option<Fault>, Refusal> {
        let Some(name) = self.text("x-sim-fault") else { return Ok(None) };
        match Fault::named(name) {
            Some(fault) => Ok(Some(fault)),
            None => {
                Err(Refusal::invalid(style, "x-sim-fault", format!("no fault is called {name:?}; there are\n{}", fault::help())))
            }
        }
    }
}

/// The text of the whole prompt, and its last message.
fn read_prompt(endpoint: Endpoint, body: &Value, style: Style) -> Result<(String, Last), Refusal> {
    let missing = |field: &'static str| Refusal::invalid(style, field, format!("body.{field}: field required"));
    match endpoint {
        Endpoint::Embeddings => match body.get("input") {
            Some(input @ (Value::String(_) | Value::Array(_))) => Ok((input.to_string(), Last::User(String::new()))),
            _ => Err(missing("input")),
        },
        Endpoint::Completions => match body.get("prompt") {
            Some(Value::String(prompt)) => Ok((prompt.clone(), Last::User(prompt.clone()))),
            Some(Value::Array(prompts)) => {
                let last = prompts.last().and_then(Value::as_str).unwrap_or_default().to_owned();
                Ok((Value::from(prompts.clone()).to_string(), Last::User(last)))
            }
            _ => Err(missing("prompt")),
        },
        Endpoint::ChatCompletions => {
            let messages = body.get("messages").and_then(Value::as_array).filter(|messages| !messages.is_empty());
            let messages = messages.ok_or_else(|| missing("messages"))?;
            let role = |message: &Value| message.get("role").and_then(Value::as_str).unwrap_or("user").to_owned();
            let content = |message: &Value| message.get("content").map(joined).unwrap_or_default();
            let text: String = messages.iter().map(|message| content(message) + "\n").collect();
            let last = match messages.last() {
                Some(message) if matches!(role(message).as_str(), "tool" | "function") => Last::Tool(content(message)),
                _ => Last::User(messages.iter().rfind(|message| role(message) == "user").map(content).unwrap_or_default()),
            };
            Ok((text, last))
        }
    }
}

/// Content as one text: a string, or the text parts of an array.
fn joined(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str)).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// A string or an array of strings.
fn texts(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(items)) => items.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn read_format(body: &Value) -> Format {
    let format = body.get("response_format");
    match format.and_then(|format| format.get("type")).and_then(Value::as_str) {
        Some("json_object") => Format::Object,
        Some("json_schema") => {
            Format::Schema(format.and_then(|f| f.pointer("/json_schema/schema")).cloned().unwrap_or(Value::Null))
        }
        _ => Format::Text,
    }
}

/// The tools the answer calls: those `tool_choice` demands, else those the last user message names, else, where it speaks of
/// a "tool" at all, the first. None after a tool's own answer.
fn tools_to_call(body: &Value, last: &Last) -> Vec<Tool> {
    let Last::User(said) = last else { return Vec::new() };
    let offered: Vec<Tool> = body.get("tools").and_then(Value::as_array).into_iter().flatten().filter_map(read_tool).collect();
    let choice = body.get("tool_choice");
    if let Some(name) = choice.and_then(|choice| choice.pointer("/function/name")).and_then(Value::as_str) {
        return offered.into_iter().filter(|tool| tool.name == name).take(1).collect();
    }
    if choice.is_some_and(|choice| choice == "none") {
        return Vec::new();
    }
    let said = said.to_lowercase();
    let named = |tool: &Tool| {
        let name = tool.name.to_lowercase();
        said.contains(&name) || said.contains(&name.replace(['_', '-'], " "))
    };
    let several = body.get("parallel_tool_calls").is_none_or(|parallel| parallel != false);
    let meant: Vec<Tool> = offered.iter().filter(|tool| named(tool)).take(if several { 8 } else { 1 }).cloned().collect();
    let must = choice.is_some_and(|choice| choice == "required") || said.contains("tool");
    if meant.is_empty() && must { offered.into_iter().take(1).collect() } else { meant }
}

fn read_tool(tool: &Value) -> Option<Tool> {
    let function = tool.get("function")?;
    let parameters = function.get("parameters").cloned().unwrap_or(Value::Null);
    Some(Tool { name: function.get("name")?.as_str()?.to_owned(), parameters })
}

fn refuse_unknown_fields(endpoint: Endpoint, body: &Value, style: Style) -> Result<(), Refusal> {
    let known: &[&[&str]] = match endpoint {
        Endpoint::ChatCompletions => &[COMMON_FIELDS, CHAT_FIELDS],
        Endpoint::Completions => &[COMMON_FIELDS, COMPLETION_FIELDS],
        Endpoint::Embeddings => &[&["model", "input", "encoding_format", "dimensions", "user"]],
    };
    let mut fields = body.as_object().into_iter().flat_map(|object| object.keys());
    match fields.find(|field| !known.iter().any(|list| list.contains(&field.as_str()))) {
        Some(field) => Err(Refusal::unknown_field(style, field)),
        None => Ok(()),
    }
}

/// The fields of Cerebras's Python SDK 1.91, which is generated from the schema the API enforces.
const COMMON_FIELDS: &[&str] = &[
    "model",
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "max_tokens",
    "min_tokens",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "user",
];
const CHAT_FIELDS: &[&str] = &[
    "messages",
    "clear_thinking",
    "disable_reasoning",
    "max_completion_tokens",
    "min_completion_tokens",
    "model_parameters",
    "parallel_tool_calls",
    "prediction",
    "prompt_cache_key",
    "reasoning_effort",
    "reasoning_format",
    "response_format",
    "service_tier",
    "tool_choice",
    "tools",
    "top_logprobs",
];
const COMPLETION_FIELDS: &[&str] = &["prompt", "best_of", "echo", "grammar_root", "return_raw_tokens", "suffix"];
