//! The texts of a prompt side by side, for an attack that is split over several of them.

use crate::openai::request::{Channel, Prompt, Role};
use std::ops::Range;

/// Of a longer text only its two ends, of half this many bytes, can meet a neighbour.
const MAX_PIECE: usize = 1024;
/// Memory beyond this many bytes is given back after a prompt.
const KEEP: usize = 1 << 18;

/// The contents somebody other than the operator or the model wrote, joined: what any one rule reaches over, and no more.
#[derive(Debug, Default)]
pub struct Conversation {
    text: String,
    pieces: Vec<Piece>,
}

/// A part of one text, and where it stands in the joined one.
#[derive(Debug)]
struct Piece {
    joined: Range<usize>,
    /// Index into [`Prompt::texts`].
    text: usize,
    /// Where the piece begins in that text.
    from: usize,
}

impl Conversation {
    /// Joins the texts in the place of what was joined before; false when there are not two to join.
    pub fn join(&mut self, prompt: &Prompt<'_>) -> bool {
        self.text.clear();
        self.pieces.clear();
        for (index, text) in prompt.texts.iter().enumerate() {
            if !matches!(text.role, Role::User | Role::Tool) || text.channel != Channel::Content || text.text.is_empty() {
                continue;
            }
            let all = text.text.as_ref();
            if all.len() <= MAX_PIECE {
                self.push(all, index, 0);
            } else {
                self.push(&all[..all.floor_char_boundary(MAX_PIECE / 2)], index, 0);
                // The middle is left out: nothing may reach over it.
                self.text.push_str("\n\n…\n\n…\n\n…\n\n");
                let tail = all.ceil_char_boundary(all.len() - MAX_PIECE / 2);
                self.push(&all[tail..], index, tail);
            }
        }
        self.pieces.iter().zip(self.pieces.iter().skip(1)).any(|(a, b)| a.text != b.text)
    }

    /// Gives back what only a long conversation needed.
    pub fn forget(&mut self) {
        self.text.clear();
        self.pieces.clear();
        if self.text.capacity() > KEEP || self.pieces.capacity() > KEEP / size_of::<Piece>() {
            *self = Self::default();
        }
    }

    /// The joined text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first text of a match that lies in two or more texts, and the part of the match in it.
    pub fn across(&self, range: &Range<usize>) -> Option<(usize, Range<usize>)> {
        let mut touched = self.pieces.iter().filter(|piece| piece.joined.start < range.end && range.start < piece.joined.end);
        let first = touched.next()?;
        touched.find(|piece| piece.text != first.text)?;
        let from = |offset: usize| first.from + offset.clamp(first.joined.start, first.joined.end) - first.joined.start;
        Some((first.text, from(range.start)..from(range.end)))
    }

    fn push(&mut self, part: &str, text: usize, from: usize) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(part);
        self.pieces.push(Piece { joined: start..self.text.len(), text, from });
    }
}
