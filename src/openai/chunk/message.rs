//! Walks the message of a choice: the channels with a name of their own, and every other string in it.

use super::grammar::Silent;
use super::path::Path;
use super::scan::{Index, Read, Scan};
use super::{AnswerChannel, AnswerKind, Delta, MAX_DELTAS};
use crate::openai::json::{Kind, Literal};
use crate::openai::request::is_name;

impl<'a> Scan<'a> {
    /// `delta` or `message`.
    pub(super) fn message(&mut self) -> Read {
        const ROOT: Path = Path::ROOT;
        if self.reader.kind()? != Kind::Object {
            return self.any(ROOT).map(drop);
        }
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("content", _) => self.text(AnswerKind::Content, const { ROOT.member("content") })?,
                ("reasoning", _) => self.text(AnswerKind::Reasoning, const { ROOT.member("reasoning") })?,
                ("reasoning_content", _) => {
                    self.text(AnswerKind::ReasoningContent, const { ROOT.member("reasoning_content") })?
                }
                ("refusal", _) => self.text(AnswerKind::Refusal, const { ROOT.member("refusal") })?,
                ("tool_calls", Kind::Array) => self.elements(const { ROOT.member("tool_calls") }, Self::tool_call)?,
                ("function_call", Kind::Object) => {
                    self.call(AnswerKind::FunctionArguments, "arguments", const { ROOT.member("function_call") })?
                }
                ("logprobs" | "reasoning_logprobs" | "tokens", _) => self.echo()?,
                _ => self.member(ROOT, key).map(drop)?,
            }
        }
        Ok(())
    }

    /// A string, or an array of parts.
    pub(super) fn text(&mut self, channel: AnswerKind, path: Path) -> Read {
        match self.reader.kind()? {
            Kind::String => self.delta(channel),
            Kind::Array => self.elements(path, |scan, path, _| scan.part(channel, path)),
            _ => self.any(path).map(drop),
        }
    }

    fn part(&mut self, channel: AnswerKind, path: Path) -> Index {
        match self.reader.kind()? {
            Kind::String => return self.delta(channel).map(|()| None),
            Kind::Object => self.reader.enter_object()?,
            _ => return self.any(path),
        }
        let mut index = None;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("text", Kind::String) => self.delta(channel)?,
                ("refusal", Kind::String) => self.delta(AnswerKind::Refusal)?,
                _ => index = self.member(path, key)?.or(index),
            }
        }
        Ok(index)
    }

    fn tool_call(&mut self, path: Path, position: u32) -> Index {
        if self.reader.kind()? != Kind::Object {
            return self.any(path);
        }
        let mut index = None;
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("function", Kind::Object) => self.call(AnswerKind::Arguments(position), "arguments", path.member("function"))?,
                ("custom", Kind::Object) => self.call(AnswerKind::Input(position), "input", path.member("custom"))?,
                _ => index = self.member(path, key)?.or(index),
            }
        }
        Ok(index)
    }

    /// What is called, and with what: `input` names the member that says so.
    fn call(&mut self, channel: AnswerKind, input: &str, path: Path) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            if key.decode() != input {
                self.member(path, key)?;
            } else if kind == Kind::String {
                self.delta(channel)?;
            } else {
                self.any(path.member(input).free())?;
            }
        }
        Ok(())
    }

    /// A value of any shape. The reader bounds the recursion.
    pub(super) fn any(&mut self, path: Path) -> Index {
        match self.reader.kind()? {
            Kind::String => self.delta(path.kind())?,
            Kind::Array => self.elements(path, |scan, path, _| scan.any(path))?,
            Kind::Object => {
                let mut index = None;
                self.reader.enter_object()?;
                while let Some(key) = self.reader.next_key()? {
                    index = self.member(path, key)?.or(index);
                }
                return Ok(index);
            }
            _ => self.skip()?,
        }
        Ok(None)
    }

    /// A member that no rule names, of the object at `path`; gives it back if it is the object's `index`.
    fn member(&mut self, path: Path, key: Literal<'a>) -> Index {
        let kind = self.reader.kind()?;
        let name = key.decode();
        if !is_name(&name) {
            self.push(path.name(&name).kind(), key);
        }
        match kind {
            Kind::Number if name == "index" && !path.is_free() => self.index().map(Some),
            Kind::String => {
                let value = self.reader.string()?;
                match if path.is_free() { None } else { Silent::of(&name, &value.decode()) } {
                    None => self.push(path.member(&name).kind(), value),
                    Some(Silent::Data(what)) if !self.chunk.unread.contains(&what) => self.chunk.unread.push(what),
                    Some(_) => {}
                }
                Ok(None)
            }
            Kind::Array | Kind::Object => self.any(path.member(&name)).map(|_| None),
            _ => self.reader.skip().map(|_| None),
        }
    }

    /// The elements of the array at `path`. One that has an `index` counts as that element: a chunk may hold but a part of them.
    fn elements(&mut self, path: Path, element: impl Fn(&mut Self, Path, u32) -> Index) -> Read {
        self.reader.enter_array()?;
        let mut position = 0;
        while self.reader.next_element()? {
            let from = self.chunk.deltas.len();
            if let Some(index) = element(self, path.element(position), position)? {
                for delta in self.chunk.deltas.iter_mut().skip(from) {
                    match &mut delta.channel.kind {
                        AnswerKind::Arguments(call) | AnswerKind::Input(call) => *call = index,
                        AnswerKind::Other(number) => *number = path.moved(*number, position, index),
                        _ => {}
                    }
                }
            }
            position += 1;
        }
        Ok(())
    }

    fn delta(&mut self, kind: AnswerKind) -> Read {
        let literal = self.reader.string()?;
        self.push(kind, literal);
        Ok(())
    }

    /// Takes a piece of text, unless it is one too many: the whole is refused then.
    fn push(&mut self, kind: AnswerKind, literal: Literal<'a>) {
        if self.chunk.deltas.len() <= MAX_DELTAS {
            let channel = AnswerChannel { choice: 0, kind };
            self.chunk.deltas.push(Delta { channel, raw: literal.range(), text: literal.decode() });
        }
    }
}
