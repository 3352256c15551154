//! The rules as data, read once: `lexicon.txt`, `rules.txt` and `markers.txt`, whose headers explain their form.

use super::lexicon::{Entry, Lexicon, MAX_WORD};
use super::tokens::Tokens;
use crate::policy::normalize::{Folding, Normalizer, Scratch};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;

/// What a completed rule means.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// A phrase: as if this word had been read ([`Table::steps`]).
    Word(u32),
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

/// One step of a rule, as a word sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The step before it, by its place among all steps, and how many other words may stand between; `None` for the first of a rule.
    pub follows: Option<(u32, u32)>,
    /// What comes after it.
    pub then: Then,
}

/// What a step that was reached leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Then {
    /// The rule of this number is complete.
    Completes(u32),
    /// Another step; this one has this place among all steps. Rules that begin alike share their first.
    Waits(u32),
}

/// More words than this never stand between two steps.
pub const MAX_GAP: u32 = 100;

/// Lexicon and rules, indexed for one pass.
#[derive(Debug)]
pub struct Table {
    pub lexicon: Lexicon,
    /// What each rule means.
    pub rules: Vec<Outcome>,
    /// Steps of all rules.
    pub states: usize,
    /// For each word of the lexicon, and each class a phrase makes, its part of `steps`.
    words: Vec<Range<usize>>,
    /// Of each rule later steps first, so that one word does not complete two of them.
    steps: Vec<Step>,
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
        reader.finish()
    }

    /// The steps a word completes, in order.
    #[inline]
    pub fn steps(&self, word: u32) -> &[Step] {
        self.words.get(word as usize).and_then(|range| self.steps.get(range.clone())).unwrap_or_default()
    }
}

/// The lines of a table file that say something.
pub fn lines(file: &'static str) -> impl Iterator<Item = &'static str> {
    file.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Words the rules treat alike.
type Class = usize;

struct Reader {
    normalizer: Normalizer,
    scratch: Scratch,
    classes: HashMap<String, Class>,
    /// The words, each with its classes.
    entries: Vec<(Entry, Vec<Class>)>,
    places: HashMap<Entry, usize>,
    rules: Vec<Meaning>,
    /// For each class the steps it completes, in no order yet.
    steps: Vec<Vec<(Order, Step)>>,
    /// Where the first steps are, by their classes.
    firsts: HashMap<Vec<Class>, u32>,
    states: u32,
}

/// Of the steps of one class: what begins a rule comes last, since many rules wait for the same beginning; and of one rule later steps
/// come first.
type Order = (bool, u32, Reverse<usize>);

/// What a rule means, while words have no numbers yet.
enum Meaning {
    Class(Class),
    Outcome(Outcome),
}

impl Reader {
    fn new() -> Self {
        // The tables are folded as texts are, so that both meet whatever the folding does.
        let normalizer = Normalizer::new(Folding { unicode: true, homoglyphs: false }, false);
        Self {
            normalizer,
            scratch: Scratch::default(),
            classes: HashMap::new(),
            entries: Vec::new(),
            places: HashMap::new(),
            rules: Vec::new(),
            steps: Vec::new(),
            firsts: HashMap::new(),
            states: 0,
        }
    }

    fn finish(mut self) -> Result<Table, String> {
        for steps in &mut self.steps {
            steps.sort_by_key(|(order, _)| *order);
        }
        let (mut words, mut steps) = (Vec::new(), Vec::new());
        let mut word = |classes: &[Class]| {
            let start = steps.len();
            let of = |class: &Class| self.steps.get(*class).into_iter().flatten().map(|(_, step)| step.clone());
            steps.extend(classes.iter().flat_map(of));
            words.push(start..steps.len());
        };
        self.entries.iter().for_each(|(_, classes)| word(classes));
        (0..self.steps.len()).for_each(|class| word(&[class]));
        let entries: Vec<Entry> = self.entries.into_iter().map(|(entry, _)| entry).collect();
        // A class is a word after those of the lexicon.
        let rules = self.rules.into_iter().map(|meaning| match meaning {
            Meaning::Class(class) => Outcome::Word((entries.len() + class) as u32),
            Meaning::Outcome(outcome) => outcome,
        });
        Ok(Table { rules: rules.collect(), states: self.states as usize, words, steps, lexicon: Lexicon::new(entries)? })
    }

    fn class(&mut self, name: &str) -> Class {
        let next = self.steps.len();
        let class = *self.classes.entry(name.to_owned()).or_insert(next);
        if class == next {
            self.steps.push(Vec::new());
        }
        class
    }

    /// A word or a phrase that counts as `class`.
    fn entry(&mut self, text: &str, class: Class) {
        let words = self.words(text);
        match words.as_slice() {
            [word] => self.add(word, class),
            _ => {
                let steps: Vec<_> = words.iter().map(|word| (0, vec![self.literal(word)])).collect();
                self.push(Meaning::Class(class), steps);
            }
        }
    }

    /// Puts `word` (`*` at the end makes it a stem) in `class`.
    fn add(&mut self, word: &str, class: Class) {
        let (spelling, is_stem) = word.strip_suffix('*').map_or((word, false), |stem| (stem, true));
        if spelling.is_empty() || spelling.len() > MAX_WORD {
            return;
        }
        let entry = Entry { spelling: spelling.into(), is_stem };
        let place = *self.places.entry(entry.clone()).or_insert(self.entries.len());
        match self.entries.get_mut(place) {
            Some((_, classes)) if classes.contains(&class) => {}
            Some((_, classes)) => classes.push(class),
            None => self.entries.push((entry, vec![class])),
        }
    }

    /// The class of one word alone.
    fn literal(&mut self, word: &str) -> Class {
        let class = self.class(word);
        self.add(word, class);
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
            if let Ok(words) = field.parse::<u32>() {
                gap = Some(words).filter(|words| *words <= MAX_GAP)?;
                continue;
            }
            let classes =
                field.split('|').map(|word| if word.starts_with('@') { self.known(word) } else { Some(self.literal(word)) });
            steps.push((gap, classes.collect::<Option<Vec<_>>>()?));
            gap = 0;
        }
        (!steps.is_empty()).then(|| self.push(Meaning::Outcome(outcome), steps))
    }

    fn known(&self, class: &str) -> Option<Class> {
        self.classes.get(class).copied()
    }

    fn push(&mut self, meaning: Meaning, steps: Vec<(u32, Vec<Class>)>) {
        let rule = self.rules.len() as u32;
        self.rules.push(meaning);
        let last = steps.len().saturating_sub(1);
        let mut follows = None;
        for (at, (gap, classes)) in steps.into_iter().enumerate() {
            let begins = at == 0 && at < last;
            let place = match self.firsts.get(&classes).filter(|_| begins) {
                Some(place) => *place,
                None => self.states,
            };
            let is_new = place == self.states;
            let then = if at == last { Then::Completes(rule) } else { Then::Waits(place) };
            let step = Step { follows: follows.map(|before| (before, gap)), then };
            follows = Some(place);
            if is_new {
                self.states += 1;
                for class in &classes {
                    if let Some(steps) = self.steps.get_mut(*class) {
                        steps.push(((begins, rule, Reverse(at)), step.clone()));
                    }
                }
                if begins {
                    self.firsts.insert(classes, place);
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
