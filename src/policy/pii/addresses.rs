//! Where e-mail addresses may begin. The `@` tells: what stands before it is read backwards, once, and the rest of the text is
//! not looked at for their sake. While a text still arrives, an `@` may follow its last word, which is therefore held back.

use super::matching::{Found, Input};
use super::screen;
use super::words::{self, LOCAL_PART, address_start};

/// What is known of the `@`s of a text. Offsets are those of the buffer.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    /// No address begins before this: it is decided.
    floor: usize,
    /// No `@` stands before this but those that are done with, and the next.
    searched: usize,
    /// Where the next address may begin, and its `@`.
    next: Option<(usize, usize)>,
    /// Where the run of local-part bytes at the end of the text begins, for the text up to `arrived`.
    run: usize,
    arrived: usize,
}

impl Addresses {
    /// Takes note of what has arrived, each byte looked at once. Afterwards: where the text begins that may be an address whose
    /// `@` is yet to come. Nothing from there on can be decided.
    pub fn limit(&mut self, input: &Input<'_>) -> usize {
        let bytes = input.bytes;
        if input.ended {
            return bytes.len();
        }
        if self.arrived < bytes.len() {
            let begin = run_start(bytes, bytes.len(), self.arrived);
            if begin > self.arrived {
                self.run = begin;
            }
            self.arrived = bytes.len();
        }
        // An address does not begin with a sign.
        while self.run < bytes.len() && bytes.get(self.run).is_some_and(|&b| !words::begins_address(b)) {
            self.run += 1;
        }
        let limit = self.run.max(self.floor).max(bytes.len().saturating_sub(LOCAL_PART));
        limit + usize::from(matches!(bytes.get(limit), Some(0x80..=0xBF)))
    }

    /// The first place from `at` on where an address begins, of those whose `@` has arrived.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        loop {
            if let Some((start, _)) = self.next.filter(|&(start, _)| start >= at) {
                return Some(start);
            }
            let from = self.searched.max(at);
            let ahead = bytes.get(from..).unwrap_or_default();
            // A piece of a stream is a few bytes.
            let found = if ahead.len() < 16 { ahead.iter().position(|&b| b == b'@') } else { memchr::memchr(b'@', ahead) };
            let Some(sign) = found.map(|n| from + n) else {
                (self.next, self.searched) = (None, bytes.len());
                return None;
            };
            self.searched = sign + 1;
            let begin = run_start(bytes, sign, self.floor.max(sign.saturating_sub(LOCAL_PART)));
            self.next = address_start(bytes, begin, sign).map(|start| (start, sign));
        }
    }

    /// The address that begins at a place [`Addresses::next`] gave.
    pub fn at(&self, input: &Input<'_>, at: usize) -> Found {
        match self.next {
            Some((start, sign)) if start == at => words::email(input, sign),
            _ => Ok(None),
        }
    }

    /// Everything before `floor` is decided: no address begins there any more.
    pub fn decide(&mut self, floor: usize) {
        (self.floor, self.searched, self.next) = (floor, floor, None);
    }

    /// The first `bytes` of the buffer are gone, all of them decided.
    pub fn forget(&mut self, bytes: usize) {
        for offset in [&mut self.floor, &mut self.searched, &mut self.run, &mut self.arrived] {
            *offset = offset.saturating_sub(bytes);
        }
        self.next = self.next.map(|(start, sign)| (start.saturating_sub(bytes), sign.saturating_sub(bytes)));
    }
}

/// Where the local-part bytes that end at `end` begin, looked for no further than `floor`.
fn run_start(bytes: &[u8], end: usize, floor: usize) -> usize {
    let mut at = end;
    while at > floor {
        match bytes.get(at - 1) {
            Some(0x80..=0xBF) if at > floor + 1 && bytes.get(at - 2).is_some_and(|b| (0xC3..=0xC9).contains(b)) => at -= 2,
            Some(&b) if b < 0x80 && screen::local(b) => at -= 1,
            _ => break,
        }
    }
    at
}
