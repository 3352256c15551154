//! Cuts a stream of server-sent events into units that may leave on their own, without copying what arrived whole.
//!
//! A unit is a block of lines up to its blank line. Comments and blank lines outside of a block are units by themselves, so a
//! keep-alive of one line (`: ping`) leaves at once. The units of a stream, joined, are the stream, and they do not depend on
//! how the transport cut it.
//!
//! Lines end in LF, CRLF or CR. After a CR the next byte must be seen to tell the last two apart, so a comment that ends in a
//! bare CR leaves with the next byte; two CRs in a row end a block without waiting.

mod block;

use block::Block;
use bytes::Bytes;
use std::borrow::Cow;
use std::ops::Range;

/// One unit of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The bytes as they came, line ends included: a slice of the chunk when the unit lay inside one.
    pub raw: Bytes,
    /// Where `raw` lies in the chunk pushed last, so that neighbours can leave as one slice of it; `None` when it was joined
    /// from several chunks.
    pub place: Option<Range<usize>>,
    data: Option<Data>,
}

/// The payload of a unit: offsets in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Data {
    /// The value of the first `data` line.
    value: Range<usize>,
    /// The `data` lines after the first, each with the line end *before* it, and their values. Without such a range, what
    /// follows a line end still does: no CR meets a strange LF.
    more: Vec<(Range<usize>, Range<usize>)>,
}

/// The carried part of a unit outgrew its limit. The stream cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct Overflow {
    /// The limit in bytes.
    pub limit: usize,
}

/// Cuts one stream.
#[derive(Debug)]
pub struct Decoder {
    /// The unit whose end has not arrived.
    carry: Vec<u8>,
    block: Block,
    limit: usize,
}

/// 16 MiB: what an event that arrives in pieces may have by default.
pub const DEFAULT_LIMIT: usize = 16 << 20;

impl Default for Decoder {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Decoder {
    /// At the beginning of a stream; `limit` bounds, in bytes, what is carried from chunk to chunk.
    pub fn new(limit: usize) -> Self {
        Self { carry: Vec::new(), block: Block::first(), limit }
    }

    /// The units that `chunk` completes. Take them all before the next push: the rest of a chunk is lost with its iterator.
    #[must_use = "the chunk is read as its events are taken"]
    pub fn push(&mut self, chunk: Bytes) -> Events<'_> {
        Events { decoder: self, chunk, at: 0 }
    }

    /// Bytes held because their unit is not complete.
    pub fn carried(&self) -> usize {
        self.carry.len()
    }

    /// The stream is over: what is left of it, a last event without its blank line.
    pub fn finish(mut self) -> Option<Event> {
        if self.carry.is_empty() {
            return None;
        }
        self.block.end(&self.carry);
        Some(Event { raw: self.carry.into(), place: None, data: self.block.take_data() })
    }
}

/// The units of one chunk; see [`Decoder::push`].
#[derive(Debug)]
pub struct Events<'d> {
    decoder: &'d mut Decoder,
    chunk: Bytes,
    at: usize,
}

impl Iterator for Events<'_> {
    type Item = Result<Event, Overflow>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.at >= self.chunk.len() {
            return None;
        }
        if !self.decoder.carry.is_empty() {
            return self.join().transpose();
        }
        let rest = self.chunk.get(self.at..).unwrap_or_default();
        let Some(length) = self.decoder.block.scan(rest, None) else {
            if rest.len() > self.decoder.limit {
                return Some(Err(self.overflow()));
            }
            self.decoder.carry.extend_from_slice(rest);
            self.at = self.chunk.len();
            return None;
        };
        let place = self.at..self.at + length;
        self.at = place.end;
        Some(Ok(Event { raw: self.chunk.slice(place.clone()), place: Some(place), data: self.decoder.block.take_data() }))
    }
}

impl Events<'_> {
    /// Completes the carried unit line by line, so that nothing after it is copied.
    fn join(&mut self) -> Result<Option<Event>, Overflow> {
        loop {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            let Decoder { carry, block, limit } = &mut *self.decoder;
            if block.scan(carry, rest.first().copied()).is_some() {
                let raw = Bytes::from(std::mem::take(carry));
                return Ok(Some(Event { raw, place: None, data: block.take_data() }));
            }
            if rest.is_empty() {
                return Ok(None);
            }
            let line = memchr::memchr2(b'\n', b'\r', rest).map_or(rest.len(), |end| end + 1);
            if carry.len() + line > *limit {
                return Err(self.overflow());
            }
            carry.extend_from_slice(rest.get(..line).unwrap_or_default());
            self.at += line;
        }
    }

    fn overflow(&mut self) -> Overflow {
        self.at = self.chunk.len();
        Overflow { limit: self.decoder.limit }
    }
}

impl Event {
    /// The payload: the values of the `data` lines joined by LF. `None` for comments and events without data.
    pub fn data(&self) -> Option<Cow<'_, [u8]>> {
        let data = self.data.as_ref()?;
        let first = self.bytes(&data.value);
        if data.more.is_empty() {
            return Some(Cow::Borrowed(first));
        }
        let mut joined = first.to_vec();
        for (_, value) in &data.more {
            joined.push(b'\n');
            joined.extend_from_slice(self.bytes(value));
        }
        Some(Cow::Owned(joined))
    }

    /// The event that says the answer is over.
    pub fn is_done(&self) -> bool {
        self.data().is_some_and(|data| data.trim_ascii() == b"[DONE]")
    }

    /// The same event with another payload: other lines, the spelling of `data:` and line ends stay. Line breaks in `json`,
    /// which are white space there, become spaces. An event without data stays as it is.
    pub fn with_data(&self, json: &[u8]) -> Bytes {
        let Some(data) = &self.data else { return self.raw.clone() };
        let mut event = Vec::with_capacity(self.raw.len() - data.value.len() + json.len());
        event.extend_from_slice(self.bytes(&(0..data.value.start)));
        // A `data` line without its colon has an empty value.
        if event.ends_with(b"data") {
            event.push(b':');
        }
        event.extend(json.iter().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { *byte }));
        let mut copied = data.value.end;
        for (line, _) in &data.more {
            event.extend_from_slice(self.bytes(&(copied..line.start)));
            copied = line.end;
        }
        event.extend_from_slice(self.bytes(&(copied..self.raw.len())));
        event.into()
    }

    /// The same event with a blank line behind it, so that another one may follow.
    pub fn terminated(self) -> Self {
        let end: &[u8] = if self.raw.ends_with(b"\n") { b"\n" } else { b"\n\n" };
        Self { raw: [&self.raw, end].concat().into(), ..self }
    }

    fn bytes(&self, range: &Range<usize>) -> &[u8] {
        self.raw.get(range.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
