//! Entries that travel together: consecutive, in order, byte for byte as they are in the log.

use crate::audit::origin::Origin;
use crate::audit::segment::MAX_ENTRY;

/// Bytes of an entry's length before it.
const LENGTH_BYTES: usize = 2;

/// Consecutive entries of one log, as the C2SP tile format writes them: each behind its length, a big-endian u16.
///
/// Bundles of consecutive entries put behind each other are again such a text, so a receiver joins and cuts them at will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// Whose log.
    pub origin: Origin,
    /// Index of the first entry.
    pub first: u64,
    bytes: Vec<u8>,
    count: u64,
}

impl Bundle {
    /// No entries yet; the first to come has index `first`.
    pub fn new(origin: &Origin, first: u64) -> Bundle {
        Bundle { origin: origin.clone(), first, bytes: Vec::new(), count: 0 }
    }

    /// Adds the next entry, which is no longer than [`MAX_ENTRY`].
    pub fn push(&mut self, entry: &[u8]) {
        debug_assert!(entry.len() <= MAX_ENTRY);
        self.bytes.extend_from_slice(&(entry.len() as u16).to_be_bytes());
        self.bytes.extend_from_slice(entry);
        self.count += 1;
    }

    /// Reads a bundle; `None` when the text does not end where its last entry does.
    pub fn parse(origin: &Origin, first: u64, bytes: Vec<u8>) -> Option<Bundle> {
        let (mut rest, mut count) = (bytes.as_slice(), 0);
        while !rest.is_empty() {
            rest = split(rest)?.1;
            count += 1;
        }
        Some(Bundle { origin: origin.clone(), first, bytes, count })
    }

    /// The entries, in order.
    pub fn entries(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (entry, behind) = split(rest)?;
            rest = behind;
            Some(entry)
        })
    }

    /// The text.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many entries.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Index behind the last entry.
    pub fn end(&self) -> u64 {
        self.first + self.count
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// First and last index, twenty digits each so that names sort as their entries do.
    pub fn name(&self) -> String {
        format!("{:020}-{:020}", self.first, self.end().saturating_sub(1))
    }

    /// What tells this bundle from every other one, of whatever log: the same entries always have the same.
    pub fn id(&self) -> String {
        format!("{}/{}", self.origin, self.name())
    }

    /// First and last index in a name that [`Bundle::name`] made.
    pub fn range(name: &str) -> Option<(u64, u64)> {
        let (first, last) = name.split_once('-')?;
        let index = |digits: &str| (digits.len() == 20).then(|| digits.parse::<u64>().ok()).flatten();
        let (first, last) = (index(first)?, index(last)?);
        (first <= last).then_some((first, last))
    }
}

/// An entry and what follows it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<LENGTH_BYTES>()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn origin() -> Origin {
        Origin::parse("kt/test").unwrap()
    }

    #[test]
    fn a_bundle_is_named_after_its_first_and_last_entry() {
        let mut bundle = Bundle::new(&origin(), 9);
        bundle.push(b"{}");
        bundle.push(b"{}");
        assert_eq!(bundle.id(), "kt/test/00000000000000000009-00000000000000000010");
        assert_eq!(Bundle::range(&bundle.name()), Some((9, 10)));
        for name in ["", "9-10", "00000000000000000010-00000000000000000009", "+0000000000000000009-00000000000000000010x"] {
            assert_eq!(Bundle::range(name), None, "{name}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_bundle_reads_back_and_one_that_is_cut_does_not(
            entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20), cut in 1usize..2,
        ) {
            let mut bundle = Bundle::new(&origin(), 3);
            entries.iter().for_each(|entry| bundle.push(entry));
            prop_assert_eq!(bundle.entries().collect::<Vec<_>>(), entries.iter().map(Vec::as_slice).collect::<Vec<_>>());
            prop_assert_eq!(Bundle::parse(&origin(), 3, bundle.bytes().to_vec()), Some(bundle.clone()));
            if let Some(shorter) = bundle.bytes().len().checked_sub(cut).filter(|_| !bundle.is_empty()) {
                prop_assert_eq!(Bundle::parse(&origin(), 3, bundle.bytes()[..shorter].to_vec()), None);
            }
        }
    }
}
