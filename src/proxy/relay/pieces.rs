//! Pieces of a body and how they are put together with as little copying as can be.

use crate::upstream::Failure;
use bytes::{Bytes, BytesMut};

/// Pieces of a body until it is whole; one piece is not copied.
#[derive(Default)]
pub(super) struct Gathered(Vec<Bytes>, u64);

impl Gathered {
    /// Takes the next piece.
    ///
    /// # Errors
    /// The body is longer than `cap`.
    pub(super) fn push(&mut self, piece: Option<Bytes>, cap: u64) -> Result<(), Failure> {
        let Some(piece) = piece.filter(|p| !p.is_empty()) else { return Ok(()) };
        self.1 += piece.len() as u64;
        if self.1 > cap {
            return Err(Failure::TooLarge);
        }
        self.0.push(piece);
        Ok(())
    }

    /// All of it.
    pub(super) fn into_bytes(self) -> Bytes {
        join(self.0)
    }
}

/// The events that leave with one piece, as few buffers as can be: neighbours within `piece` are one slice of it.
pub(super) fn concat(out: Vec<Bytes>, piece: &Bytes) -> Option<Bytes> {
    let base = piece.as_ptr() as usize;
    let mut parts: Vec<Bytes> = Vec::with_capacity(1);
    for next in out.into_iter().filter(|b| !b.is_empty()) {
        let at = (next.as_ptr() as usize).wrapping_sub(base);
        match parts.last_mut() {
            Some(last) if last.as_ptr() as usize + last.len() == next.as_ptr() as usize && at + next.len() <= piece.len() => {
                let from = (last.as_ptr() as usize).wrapping_sub(base);
                if from <= at {
                    *last = piece.slice(from..at + next.len());
                } else {
                    parts.push(next);
                }
            }
            _ => parts.push(next),
        }
    }
    (!parts.is_empty()).then(|| join(parts))
}

fn join(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() == 1 {
        return parts.pop().unwrap_or_default();
    }
    let mut all = BytesMut::with_capacity(parts.iter().map(Bytes::len).sum());
    parts.iter().for_each(|part| all.extend_from_slice(part));
    all.freeze()
}
