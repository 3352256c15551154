//! What an operator may say about prompt injection.

/// The settings of one [`PromptInjection`](super::PromptInjection), already read from the config.
#[derive(Debug, Clone, PartialEq)]
pub struct InjectionSettings {
    /// `embedding_threshold`, 0 to 1: a score at or above it blocks.
    pub threshold: f64,
    /// Regular expressions (the linear kind), added to the built-in rules. Case does not matter. Each is matched against the text
    /// as it came, as it was normalised (lowercase), and against every decoded view.
    pub attack_patterns: Vec<String>,
    /// `encoding.decode_base64`: look into base64, hex, escapes and announced ciphers.
    pub decode_base64: bool,
    /// `encoding.normalize_unicode`: compatibility forms, marks, invisible and tag characters.
    pub normalize_unicode: bool,
    /// `encoding.detect_homoglyphs`: foreign lookalikes of Latin letters.
    pub detect_homoglyphs: bool,
    /// `boundaries.enforce_delimiters`: chat-template tokens are evidence.
    pub enforce_delimiters: bool,
    /// `boundaries.reject_fake_boundaries`: fake speakers and fake ends of the text are evidence.
    pub reject_fake_boundaries: bool,
    /// The sentence of the refusal.
    pub message: String,
}

impl Default for InjectionSettings {
    fn default() -> Self {
        Self {
            threshold: 0.75,
            attack_patterns: Vec::new(),
            decode_base64: true,
            normalize_unicode: true,
            detect_homoglyphs: true,
            enforce_delimiters: true,
            reject_fake_boundaries: true,
            message: "Request blocked: potential prompt injection detected".to_owned(),
        }
    }
}
