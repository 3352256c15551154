//! Lines of bounded length, so that one endless line costs its own answer and nothing else.

use std::io::{self, BufRead, BufReader, Read};

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 16 << 20;

/// One line.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Its bytes, without the line feed.
    Whole(&'a [u8]),
    /// It was longer than the bound, and skipped.
    TooLong,
}

/// The lines of an input.
pub struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    bound: usize,
}

impl<R: Read> Lines<R> {
    /// Lines of at most `bound` bytes.
    pub fn new(input: R, bound: usize) -> Self {
        Self { input: BufReader::with_capacity(1 << 16, input), line: Vec::new(), bound }
    }

    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// The input cannot be read.
    pub fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let most = self.bound as u64 + 1;
        if (&mut self.input).take(most).read_until(b'\n', &mut self.line)? == 0 {
            return Ok(None);
        }
        if self.line.last() == Some(&b'\n') {
            self.line.pop();
        } else if self.line.len() > self.bound {
            self.input.skip_until(b'\n')?;
            self.line = Vec::new();
            return Ok(Some(Line::TooLong));
        }
        Ok(Some(Line::Whole(&self.line)))
    }

    /// Whether reading on may wait for whoever writes: the moment to hand over what is ready.
    pub fn may_wait(&self) -> bool {
        memchr::memchr(b'\n', self.input.buffer()).is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, bound: usize) -> Vec<Option<String>> {
        let mut lines = Lines::new(text.as_bytes(), bound);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push(match line {
                Line::Whole(bytes) => Some(String::from_utf8(bytes.to_vec()).unwrap()),
                Line::TooLong => None,
            });
        }
        found
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_whole() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(lines("abc\nabcd\nab\n", 3), [some("abc"), None, some("ab")]);
        assert_eq!(lines("abcd", 3), [None]);
        assert_eq!(lines("\n\nabc", 3), [some(""), some(""), some("abc")]);
        assert_eq!(lines("", 3), []);
    }
}
