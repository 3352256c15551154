//! YAML with the place of every key and value, so that whatever is wrong can be pointed at.
//!
//! Everything YAML readers are known to disagree on is refused here instead of guessed: duplicate keys, tags, merge keys, several
//! documents, keys that are not text. `serde_yaml` reads the same text afterwards and must see the same values.

use super::diagnostic::{Code, Diagnostic, Place};
use super::scalar::plain;
use super::source::quote;
use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use std::collections::HashMap;
use std::collections::hash_map::Entry as Seen;
use std::io::Read;
use std::path::Path;

/// Largest file, in bytes.
const FILE_LIMIT: usize = 1 << 20;
/// Deepest nesting of maps and lists.
const DEPTH_LIMIT: usize = 64;
/// Most uses of anchors.
const ALIAS_LIMIT: usize = 100;
/// Most keys, values and items, those repeated by aliases included.
const NODE_LIMIT: usize = 100_000;

/// One value and its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub value: Value,
    pub place: Place,
}

/// What a value is, by the core schema of YAML 1.2.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    /// `raw` is how it was written, for advice on quoting.
    Int {
        value: i128,
        raw: String,
    },
    /// Likewise.
    Float {
        value: f64,
        raw: String,
    },
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One key of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub key: String,
    pub place: Place,
    pub node: Node,
}

impl Node {
    /// The entry of a map; `None` also for what is no map.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The item of a list; `None` also for what is no list.
    pub fn item(&self, index: usize) -> Option<&Node> {
        match &self.value {
            Value::List(items) => items.get(index),
            _ => None,
        }
    }

    /// The same value as `serde_yaml` holds it; `None` when a number is beyond its range.
    pub fn to_yaml(&self) -> Option<serde_yaml::Value> {
        Some(match &self.value {
            Value::Null => serde_yaml::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int { value, .. } => match u64::try_from(*value) {
                Ok(value) => value.into(),
                Err(_) => i64::try_from(*value).ok()?.into(),
            },
            Value::Float { value, .. } => (*value).into(),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => serde_yaml::Value::Sequence(items.iter().map(Node::to_yaml).collect::<Option<_>>()?),
            Value::Map(entries) => {
                let pairs = entries.iter().map(|entry| Some((entry.key.as_str().into(), entry.node.to_yaml()?)));
                serde_yaml::Value::Mapping(pairs.collect::<Option<_>>()?)
            }
        })
    }
}

/// Reads a file of bounded size; the error is a code and its message.
pub(super) fn read(path: &Path) -> Result<String, (Code, String)> {
    let unreadable = |why: &str| (Code::Unreadable, format!("this file cannot be read: {why}"));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).and_then(|file| file.take(FILE_LIMIT as u64 + 1).read_to_end(&mut bytes));
    match file {
        Ok(length) if length > FILE_LIMIT => Err(too_large()),
        Ok(_) => String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(unreadable("there is no such file")),
        Err(error) => Err(unreadable(&error.to_string())),
    }
}

fn too_large() -> (Code, String) {
    (Code::TooLarge, format!("this file is larger than {} KiB", FILE_LIMIT >> 10))
}

/// Builds the tree. Faults that leave a usable tree come beside it; after a syntax error there is none.
pub(super) fn build(text: &str) -> (Option<Node>, Vec<Diagnostic>) {
    let mut builder = Builder::default();
    if text.len() > FILE_LIMIT {
        let (code, message) = too_large();
        return (None, vec![Diagnostic::new(code, message)]);
    }
    let root = match builder.document(text) {
        Ok(root) => Some(root),
        Err(fatal) => {
            builder.faults.push(*fatal);
            None
        }
    };
    (root, builder.faults)
}

type Fatal = Box<Diagnostic>;

#[derive(Default)]
struct Builder {
    /// Maps and lists begun and not yet ended, outermost first.
    open: Vec<Open>,
    root: Option<Node>,
    /// Finished nodes with an anchor, and how many nodes each holds.
    anchors: HashMap<usize, (Node, usize)>,
    aliases: usize,
    nodes: usize,
    faults: Vec<Diagnostic>,
}

/// A map or list that has begun.
struct Open {
    place: Place,
    anchor: usize,
    /// [`Builder::nodes`] when it began.
    nodes_before: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map {
        entries: Vec<Entry>,
        /// Every key so far and its line.
        seen: HashMap<String, usize>,
        /// A key whose value comes next.
        key: Option<(String, Place)>,
    },
}

impl Builder {
    fn document(&mut self, text: &str) -> Result<Node, Fatal> {
        let mut parser = Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
        let mut documents = 0;
        while let Some(event) = parser.next_event() {
            let (event, span) = event.map_err(|error| {
                let place = Place { line: error.marker().line(), column: error.marker().col() + 1, width: 1 };
                Diagnostic::new(Code::Syntax, format!("this is not YAML: {}", error.info()))
                    .at(place)
                    .help("look here and just above: a bracket or quote left open, a tab, or indentation that does not line up")
            })?;
            let place = place_of(span);
            match event {
                Event::DocumentStart(_) => {
                    documents += 1;
                    if documents > 1 {
                        let fault = Diagnostic::new(Code::Ambiguous, "a second YAML document begins here").at(place);
                        return Err(fault.help("a configuration is one document: remove the `---`").into());
                    }
                }
                Event::Scalar(value, style, anchor, tag) => {
                    self.refuse_tag(tag.is_some(), place);
                    let value = match style {
                        ScalarStyle::Plain => plain(&value),
                        _ => Value::Text(value.into_owned()),
                    };
                    self.nodes += 1;
                    self.finish(Node { value, place }, anchor, 1)?;
                }
                Event::SequenceStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), place);
                    self.begin(Content::List(Vec::new()), anchor, place)?;
                }
                Event::MappingStart(anchor, tag) => {
                    self.refuse_tag(tag.is_some(), place);
                    self.begin(Content::Map { entries: Vec::new(), seen: HashMap::new(), key: None }, anchor, place)?;
                }
                Event::SequenceEnd | Event::MappingEnd => {
                    if let Some(open) = self.open.pop() {
                        let size = self.nodes - open.nodes_before;
                        let value = match open.content {
                            Content::List(items) => Value::List(items),
                            Content::Map { entries, .. } => Value::Map(entries),
                        };
                        self.finish(Node { value, place: open.place }, open.anchor, size)?;
                    }
                }
                Event::Alias(anchor) => self.alias(anchor, place)?,
                Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            }
        }
        Ok(self.root.take().unwrap_or(Node { value: Value::Null, place: Place::START }))
    }

    fn begin(&mut self, content: Content, anchor: usize, place: Place) -> Result<(), Fatal> {
        if self.open.len() == DEPTH_LIMIT {
            let fault = Diagnostic::new(Code::TooLarge, format!("more than {DEPTH_LIMIT} levels of nesting"));
            return Err(fault.at(place).into());
        }
        self.nodes += 1;
        self.open.push(Open { place, anchor, nodes_before: self.nodes - 1, content });
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Fatal> {
        self.aliases += 1;
        if self.aliases > ALIAS_LIMIT {
            return Err(Diagnostic::new(Code::TooManyAliases, format!("more than {ALIAS_LIMIT} aliases")).at(place).into());
        }
        let Some((node, size)) = self.anchors.get(&anchor) else {
            return Err(Diagnostic::new(Code::Syntax, "this alias stands inside what it repeats").at(place).into());
        };
        // Counted before it is copied: an alias of aliases of aliases never grows beyond the bound.
        let size = *size;
        if self.nodes + size > NODE_LIMIT {
            let fault = Diagnostic::new(Code::TooManyAliases, format!("aliases repeat more than {NODE_LIMIT} values"));
            return Err(fault.at(place).into());
        }
        let node = node.clone();
        self.nodes += size;
        self.finish(node, 0, size)
    }

    /// Puts a finished node where it belongs: an anchor, a key, a value, an item, the root.
    fn finish(&mut self, node: Node, anchor: usize, size: usize) -> Result<(), Fatal> {
        if self.nodes > NODE_LIMIT {
            return Err(Diagnostic::new(Code::TooLarge, format!("more than {NODE_LIMIT} values")).at(node.place).into());
        }
        if anchor > 0 {
            self.anchors.insert(anchor, (node.clone(), size));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, seen, key }) => match key.take() {
                None => *key = Some((key_text(&node, &mut self.faults)?, node.place)),
                Some((name, place)) => match seen.entry(name) {
                    Seen::Vacant(vacant) => {
                        entries.push(Entry { key: vacant.key().clone(), place, node });
                        vacant.insert(place.line);
                    }
                    Seen::Occupied(first) => {
                        let fault =
                            Diagnostic::new(Code::DuplicateKey, format!("the key {} is written twice", quote(first.key())));
                        let help = format!("it is already on line {}: keep one of them", first.get());
                        self.faults.push(fault.at(place).help(help));
                    }
                },
            },
        }
        Ok(())
    }

    fn refuse_tag(&mut self, tagged: bool, place: Place) {
        if tagged {
            let fault = Diagnostic::new(Code::Ambiguous, "YAML tags such as `!!str` are not read").at(place);
            self.faults.push(fault.help("write the value without its tag"));
        }
    }
}

/// The text of a key. Other keys are rare enough to be refused: each reader turns them into text in its own way.
fn key_text(node: &Node, faults: &mut Vec<Diagnostic>) -> Result<String, Fatal> {
    let raw = match &node.value {
        Value::Text(text) => {
            if text == "<<" {
                let fault = Diagnostic::new(Code::Ambiguous, "merge keys (`<<`) are not read").at(node.place);
                faults.push(fault.help("repeat the keys, or use an alias for a whole value"));
            }
            return Ok(text.clone());
        }
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int { raw, .. } | Value::Float { raw, .. } => raw.clone(),
        Value::List(_) | Value::Map(_) => {
            return Err(Diagnostic::new(Code::Ambiguous, "a map or a list cannot be a key").at(node.place).into());
        }
    };
    let fault = Diagnostic::new(Code::Ambiguous, "a key must be text").at(node.place);
    faults.push(fault.help(format!("put it in quotes: `\"{raw}\"`")));
    Ok(raw)
}

/// Places count from 1; a span of several lines is cut at the end of its first when it is shown.
fn place_of(span: Span) -> Place {
    let width = if span.end.line() == span.start.line() { span.end.col().saturating_sub(span.start.col()) } else { usize::MAX };
    Place { line: span.start.line(), column: span.start.col() + 1, width: width.max(1) }
}
