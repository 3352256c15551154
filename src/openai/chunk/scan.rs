//! Walks an answer object once: what stands around the messages, and the counts.

use super::path::Path;
use super::{AnswerKind, Choices, Chunk, ChunkError, Echo, MAX_DELTAS, Usage};
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
    if scan.chunk.deltas.len() > MAX_DELTAS {
        return Err(ChunkError::TooManyDeltas);
    }
    Ok(scan.chunk)
}

pub(super) type Read = Result<(), JsonError>;
/// What reading a value gives: its `index`, if it is an object that has one.
pub(super) type Index = Result<Option<u32>, JsonError>;

/// A walk over one object.
pub(super) struct Scan<'a> {
    pub(super) reader: Reader<'a>,
    pub(super) chunk: Chunk<'a>,
}

impl Scan<'_> {
    fn object(&mut self) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("id", Kind::String) => self.chunk.id = Some(self.reader.string()?.decode()),
                ("model", Kind::String) => self.chunk.model = Some(self.reader.string()?.decode()),
                ("choices", Kind::Array) => self.choices()?,
                ("choices", Kind::Object | Kind::String) => self.any(Path::ROOT).map(drop)?,
                ("usage", Kind::Object) => self.usage()?,
                ("error", _) => {
                    self.chunk.error |= kind != Kind::Null;
                    self.reader.skip()?;
                }
                _ => self.skip()?,
            }
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
            self.choice(position)?;
            position += 1;
        }
        Ok(())
    }

    /// One choice; `position` stands in for an index that is not there.
    fn choice(&mut self, position: u32) -> Read {
        let mut index = position;
        let (deltas, ends, echoes) = (self.chunk.deltas.len(), self.chunk.finish.len(), self.chunk.echoes.len());
        if self.reader.kind()? == Kind::Object {
            self.choice_object(&mut index)?;
        } else {
            self.any(Path::ROOT)?;
        }
        // The index may stand after the text.
        self.chunk.deltas.iter_mut().skip(deltas).for_each(|delta| delta.channel.choice = index);
        self.chunk.finish.iter_mut().skip(ends).for_each(|end| end.0 = index);
        self.chunk.echoes.iter_mut().skip(echoes).for_each(|echo| echo.choice = index);
        Ok(())
    }

    fn choice_object(&mut self, index: &mut u32) -> Read {
        self.reader.enter_object()?;
        while let Some(key) = self.reader.next_key()? {
            let kind = self.reader.kind()?;
            match (key.decode().as_ref(), kind) {
                ("index", Kind::Number) => *index = self.index()?,
                ("delta" | "message", _) => self.message()?,
                ("text", _) => self.text(AnswerKind::Content, const { Path::ROOT.member("text") })?,
                ("finish_reason", Kind::String) => {
                    let reason = self.reader.string()?.decode();
                    self.chunk.finish.push((0, reason));
                }
                ("logprobs" | "reasoning_logprobs" | "tokens", _) => self.echo()?,
                _ => self.skip()?,
            }
        }
        Ok(())
    }

    pub(super) fn skip(&mut self) -> Read {
        self.reader.skip().map(|_| ())
    }

    /// A member that repeats the text in another form.
    pub(super) fn echo(&mut self) -> Read {
        let null = self.reader.kind()? == Kind::Null;
        let value = self.reader.skip()?;
        if !null {
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

    /// Descends but into members of two names; the reader bounds how deep.
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

    pub(super) fn index(&mut self) -> Result<u32, JsonError> {
        Ok(u32::try_from(whole(self.reader.number()?)).unwrap_or(u32::MAX))
    }
}

/// A count in any spelling a number has: fractions fall, what is too large or negative goes to the nearest count.
fn whole(number: &str) -> u64 {
    number.parse().unwrap_or_else(|_| number.parse::<f64>().unwrap_or_default() as u64)
}
