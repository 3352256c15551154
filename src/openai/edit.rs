//! Edits a JSON body by splicing bytes, so that everything untouched stays identical to what the caller sent.

use bytes::Bytes;
use std::ops::Range;

/// One replaced byte range of a body (an empty range inserts).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// Byte range in the original body.
    pub range: Range<usize>,
    /// JSON source that takes its place.
    pub with: Bytes,
}

impl Splice {
    /// Puts `with` in the place of `range`.
    pub fn new(range: Range<usize>, with: impl Into<Bytes>) -> Self {
        Self { range, with: with.into() }
    }
}

/// The body with every splice done: the very same `Bytes` when there is none.
///
/// Splices may come in any order. Where two overlap, the one that begins first wins (the one given first, when they begin
/// together) and the other is dropped whole; insertions at one place all stay, in the order given. A splice that reaches beyond
/// the body is dropped.
pub fn apply(body: &Bytes, splices: Vec<Splice>) -> Bytes {
    if splices.is_empty() { body.clone() } else { rewrite(body, splices).into() }
}

/// [`apply`] for bytes that are not shared.
pub fn rewrite(source: &[u8], mut splices: Vec<Splice>) -> Vec<u8> {
    splices.sort_by_key(|splice| splice.range.start);
    let mut done = 0;
    splices.retain(|splice| {
        let fits = done <= splice.range.start && splice.range.start <= splice.range.end && splice.range.end <= source.len();
        if fits {
            done = splice.range.end;
        }
        fits
    });
    let removed: usize = splices.iter().map(|splice| splice.range.len()).sum();
    let added: usize = splices.iter().map(|splice| splice.with.len()).sum();
    let mut edited = Vec::with_capacity(source.len() - removed + added);
    let mut copied = 0;
    for splice in &splices {
        edited.extend_from_slice(source.get(copied..splice.range.start).unwrap_or_default());
        edited.extend_from_slice(&splice.with);
        copied = splice.range.end;
    }
    edited.extend_from_slice(source.get(copied..).unwrap_or_default());
    edited
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edited(splices: &[(Range<usize>, &'static str)]) -> String {
        let splices = splices.iter().map(|(range, with)| Splice::new(range.clone(), *with)).collect();
        String::from_utf8(apply(&Bytes::from_static(b"0123456789"), splices).to_vec()).unwrap()
    }

    #[test]
    fn a_body_without_splices_is_the_very_same_bytes() {
        let body = Bytes::from(b"{}".to_vec());
        assert_eq!(apply(&body, vec![]).as_ptr(), body.as_ptr());
    }

    #[test]
    fn splices_are_done_in_body_order_and_the_first_of_an_overlap_wins() {
        assert_eq!(edited(&[(8..9, "B"), (1..3, "A")]), "0A34567B9");
        assert_eq!(edited(&[(1..5, "A"), (4..6, "B"), (5..6, "C")]), "0AC6789");
        assert_eq!(edited(&[(1..1, "A"), (1..1, "B"), (1..2, "C")]), "0ABC23456789");
        assert_eq!(edited(&[(9..11, "A"), (10..10, "B")]), "0123456789B");
    }

    proptest! {
        #[test]
        fn one_allocation_of_the_exact_size(splices in prop::collection::vec((0usize..60, 0usize..9, "[a-z]{0,5}"), 0..12)) {
            let splices = splices.into_iter().map(|(at, length, with)| Splice::new(at..at + length, with)).collect();
            let edited = rewrite(&[b'x'; 50], splices);
            prop_assert_eq!(edited.len(), edited.capacity());
        }
    }
}
