//! How far a long command is, on a terminal only, and only once it takes long.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

const EVERY: Duration = Duration::from_secs(1);

/// One line that is written over and over, and goes when it is done.
pub struct Progress<'a> {
    err: &'a mut dyn Write,
    what: String,
    total: u64,
    watched: bool,
    said: Instant,
    shown: bool,
}

impl<'a> Progress<'a> {
    /// Of a command that reads so many bytes.
    pub fn new(what: String, total: u64, err: &'a mut dyn Write) -> Progress<'a> {
        Progress { err, what, total, watched: io::stderr().is_terminal(), said: Instant::now(), shown: false }
    }

    /// So many are read.
    pub fn at(&mut self, bytes: u64) {
        if self.watched && self.said.elapsed() >= EVERY {
            self.said = Instant::now();
            self.shown = true;
            let _ = write!(self.err, "\r\x1b[K{}", line(&self.what, bytes, self.total));
            let _ = self.err.flush();
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        if self.shown {
            let _ = write!(self.err, "\r\x1b[K");
            let _ = self.err.flush();
        }
    }
}

fn line(what: &str, bytes: u64, total: u64) -> String {
    // A log grows while it is read.
    let percent = (bytes.min(total) as u128 * 100).checked_div(total.into()).unwrap_or(0);
    format!("{what}: {percent} % of {} MiB", total >> 20)
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn it_never_says_more_than_all() {
        assert_eq!(line("kt/a", 3 << 20, 4 << 20), "kt/a: 75 % of 4 MiB");
        assert_eq!(line("kt/a", 9 << 20, 4 << 20), "kt/a: 100 % of 4 MiB");
        assert_eq!(line("kt/a", 0, 0), "kt/a: 0 % of 0 MiB");
    }
}
