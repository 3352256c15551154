//! The `provider` of a target, and what is known of providers and models without asking them.

use super::{AssistantPrefix, BaseUrl};
use std::fmt;

/// A provider as written: `name`, or `name:mode:model`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRef {
    /// The provider's name.
    pub name: String,
    /// The API of the shorthand.
    pub mode: Option<Mode>,
    /// The model of the shorthand; may itself hold `/`, `@` and `:`.
    pub model: Option<String>,
}

/// Which of a provider's APIs a shorthand means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Chat completions.
    Chat,
    /// Embeddings.
    Embedding,
}

impl Mode {
    /// The mode as a shorthand spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Chat => "chat",
            Mode::Embedding => "embedding",
        }
    }
}

/// Why a `provider` cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderRefError {
    /// The name is empty or holds something else than letters, digits, `-`, `_` and `.`.
    Name,
    /// There is a second part and no third.
    NoModel,
    /// The second part is no mode.
    Mode(String),
    /// The second part is a mode this build lacks.
    LaterMode(String),
}

impl ProviderRef {
    /// Reads a `provider`, split on its first two colons.
    pub fn parse(text: &str) -> Result<Self, ProviderRefError> {
        let mut parts = text.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
            return Err(ProviderRefError::Name);
        }
        let (mode, model) = match (parts.next(), parts.next()) {
            (None, _) => return Ok(Self { name: name.to_owned(), mode: None, model: None }),
            (Some(mode), model) => (mode, model.unwrap_or_default()),
        };
        let mode = match mode {
            "chat" => Mode::Chat,
            "embedding" => Mode::Embedding,
            "responses" => return Err(ProviderRefError::LaterMode(mode.to_owned())),
            other => return Err(ProviderRefError::Mode(other.to_owned())),
        };
        if model.trim().is_empty() {
            return Err(ProviderRefError::NoModel);
        }
        Ok(Self { name: name.to_owned(), mode: Some(mode), model: Some(model.to_owned()) })
    }

    /// What is known of this provider.
    pub fn known(&self) -> Option<&'static KnownProvider> {
        known_provider(&self.name)
    }
}

impl fmt::Display for ProviderRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match (self.mode, &self.model) {
            (Some(mode), Some(model)) => write!(f, ":{}:{model}", mode.as_str()),
            _ => Ok(()),
        }
    }
}

/// A provider whose address need not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProvider {
    /// Its name in `provider`.
    pub name: &'static str,
    /// Where it answers unless `base_url` says otherwise.
    pub base_url: &'static str,
    /// The variable that holds its key unless `secret_key_ref` says otherwise; `None` when it needs no key.
    pub key_variable: Option<&'static str>,
    /// Top-level request fields that are dropped for it unless `drop_fields` says otherwise: hints and labels of other providers
    /// that its schema refuses.
    pub drop_fields: &'static [&'static str],
    /// How it is asked to go on with the beginning of an answer.
    pub assistant_prefix: AssistantPrefix,
    /// The part of a base URL's path without which it refuses to go on; `None` when it goes on everywhere.
    pub prefix_segment: Option<&'static str>,
}

impl KnownProvider {
    /// How this provider is asked at an address to go on with the beginning of an answer, unless `assistant_prefix` says otherwise.
    pub fn assistant_prefix_at(&self, url: &BaseUrl) -> AssistantPrefix {
        match self.prefix_segment {
            Some(needed) if !url.path.split('/').any(|segment| segment == needed) => AssistantPrefix::None,
            _ => self.assistant_prefix,
        }
    }

    const fn refuses(self, fields: &'static [&'static str]) -> Self {
        Self { drop_fields: fields, ..self }
    }

    const fn continues(self, how: AssistantPrefix) -> Self {
        Self { assistant_prefix: how, ..self }
    }

    const fn only_under(self, segment: &'static str) -> Self {
        Self { prefix_segment: Some(segment), ..self }
    }
}

/// Fields of OpenAI's that the schema of Cerebras refuses.
const UNKNOWN_TO_CEREBRAS: &[&str] =
    &["metadata", "moderation", "prompt_cache_options", "prompt_cache_retention", "safety_identifier", "store", "verbosity"];
/// Fields of Cerebras' that OpenAI refuses.
const UNKNOWN_TO_OPENAI: &[&str] =
    &["clear_thinking", "disable_reasoning", "min_completion_tokens", "min_tokens", "model_parameters", "reasoning_format"];

/// The known providers.
pub const PROVIDERS: [KnownProvider; 11] = [
    keyed("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY").refuses(UNKNOWN_TO_CEREBRAS),
    keyed("openai", "https://api.openai.com/v1", "OPENAI_API_KEY").refuses(UNKNOWN_TO_OPENAI),
    keyed("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    keyed("deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY").continues(AssistantPrefix::Prefix).only_under("beta"),
    keyed("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    keyed("together", "https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    keyed("mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY").continues(AssistantPrefix::Prefix),
    keyed("fireworks", "https://api.fireworks.ai/inference/v1", "FIREWORKS_API_KEY"),
    local("vllm", "http://127.0.0.1:8000/v1").continues(AssistantPrefix::ContinueFinalMessage),
    local("ollama", "http://127.0.0.1:11434/v1"),
    local("sglang", "http://127.0.0.1:30000/v1").continues(AssistantPrefix::ContinueFinalMessage),
];

const fn keyed(name: &'static str, base_url: &'static str, key_variable: &'static str) -> KnownProvider {
    KnownProvider { key_variable: Some(key_variable), ..local(name, base_url) }
}

const fn local(name: &'static str, base_url: &'static str) -> KnownProvider {
    KnownProvider {
        name,
        base_url,
        key_variable: None,
        drop_fields: &[],
        assistant_prefix: AssistantPrefix::None,
        prefix_segment: None,
    }
}

/// What is known of a provider.
pub fn known_provider(name: &str) -> Option<&'static KnownProvider> {
    PROVIDERS.iter().find(|provider| provider.name == name)
}

/// A model whose length and speed are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownModel {
    /// Its id, as a configuration spells it.
    pub id: &'static str,
    /// Longest prompt and answer together, in tokens.
    pub context_tokens: u32,
    /// Answer tokens per second of one stream, about.
    pub tokens_per_second: u32,
}

/// The known models of Cerebras.
pub const CEREBRAS_MODELS: [KnownModel; 3] = [
    KnownModel { id: "llama3.3-70b", context_tokens: 128_000, tokens_per_second: 2_100 },
    KnownModel { id: "llama3.1-70b", context_tokens: 128_000, tokens_per_second: 2_100 },
    KnownModel { id: "llama3.1-8b", context_tokens: 128_000, tokens_per_second: 6_000 },
];

/// What is known of a Cerebras model, whatever its case and punctuation: `llama-3.3-70b` is `llama3.3-70b`.
pub fn known_model(id: &str) -> Option<&'static KnownModel> {
    let letters =
        |id: &str| -> Vec<u8> { id.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase()).collect() };
    let wanted = letters(id);
    CEREBRAS_MODELS.iter().find(|model| letters(model.id) == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BaseUrl;

    #[test]
    fn a_model_keeps_every_colon_after_the_second() {
        let provider = ProviderRef::parse("openrouter:chat:meta-llama/llama-3.3@fast:free").unwrap();
        assert_eq!((provider.name.as_str(), provider.mode), ("openrouter", Some(Mode::Chat)));
        assert_eq!(provider.model.as_deref(), Some("meta-llama/llama-3.3@fast:free"));
        assert_eq!(provider.to_string(), "openrouter:chat:meta-llama/llama-3.3@fast:free");
        assert_eq!(ProviderRef::parse("openai").unwrap(), ProviderRef { name: "openai".into(), mode: None, model: None });
    }

    #[test]
    fn what_is_no_provider_is_refused_with_its_reason() {
        use ProviderRefError::*;
        for (text, reason) in [
            ("", Name),
            (":chat:m", Name),
            ("a b", Name),
            ("a/b:chat:m", Name),
            ("openai:chat", NoModel),
            ("openai:chat:", NoModel),
            ("openai:chat: ", NoModel),
            ("openai:gpt-4o", Mode("gpt-4o".into())),
            ("openai::gpt-4o", Mode("".into())),
            ("openai:Chat:gpt-4o", Mode("Chat".into())),
            ("openai:responses:gpt-4o", LaterMode("responses".into())),
        ] {
            assert_eq!(ProviderRef::parse(text), Err(reason), "{text}");
        }
    }

    #[test]
    fn every_known_provider_has_a_usable_address_and_a_variable_named_after_it() {
        for provider in PROVIDERS {
            let url = BaseUrl::parse(provider.base_url).unwrap();
            match provider.key_variable {
                Some(variable) => assert_eq!(variable, format!("{}_API_KEY", provider.name.to_uppercase())),
                None => assert!(url.is_loopback(), "{}: nothing leaves this machine without a key", provider.name),
            }
            assert_eq!(known_provider(provider.name), Some(&provider));
        }
    }

    #[test]
    fn a_known_model_is_known_under_the_spelling_of_the_wire_too() {
        assert_eq!(known_model("llama-3.3-70b").map(|model| model.id), Some("llama3.3-70b"));
        assert_eq!(known_model("Llama3.1-8B").map(|model| model.tokens_per_second), Some(6_000));
        assert_eq!(known_model("llama3.1-8b-instruct"), None);
    }
}
