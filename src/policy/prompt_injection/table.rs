//! The rules as data, read once: `lexicon.txt`, `rules.txt` and `markers.txt`, whose headers explain their form.

use super::lexicon::{Class, Lexicon};
use super::tokens::Tokens;
use crate::policy::normalize::{Folding, Normalizer, Scratch};
use std::collections::HashMap;

/// What a completed rule means.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A phrase: as if one word of this class had been read.
    Class(Class),
    /// An attack, by the id and the score of the rule.
    Attack {
        /// `family.name`
        rule: &'static str,
        /// 0 to 1.
        score: f32,
    },
    /// A rule that begins right after this is not meant.
    Mute,
    /// A rule in quotation marks soon after this is spoken of.
    Mention,
}

/// One sequence of classes.
#[derive(Debug)]
pub struct Rule {
    /// What it means when complete.
    pub outcome: Outcome,
    /// How many words may stand before each step; the first is always 0.
    pub gaps: Vec<u32>,
    /// Where its steps begin in a table of all steps of all rules.
    pub first_state: usize,
}

/// Lexicon and rules, indexed for one pass.
#[derive(Debug, Default)]
pub struct Table {
    pub lexicon: Lexicon,
    pub rules: Vec<Rule>,
    /// For each class the steps it completes, as (rule, step), later steps of a rule first.
    pub steps: Vec<Vec<(u16, u16)>>,
    /// Steps of all rules.
    pub states: usize,
}

impl Table {
    /// Reads a lexicon and a rule file. The built-in ones always parse; the error says which line does not.
    pub fn read(lexicon: &'static str, rules: &'static str) -> Result<Self, String> {
        let mut reader = Reader::new();
        for line in lines(lexicon) {
            let (name, words) = line.split_once(':').ok_or_else(|| format!("no class: {line}"))?;
            let class = reader.class(&format!("@{}", name.trim()));
            for word in words.split(',') {
                reader.entry(word, class);
            }
        }
        for line in lines(rules) {
            reader.rule(line).ok_or_else(|| format!("not a rule: {line}"))?;
        }
        let mut table = reader.table;
        for steps in &mut table.steps {
            steps.sort_unstable_by_key(|(rule, step)| (*rule, std::cmp::Reverse(*step)));
        }
        Ok(table)
    }
}

/// The lines of a table file that say something.
pub fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

struct Reader {
    table: Table,
    classes: HashMap<String, Class>,
    normalizer: Normalizer,
    scratch: Scratch,
}

impl Reader {
    fn new() -> Self {
        // The tables are folded as texts are, so that both meet whatever the folding does.
        let normalizer = Normalizer::new(Folding { unicode: true, homoglyphs: false }, false);
        Self { table: Table::default(), classes: HashMap::new(), normalizer, scratch: Scratch::default() }
    }

    fn class(&mut self, name: &str) -> Class {
        if let Some(class) = self.classes.get(name) {
            return *class;
        }
        let class = self.table.steps.len() as Class;
        self.table.steps.push(Vec::new());
        self.classes.insert(name.to_owned(), class);
        class
    }

    /// A word or a phrase that counts as `class`.
    fn entry(&mut self, text: &str, class: Class) {
        let words = self.words(text);
        match words.as_slice() {
            [word] => self.table.lexicon.add(word, class),
            _ => {
                let steps: Vec<_> = words.iter().map(|word| (0, vec![self.literal(word)])).collect();
                self.push(Outcome::Class(class), steps);
            }
        }
    }

    /// The class of one word alone.
    fn literal(&mut self, word: &str) -> Class {
        let class = self.class(word);
        self.table.lexicon.add(word, class);
        class
    }

    fn rule(&mut self, line: &'static str) -> Option<()> {
        let mut fields = line.split_whitespace();
        let outcome = match fields.next()? {
            "mute" => Outcome::Mute,
            "mention" => Outcome::Mention,
            rule => Outcome::Attack { rule, score: fields.next()?.parse().ok().filter(|s| (0.0..=1.0).contains(s))? },
        };
        let (mut steps, mut gap) = (Vec::new(), 0);
        for field in fields {
            if let Ok(words) = field.parse() {
                gap = words;
                continue;
            }
            let classes =
                field.split('|').map(|word| if word.starts_with('@') { self.known(word) } else { Some(self.literal(word)) });
            steps.push((gap, classes.collect::<Option<Vec<_>>>()?));
            gap = 0;
        }
        (!steps.is_empty()).then(|| self.push(outcome, steps))
    }

    fn known(&self, class: &str) -> Option<Class> {
        self.classes.get(class).copied()
    }

    fn push(&mut self, outcome: Outcome, steps: Vec<(u32, Vec<Class>)>) {
        let rule = self.table.rules.len() as u16;
        let first_state = self.table.states;
        self.table.states += steps.len();
        self.table.rules.push(Rule { outcome, gaps: steps.iter().map(|(gap, _)| *gap).collect(), first_state });
        for (step, (_, classes)) in steps.into_iter().enumerate() {
            for class in classes {
                if let Some(steps) = self.table.steps.get_mut(class as usize) {
                    steps.push((rule, step as u16));
                }
            }
        }
    }

    /// The words of an entry, folded; a `*` stays with its word.
    fn words(&mut self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.normalizer.scans(text.trim(), &mut self.scratch, |scan| {
            let text = scan.text();
            for token in Tokens::new(text) {
                let stem = text.get(token.range.end..).is_some_and(|rest| rest.starts_with('*'));
                words.push(format!("{}{}", &text[token.range], if stem { "*" } else { "" }));
            }
        });
        words
    }
}
