//! Where e-mail addresses may begin. The `@` tells: what stands before it is read backwards, once, and the rest of the text is
//! not looked at for their sake. While a text still arrives, an `@` may follow its last word, which is therefore held back.

use super::bytes;
use super::matching::{Found, Input};
use super::words::{self, LOCAL_PART, address_start};

/// What is known of the `@`s of a text. Offsets are those of the buffer.
#[derive(Debug, Clone, Default)]
pub(super) struct Addresses {
    /// No address begins before this: it is decided.
    floor: usize,
    /// No `@` stands before this but those that are done with, and the next.
    searched: usize,
    /// Where the next address may begin, and its `@`.
    next: Option<(usize, usize)>,
    /// The last `@` whose address was passed: the rest of what stands before it may be one yet.
    passed: usize,
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
            // An address does not begin with a sign.
            while bytes.get(self.run).is_some_and(|&b| !words::begins_address(b)) {
                self.run += 1;
            }
        }
        let limit = self.run.max(self.floor);
        match bytes.len().checked_sub(LOCAL_PART) {
            Some(held) if held > limit => held + usize::from(matches!(bytes.get(held), Some(0x80..=0xBF))),
            _ => limit,
        }
    }

    /// The first place from `at` on where an address begins, of those whose `@` has arrived.
    #[inline]
    pub fn next(&mut self, bytes: &[u8], at: usize) -> Option<usize> {
        loop {
            if let Some((start, _)) = self.next.filter(|&(start, _)| start >= at) {
                return Some(start);
            }
            if let Some((_, sign)) = self.next.take() {
                self.passed = sign;
            }
            let Some(sign) = bytes::find(bytes, b'@', self.searched.max(at)) else {
                self.searched = bytes.len();
                return None;
            };
            self.searched = sign + 1;
            if !sign.checked_sub(1).and_then(|i| bytes.get(i)).is_some_and(|&b| bytes::local(b) || b >= 0x80) {
                continue;
            }
            let begin = run_start(bytes, sign, self.floor.max(sign.saturating_sub(LOCAL_PART)));
            self.next = address_start(bytes, begin, sign).map(|start| (start, sign));
        }
    }

    /// Whether an address may begin at `at`, which [`Addresses::next`] has been asked about.
    pub fn begins(&self, at: usize) -> bool {
        self.next.is_some_and(|(start, _)| start == at)
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
        self.floor = floor;
        let known = [Some(self.passed), self.next.take().map(|(_, sign)| sign)];
        let again = known.into_iter().flatten().find(|&sign| sign >= floor);
        self.searched = again.unwrap_or(self.searched.max(floor));
    }

    /// The first `bytes` of the buffer are gone, all of them decided.
    pub fn forget(&mut self, bytes: usize) {
        for offset in [&mut self.floor, &mut self.searched, &mut self.passed, &mut self.run, &mut self.arrived] {
            *offset = offset.saturating_sub(bytes);
        }
        self.next = self.next.map(|(start, sign)| (start.saturating_sub(bytes), sign.saturating_sub(bytes)));
    }
}

/// Where the local-part bytes that end at `end` begin, looked for no further than `floor`.
fn run_start(bytes: &[u8], end: usize, floor: usize) -> usize {
    let mut at = end;
    loop {
        let run = bytes.get(floor..at).unwrap_or_default();
        at -= run.iter().rev().take_while(|&&b| bytes::local(b)).count();
        match bytes.get(floor..at) {
            Some([.., 0xC3..=0xC9, 0x80..=0xBF]) => at -= 2,
            _ => return at,
        }
    }
}
