//! Walks an answer object once.

use super::{AnswerChannel, AnswerKind, Choices, Chunk, ChunkError, Delta, ENVELOPE, Echo, Shape, Usage};
use crate::openai::json::{JsonError, Kind, Reader, utf8};

/// Reads `json` into a view.
pub(super) fn scan(json: &[u8]) -> Result<Chunk<'_>, ChunkError> {
    let json = utf8(json)?;
    let mut scan = Scan { reader: Reader::new(json), chunk: Chunk { json, ..Chunk::default() } };
    if scan.reader.kind()? != Kind::Object {
        return Err(ChunkError::NotAnObject);
    }
    scan.object()?;
    scan.reader.end()?;
    Ok(scan.chunk)
}

struct Scan<'a> {
    reader: Reader<'a>,
    chunk: Chunk<'a>,
}

type Read = Result<(), JsonError>;

impl<'a> Scan<'a> {
    fn object(&mut self) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            let key = key.decode();
            match (key.as_ref(), kind) {
                ("choices", Kind::Array) => self.choices()?,
                ("usage", Kind::Object) => self.usage()?,
                ("error", _) => {
                    self.chunk.error |= kind != Kind::Null;
                    self.reader.skip()?;
                }
                (name, _) => self.shared(name, kind)?,
            }
        }
        Ok(())
    }

    /// A member of the envelope, or one nobody knows.
    fn shared(&mut self, name: &str, kind: Kind) -> Read {
        let slot = ENVELOPE.iter().zip(&mut self.chunk.envelope).find(|(known, _)| **known == name).map(|(_, slot)| slot);
        if kind != Kind::String {
            let range = self.reader.skip()?;
            if let (Some(slot), Kind::Number | Kind::Null) = (slot, kind) {
                *slot = Some(range);
            }
            return Ok(());
        }
        let literal = self.reader.string()?;
        let Some(slot) = slot else { return Ok(()) };
        *slot = Some(literal.quoted());
        match name {
            "id" => self.chunk.id = Some(literal.decode()),
            "model" => self.chunk.model = Some(literal.decode()),
            "object" if self.chunk.choices != Choices::Some && literal.decode() == "text_completion" => {
                self.chunk.shape = Shape::Text
            }
            _ => {}
        }
        Ok(())
    }

    fn choices(&mut self) -> Read {
        self.reader.enter_array()?;
        if self.chunk.choices == Choices::Absent {
            self.chunk.choices = Choices::Empty;
        }
        let mut position = 0;
        while self.reader.next_element()? {
            self.chunk.choices = Choices::Some;
            if self.reader.kind()? == Kind::Object {
                self.choice(position)?;
            } else {
                self.skip()?;
            }
            position += 1;
        }
        Ok(())
    }

    /// One choice; `position` stands in for an index that is not there.
    fn choice(&mut self, position: u32) -> Read {
        let mut index = position;
        let (deltas, ends, echoes) = (self.chunk.deltas.len(), self.chunk.finish.len(), self.chunk.echoes.len());
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("index", Kind::Number) => index = self.index()?,
                ("delta", Kind::Object) => self.message(Shape::Delta)?,
                ("message", Kind::Object) => self.message(Shape::Message)?,
                ("text", Kind::String | Kind::Array) => {
                    self.chunk.shape = Shape::Text;
                    self.text(AnswerKind::Content)?;
                }
                ("finish_reason", Kind::String) => {
                    let reason = self.reader.string()?.decode();
                    self.chunk.finish.push((index, reason));
                }
                (name, _) => self.echo(name)?,
            }
        }
        // The index may stand after the text.
        self.chunk.deltas.iter_mut().skip(deltas).for_each(|delta| delta.channel.choice = index);
        self.chunk.finish.iter_mut().skip(ends).for_each(|end| end.0 = index);
        self.chunk.echoes.iter_mut().skip(echoes).for_each(|echo| echo.choice = index);
        Ok(())
    }

    fn message(&mut self, shape: Shape) -> Read {
        self.chunk.shape = shape;
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("content", _) => self.text(AnswerKind::Content)?,
                ("reasoning", _) => self.text(AnswerKind::Reasoning)?,
                ("reasoning_content", _) => self.text(AnswerKind::ReasoningContent)?,
                ("refusal", _) => self.text(AnswerKind::Refusal)?,
                ("tool_calls", Kind::Array) => self.tool_calls()?,
                ("function_call", Kind::Object) => self.function(AnswerKind::FunctionArguments)?,
                (name, _) => self.echo(name)?,
            }
        }
        Ok(())
    }

    /// A string, or an array of parts with a `text` each.
    fn text(&mut self, channel: AnswerKind) -> Read {
        match self.reader.kind()? {
            Kind::String => self.delta(channel)?,
            Kind::Array => {
                self.reader.enter_array()?;
                while self.reader.next_element()? {
                    self.part(channel)?;
                }
            }
            _ => self.skip()?,
        }
        Ok(())
    }

    fn part(&mut self, channel: AnswerKind) -> Read {
        match self.reader.kind()? {
            Kind::String => return self.delta(channel),
            Kind::Object => self.reader.enter_object()?,
            _ => return self.skip(),
        }
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("text", Kind::String) => self.delta(channel)?,
                ("refusal", Kind::String) => self.delta(AnswerKind::Refusal)?,
                _ => self.skip()?,
            }
        }
        Ok(())
    }

    fn tool_calls(&mut self) -> Read {
        self.reader.enter_array()?;
        let mut position = 0;
        while self.reader.next_element()? {
            if self.reader.kind()? == Kind::Object {
                self.tool_call(position)?;
            } else {
                self.skip()?;
            }
            position += 1;
        }
        Ok(())
    }

    fn tool_call(&mut self, position: u32) -> Read {
        let mut index = position;
        let from = self.chunk.deltas.len();
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("index", Kind::Number) => index = self.index()?,
                ("function", Kind::Object) => self.function(AnswerKind::Arguments(position))?,
                _ => self.skip()?,
            }
        }
        self.chunk.deltas.iter_mut().skip(from).for_each(|delta| delta.channel.kind = AnswerKind::Arguments(index));
        Ok(())
    }

    fn function(&mut self, channel: AnswerKind) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            if self.reader.kind()? == Kind::String && key.decode() == "arguments" {
                self.delta(channel)?;
            } else {
                self.skip()?;
            }
        }
        Ok(())
    }

    fn delta(&mut self, kind: AnswerKind) -> Read {
        let literal = self.reader.string()?;
        let channel = AnswerChannel { choice: 0, kind };
        self.chunk.deltas.push(Delta { channel, raw: literal.range(), text: literal.decode() });
        Ok(())
    }

    fn skip(&mut self) -> Read {
        self.reader.skip().map(drop)
    }

    /// A member that may repeat the text in another form.
    fn echo(&mut self, name: &str) -> Read {
        let null = self.reader.kind()? == Kind::Null;
        let value = self.reader.skip()?;
        if !null && matches!(name, "logprobs" | "reasoning_logprobs" | "tokens") {
            self.chunk.echoes.push(Echo { choice: 0, value });
        }
        Ok(())
    }

    fn usage(&mut self) -> Read {
        let mut usage = Usage::default();
        self.counts(&mut usage)?;
        self.chunk.usage = Some(usage);
        Ok(())
    }

    fn counts(&mut self, usage: &mut Usage) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            let count = match (key.decode().as_ref(), kind) {
                ("prompt_tokens_details" | "completion_tokens_details", Kind::Object) => {
                    self.counts(usage)?;
                    continue;
                }
                ("prompt_tokens", Kind::Number) => &mut usage.input_tokens,
                ("completion_tokens", Kind::Number) => &mut usage.output_tokens,
                ("cached_tokens", Kind::Number) => &mut usage.cached_tokens,
                ("reasoning_tokens", Kind::Number) => &mut usage.reasoning_tokens,
                _ => {
                    self.reader.skip()?;
                    continue;
                }
            };
            *count = whole(self.reader.number()?);
        }
        Ok(())
    }

    fn index(&mut self) -> Result<u32, JsonError> {
        Ok(u32::try_from(whole(self.reader.number()?)).unwrap_or(u32::MAX))
    }
}

/// A count in any spelling a number has: fractions fall, what is too large or negative goes to the nearest count.
fn whole(number: &str) -> u64 {
    number.parse().unwrap_or_else(|_| number.parse::<f64>().unwrap_or_default() as u64)
}
