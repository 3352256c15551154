//! Finds the end of one unit in bytes that arrive in pieces, looking at each byte once.

use super::Data;

/// What is known of the unit that is arriving. Offsets count from its first byte.
#[derive(Debug, Default)]
pub(super) struct Block {
    /// The stream's first unit, which may begin with a byte order mark.
    first: bool,
    /// Where the line being read begins.
    line: usize,
    /// Where the line before it ended, its line end excluded.
    previous: usize,
    /// No line end from `line` to here.
    scanned: usize,
    /// A line that is neither comment nor blank has been read, so a blank line must follow.
    open: bool,
    /// The previous line ended in a bare CR.
    bare_cr: bool,
    data: Option<Data>,
}

impl Block {
    pub(super) fn first() -> Self {
        Self { first: true, ..Self::default() }
    }

    /// Reads on in `unit`, which holds everything since the unit began, and gives its length once it is complete. `next` is the
    /// byte after `unit`, when known.
    pub(super) fn scan(&mut self, unit: &[u8], next: Option<u8>) -> Option<usize> {
        loop {
            let rest = unit.get(self.scanned..).unwrap_or_default();
            let Some(length) = memchr::memchr2(b'\n', b'\r', rest) else {
                self.scanned = unit.len();
                return None;
            };
            let end = self.scanned + length;
            self.scanned = end;
            let after = if unit.get(end) == Some(&b'\n') {
                self.bare_cr = false;
                end + 1
            } else if self.bare_cr && end == self.line {
                // `\r\r`: the unit is over. Should an LF follow, it is read as one more blank line, which means nothing.
                end + 1
            } else {
                match unit.get(end + 1).copied().or(next) {
                    // The LF belongs to this line end, but has not been taken yet.
                    Some(b'\n') if end + 1 == unit.len() => return None,
                    Some(b'\n') => {
                        self.bare_cr = false;
                        end + 2
                    }
                    Some(_) => {
                        self.bare_cr = true;
                        end + 1
                    }
                    None => return None,
                }
            };
            let complete = self.take_line(unit, end);
            self.previous = end;
            self.line = after;
            self.scanned = after;
            if complete {
                return Some(after);
            }
        }
    }

    /// The stream ended inside this unit: its last line counts, though nothing ends it.
    pub(super) fn end(&mut self, unit: &[u8]) {
        let end = if unit.ends_with(b"\r") { unit.len() - 1 } else { unit.len() };
        if end >= self.line {
            self.take_line(unit, end);
        }
    }

    /// The payload of the unit that is complete; ready for the next one.
    pub(super) fn take_data(&mut self) -> Option<Data> {
        std::mem::take(self).data
    }

    /// Takes the line up to `end`; whether the unit is complete with it.
    fn take_line(&mut self, unit: &[u8], end: usize) -> bool {
        let mut start = self.line;
        let mut line = unit.get(start..end).unwrap_or_default();
        if self.first && start == 0 && line.starts_with(b"\xef\xbb\xbf") {
            line = line.get(3..).unwrap_or_default();
            start = 3;
        }
        if line.is_empty() {
            return true;
        }
        if line.starts_with(b":") {
            return !self.open;
        }
        self.open = true;
        let value = match line.strip_prefix(b"data") {
            Some(b"") => end..end,
            Some([b':', b' ', ..]) => start + 6..end,
            Some([b':', ..]) => start + 5..end,
            _ => return false,
        };
        match &mut self.data {
            None => self.data = Some(Data { value, more: Vec::new() }),
            Some(data) => data.more.push((self.previous..end, value)),
        }
        false
    }
}
