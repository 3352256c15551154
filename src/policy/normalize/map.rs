//! Where each byte of a rewritten text came from, because a finding must name the caller's bytes, not ours.

use std::ops::Range;

/// Set in [`Anchor::src`] when the bytes from here on are copies, one for one. The rest of the word is the offset.
const COPY: u32 = 1 << 31;

/// From output offset `out` on, bytes come from source offset `src`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Anchor {
    out: u32,
    src: u32,
}

/// Output offset to source offset, both growing: one anchor per change, so a text that was only lowercased has one.
///
/// Offsets are kept in 31 bits; [`MAX_TEXT`] is what a caller may hand over.
#[derive(Debug, Default, Clone)]
pub struct OffsetMap {
    anchors: Vec<Anchor>,
    source_len: usize,
}

/// Longest text a map can describe, in bytes. Bodies are refused long before.
pub const MAX_TEXT: usize = COPY as usize - 1;

impl OffsetMap {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        self.anchors.clear();
        self.source_len = 0;
    }

    /// The bytes from `out` on are copies of those from `src` on.
    pub fn copy(&mut self, out: usize, src: usize) {
        let (out, src) = (out as u32, src as u32);
        if let Some(last) = self.anchors.last()
            && last.src & COPY != 0
            && (last.src & !COPY) + (out - last.out) == src
        {
            return;
        }
        self.push(Anchor { out, src: src | COPY });
    }

    /// The bytes from `out` up to the next call stand, as a whole, for the source from `src` up to the next call's.
    pub fn unit(&mut self, out: usize, src: usize) {
        self.push(Anchor { out: out as u32, src: src as u32 });
    }

    /// The source is over.
    pub fn finish(&mut self, source_len: usize) {
        self.source_len = source_len;
    }

    /// The source range that produced `range` of the output: whole units, on character boundaries if `range` is.
    pub fn source(&self, range: Range<usize>) -> Range<usize> {
        let start = self.source_start(range.start);
        let end = match range.end.checked_sub(1).and_then(|last| self.at(last)) {
            Some((_, anchor)) if anchor.src & COPY != 0 => (anchor.src & !COPY) as usize + range.end - anchor.out as usize,
            Some((index, _)) => self.anchors.get(index + 1).map_or(self.source_len, |next| (next.src & !COPY) as usize),
            None => start,
        };
        let start = start.min(self.source_len);
        start..end.clamp(start, self.source_len)
    }

    /// The source offset of the unit or copied byte at `out`; right also before [`OffsetMap::finish`].
    pub fn source_start(&self, out: usize) -> usize {
        match self.at(out) {
            Some((_, anchor)) if anchor.src & COPY != 0 => (anchor.src & !COPY) as usize + out - anchor.out as usize,
            Some((_, anchor)) => anchor.src as usize,
            None => 0,
        }
    }

    /// Bytes held.
    pub fn memory(&self) -> usize {
        self.anchors.capacity() * size_of::<Anchor>()
    }

    /// How many anchors it took.
    #[cfg(test)]
    pub fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn at(&self, out: usize) -> Option<(usize, Anchor)> {
        let index = self.anchors.partition_point(|anchor| anchor.out as usize <= out).checked_sub(1)?;
        self.anchors.get(index).map(|anchor| (index, *anchor))
    }

    fn push(&mut self, anchor: Anchor) {
        match self.anchors.last_mut() {
            // What the previous anchor announced produced nothing.
            Some(last) if last.out == anchor.out => *last = anchor,
            _ => self.anchors.push(anchor),
        }
    }
}
