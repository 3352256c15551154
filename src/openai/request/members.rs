//! Where the top-level members of a request lie, so that one is found again without reading the whole body once more.

use crate::openai::json::{JsonError, Reader, decode, utf8};
use std::borrow::Cow;
use std::ops::Range;

/// Members that are noted. A body with more of them, which no client needs, is read again when its members are asked for.
const NOTED: usize = 20;

/// The top-level members of one body, in order. Takes no memory of its own.
#[derive(Debug, Clone, Default)]
pub struct Members {
    first: [Member; NOTED],
    /// How many there are; those beyond [`NOTED`] are not in `first`.
    count: usize,
}

/// One member of an object. Byte ranges in the body.
#[derive(Debug, Clone, Default)]
pub(super) struct Member {
    /// What stands between the quotes of its key.
    pub(super) key: Range<usize>,
    /// Its value.
    pub(super) value: Range<usize>,
}

impl Members {
    /// Notes the next member.
    pub(super) fn push(&mut self, key: Range<usize>, value: Range<usize>) {
        if let Some(free) = self.first.get_mut(self.count) {
            *free = Member { key, value };
        }
        self.count += 1;
    }

    /// Shows `see` every member of `body`, the one that was read, in order.
    pub(super) fn each(&self, body: &[u8], mut see: impl FnMut(&Member)) {
        match self.first.get(..self.count) {
            Some(all) => all.iter().for_each(see),
            // It was read without a fault before.
            None => drop(reread(body, &mut see)),
        }
    }
}

impl Member {
    /// The decoded key; empty if `body` is not the one the member is of.
    pub(super) fn name<'b>(&self, body: &'b [u8]) -> Cow<'b, str> {
        decode(source(body, &self.key))
    }

    /// From the key's opening quote to the end of the value.
    pub(super) fn range(&self) -> Range<usize> {
        self.key.start.saturating_sub(1)..self.value.end
    }
}

/// A part of the body as text; empty if it is none.
pub(super) fn source<'b>(body: &'b [u8], range: &Range<usize>) -> &'b str {
    body.get(range.clone()).and_then(|part| std::str::from_utf8(part).ok()).unwrap_or_default()
}

/// The members beyond those noted are not kept anywhere: a body may have a million.
fn reread(body: &[u8], see: &mut impl FnMut(&Member)) -> Result<(), JsonError> {
    let mut reader = Reader::new(utf8(body)?);
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        see(&Member { key: key.range(), value: reader.skip()? });
    }
    Ok(())
}
