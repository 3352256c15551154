//! The models the simulator serves: which names exist, how fast each speaks and whose manners it has.

/// Whose conventions an answer follows where Cerebras and OpenAI differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Flat errors; `usage` and `time_info` always on the last chunk, which has a choice.
    Cerebras,
    /// Nested errors; `usage` in a stream only when asked for, in a chunk of its own with `choices: []`.
    OpenAi,
}

/// A model as the simulator plays it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name the caller used.
    pub id: String,
    /// Tokens per second and choice.
    pub speed: u32,
    pub style: Style,
    /// Thinks aloud in `reasoning` before it answers.
    pub reasons: bool,
    /// Answers with the last user message.
    pub echo: bool,
}

impl Model {
    /// The model of that name, if the simulator has one.
    pub fn find(name: &str) -> Option<Model> {
        let open_source = name.starts_with("gpt-oss-");
        let listed = LISTED.iter().find(|(id, _)| *id == name);
        let family = ["sim-", "gpt-", "openai-", "text-embedding-"].iter().any(|prefix| name.starts_with(prefix));
        if listed.is_none() && !family {
            return None;
        }
        let openai = !open_source && (name.starts_with("gpt-") || name.starts_with("openai-") || name.starts_with("text-"));
        Some(Model {
            id: name.to_owned(),
            speed: listed.map_or(DEFAULT_SPEED, |(_, speed)| *speed),
            style: if openai { Style::OpenAi } else { Style::Cerebras },
            reasons: open_source,
            echo: name == "echo",
        })
    }

    /// The names `GET /v1/models` lists. Names beginning with `sim-`, `gpt-`, `openai-` and `text-embedding-` exist as well.
    pub fn names() -> impl Iterator<Item = &'static str> {
        LISTED.iter().map(|(id, _)| *id)
    }
}

/// Tokens per second of a model without a published speed.
const DEFAULT_SPEED: u32 = 2_100;

/// Names and speeds; the llama speeds are the ones Cerebras published.
const LISTED: &[(&str, u32)] = &[
    ("llama3.3-70b", 2_100),
    ("llama-3.3-70b", 2_100),
    ("llama3.1-70b", 2_100),
    ("llama3.1-8b", 6_000),
    ("gpt-oss-120b", 3_000),
    ("qwen-3.8-27b", 2_400),
    ("echo", DEFAULT_SPEED),
    ("gpt-4o", 100),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_that_was_never_made_is_not_found() {
        assert_eq!(Model::find("llama9"), None);
        assert_eq!(Model::find(""), None);
        assert_eq!(Model::find("LLAMA3.1-8B"), None);
    }

    #[test]
    fn every_listed_model_is_found_and_speaks_at_its_own_speed() {
        for name in Model::names() {
            assert!(Model::find(name).is_some(), "{name}");
        }
        assert_eq!(Model::find("llama3.1-8b").map(|model| model.speed), Some(6_000));
        assert_eq!(Model::find("llama3.3-70b").map(|model| model.speed), Some(2_100));
    }

    #[test]
    fn gpt_oss_is_a_cerebras_model_and_gpt_4o_is_not() {
        assert_eq!(Model::find("gpt-oss-120b").map(|model| (model.style, model.reasons)), Some((Style::Cerebras, true)));
        assert_eq!(Model::find("gpt-4o").map(|model| (model.style, model.reasons)), Some((Style::OpenAi, false)));
    }
}
