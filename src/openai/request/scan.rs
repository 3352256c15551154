//! Walks a request body once and collects what a policy must read. Shapes the API does not know are read leniently: a string
//! in an odd place is still a text.

use super::structural::{Place, is_name, is_structural};
use super::{Channel, Endpoint, MAX_TEXTS, Members, Prompt, Role, StreamOptions, Text};
use crate::openai::json::{JsonError, Kind, Leaf, Literal, Problem, Reader, utf8};
use crate::refusal::Refusal;
use std::borrow::Cow;

/// Reads `body` into a view.
pub(super) fn scan(endpoint: Endpoint, body: &[u8]) -> Result<Prompt<'_>, Unfit> {
    let mut scan = Scan {
        reader: Reader::strict(utf8(body)?),
        seen_input: false,
        prompt: Prompt {
            endpoint,
            body,
            model: None,
            stream: false,
            include_usage: false,
            stream_options: StreamOptions::Absent,
            max_tokens: None,
            members: Members::default(),
            texts: Vec::new(),
            unscanned: Vec::new(),
            tools: Vec::new(),
        },
    };
    if scan.reader.kind()? != Kind::Object {
        return Err(Unfit::Member("", "the request body must be a JSON object"));
    }
    scan.body()?;
    scan.reader.end()?;
    if !scan.seen_input {
        return Err(Unfit::Member(endpoint.input(), "is required"));
    }
    if scan.prompt.texts.len() > MAX_TEXTS {
        return Err(Unfit::Member("", "the request body holds more strings than the gateway reads"));
    }
    scan.prompt.unscanned.sort_unstable();
    Ok(scan.prompt)
}

/// Why a body is not a request. Small, for it travels through every step of the walk.
#[derive(Debug)]
pub(super) enum Unfit {
    Json(JsonError),
    /// The member at fault, and what is wrong with it.
    Member(&'static str, &'static str),
}

impl From<JsonError> for Unfit {
    fn from(error: JsonError) -> Self {
        Unfit::Json(error)
    }
}

impl From<Unfit> for Refusal {
    /// 400. The message names the byte, or the path of a duplicate key.
    fn from(unfit: Unfit) -> Self {
        let error = match unfit {
            Unfit::Member("", what) => return Refusal::invalid("invalid_request", what),
            Unfit::Member(param, what) => return Refusal::invalid("invalid_request", format!("`{param}` {what}")).at(param),
            Unfit::Json(error) => error,
        };
        let code = match &error.problem {
            Problem::Utf8 | Problem::Expected(_) => "invalid_json",
            Problem::TooDeep => "too_deep",
            Problem::DuplicateKey(_) => "duplicate_key",
        };
        let refusal = Refusal::invalid(code, format!("the request body is not JSON the gateway accepts: {error}"));
        match error.problem {
            Problem::DuplicateKey(path) => refusal.at(path),
            _ => refusal,
        }
    }
}

pub(super) type Read = Result<(), Unfit>;

/// Where a text found now would stand.
#[derive(Clone, Copy)]
pub(super) struct Spot {
    pub(super) role: Role,
    pub(super) channel: Channel,
    pub(super) message: usize,
}

impl Spot {
    const OTHER: Self = Self { role: Role::User, channel: Channel::Other, message: 0 };

    pub(super) fn on(self, channel: Channel) -> Self {
        Self { channel, ..self }
    }
}

/// A walk over one body.
pub(super) struct Scan<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) prompt: Prompt<'a>,
    seen_input: bool,
}

impl<'a> Scan<'a> {
    fn body(&mut self) -> Read {
        let (mut completion_limit, mut limit) = (None, None);
        self.reader.enter_object()?;
        while let Some(literal) = self.reader.next_key()? {
            let key = literal.decode();
            self.seen_input |= key == self.prompt.endpoint.input();
            self.reader.kind()?;
            let value = self.reader.position();
            match key.as_ref() {
                "model" => self.model()?,
                "stream" => self.stream()?,
                "stream_options" => self.stream_options()?,
                "messages" => self.messages()?,
                "prompt" | "input" => self.input(&key)?,
                "suffix" => self.leaves(Spot::OTHER.on(Channel::Content), None)?,
                "prediction" => self.part(Spot::OTHER.on(Channel::Content))?,
                "tools" | "functions" => self.definitions()?,
                "response_format" => self.definition()?,
                "max_completion_tokens" => completion_limit = self.limit()?,
                "max_tokens" => limit = self.limit()?,
                _ => {
                    self.name(Spot::OTHER, literal);
                    self.leaves(Spot::OTHER, None)?;
                }
            }
            self.prompt.members.push(literal.range(), value..self.reader.position());
        }
        self.prompt.max_tokens = completion_limit.or(limit);
        Ok(())
    }

    fn model(&mut self) -> Read {
        if self.reader.kind()? != Kind::String {
            return Err(Unfit::Member("model", "must be a string"));
        }
        let literal = self.reader.string()?;
        let model = literal.decode();
        if !is_structural(Place::Body, "model", &model) {
            self.push(Spot::OTHER, literal);
        }
        self.prompt.model = Some((model, literal.quoted()));
        Ok(())
    }

    fn stream(&mut self) -> Read {
        match self.reader.kind()? {
            Kind::Bool => self.prompt.stream = self.reader.bool()?,
            Kind::Null => self.reader.null()?,
            _ => return Err(Unfit::Member("stream", "must be true, false or null")),
        }
        Ok(())
    }

    /// A count of tokens, or anything: it is for the provider to refuse what is none.
    fn limit(&mut self) -> Result<Option<u64>, Unfit> {
        if self.reader.kind()? != Kind::Number {
            self.leaves(Spot::OTHER, None)?;
            return Ok(None);
        }
        let number = self.reader.number()?;
        let fraction = || number.parse().ok().filter(|count: &f64| *count >= 0.0).map(|count| count as u64);
        Ok(number.parse().ok().or_else(fraction))
    }

    fn stream_options(&mut self) -> Read {
        match self.reader.kind()? {
            Kind::Null => self.prompt.stream_options = StreamOptions::Null(self.reader.skip()?),
            Kind::Object => {
                self.reader.enter_object()?;
                let inside = self.reader.position();
                self.prompt.stream_options = StreamOptions::Empty(inside);
                while let Some(key) = self.reader.next_key()? {
                    if key.decode() != "include_usage" {
                        if matches!(self.prompt.stream_options, StreamOptions::Empty(_)) {
                            self.prompt.stream_options = StreamOptions::Others(inside);
                        }
                        self.name(Spot::OTHER, key);
                        self.leaves(Spot::OTHER, None)?;
                        continue;
                    }
                    let value = match self.reader.kind()? {
                        Kind::Bool => {
                            let start = self.reader.position();
                            self.prompt.include_usage = self.reader.bool()?;
                            start..self.reader.position()
                        }
                        Kind::Null => self.reader.skip()?,
                        _ => return Err(Unfit::Member("stream_options.include_usage", "must be true, false or null")),
                    };
                    self.prompt.stream_options = StreamOptions::Usage(value);
                }
            }
            _ => return Err(Unfit::Member("stream_options", "must be an object or null")),
        }
        Ok(())
    }

    /// `prompt` or `input`: text, texts, or tokens, which nobody here can read.
    fn input(&mut self, key: &str) -> Read {
        let spot = Spot::OTHER.on(Channel::Content);
        let kind = self.reader.kind()?;
        if key == self.prompt.endpoint.input() {
            match (self.prompt.endpoint, kind) {
                (_, Kind::String | Kind::Array) | (Endpoint::Completions, Kind::Null) => {}
                (Endpoint::Completions, _) => return Err(Unfit::Member("prompt", "must be a string, an array or null")),
                _ => return Err(Unfit::Member("input", "must be a string or an array")),
            }
        }
        if kind != Kind::Array {
            return self.tokens(spot);
        }
        self.reader.enter_array()?;
        let mut message = 0;
        while self.reader.next_element()? {
            self.tokens(Spot { message, ..spot })?;
            message += 1;
        }
        Ok(())
    }

    fn tokens(&mut self, spot: Spot) -> Read {
        let mut tokens = false;
        let prompt = &mut self.prompt;
        self.reader.walk(|leaf| match leaf {
            Leaf::String(_, literal) => add(prompt, spot, literal, literal.decode()),
            Leaf::Key(key) => push_name(prompt, spot, key),
            Leaf::Number => tokens = true,
        })?;
        if tokens {
            self.unread("token_ids");
        }
        Ok(())
    }

    /// `tools` or `functions`: an array of definitions.
    fn definitions(&mut self) -> Read {
        if self.reader.kind()? != Kind::Array {
            return self.definition();
        }
        self.reader.enter_array()?;
        while self.reader.next_element()? {
            self.tool()?;
        }
        Ok(())
    }

    /// One tool: its name stands here, or under `function` or `custom`.
    fn tool(&mut self) -> Read {
        let spot = Spot { role: Role::System, ..Spot::OTHER.on(Channel::Definition) };
        if self.reader.kind()? != Kind::Object {
            return self.definition();
        }
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            self.name(spot, key);
            let kind = self.reader.kind()?;
            let key_text = key.decode();
            match (key_text.as_ref(), kind) {
                ("function" | "custom", Kind::Object) => self.tool()?,
                ("name", Kind::String) => {
                    let literal = self.reader.string()?;
                    self.prompt.tools.push(literal.decode());
                    self.push(spot, literal);
                }
                ("type", Kind::String) => {
                    let literal = self.reader.string()?;
                    self.unless_structural(Place::Definition, "type", spot, literal);
                }
                _ => self.definition()?,
            }
        }
        Ok(())
    }

    fn definition(&mut self) -> Read {
        let spot = Spot { role: Role::System, ..Spot::OTHER.on(Channel::Definition) };
        self.leaves(spot, Some(Place::Definition))
    }

    /// Every string of a value of any shape, and the keys in it that say something.
    pub(super) fn leaves(&mut self, spot: Spot, place: Option<Place>) -> Read {
        let prompt = &mut self.prompt;
        self.reader.walk(|leaf| match leaf {
            Leaf::String(key, literal) => {
                let text = literal.decode();
                let structural = |place| key.is_some_and(|key| is_structural(place, &key.decode(), &text));
                if !place.is_some_and(structural) {
                    add(prompt, spot, literal, text);
                }
            }
            Leaf::Key(key) => push_name(prompt, spot, key),
            Leaf::Number => {}
        })?;
        Ok(())
    }

    pub(super) fn push(&mut self, spot: Spot, literal: Literal<'a>) {
        add(&mut self.prompt, spot, literal, literal.decode());
    }

    /// Notes content that nobody here can read.
    pub(super) fn unread(&mut self, what: &'static str) {
        if !self.prompt.unscanned.contains(&what) {
            self.prompt.unscanned.push(what);
        }
    }

    pub(super) fn unless_structural(&mut self, place: Place, key: &str, spot: Spot, literal: Literal<'a>) {
        if !is_structural(place, key, &literal.decode()) {
            self.push(spot, literal);
        }
    }

    pub(super) fn name(&mut self, spot: Spot, key: Literal<'a>) {
        push_name(&mut self.prompt, spot, key);
    }
}

/// A key that is more than a name is a text too.
pub(super) fn push_name<'a>(prompt: &mut Prompt<'a>, spot: Spot, key: Literal<'a>) {
    let name = key.decode();
    if !is_name(&name) {
        add(prompt, spot.on(Channel::Other), key, name);
    }
}

/// Takes a text, unless it is empty or one too many: [`scan`] refuses the body then.
pub(super) fn add<'a>(prompt: &mut Prompt<'a>, spot: Spot, literal: Literal<'a>, text: Cow<'a, str>) {
    if text.is_empty() || prompt.texts.len() > MAX_TEXTS {
        return;
    }
    let Spot { role, channel, message } = spot;
    prompt.texts.push(Text { role, channel, message, raw: literal.range(), text, json: channel == Channel::Arguments });
}
