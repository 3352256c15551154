//! Records in a file: one after the other, each after its length in two bytes, big endian.

/// The most bytes a bundle can have: 256 records of 65,535 bytes.
pub const MAX_BUNDLE: usize = super::WIDTH * (2 + u16::MAX as usize);

/// A record that the format has no room for: over 65,535 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of {0} bytes is over the 65535 that the format allows")]
pub struct TooLong(pub usize);

/// Bytes that end in the middle of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the bundle ends in the middle of a record")]
pub struct CutOff;

/// Appends a record.
///
/// # Errors
/// [`TooLong`]; nothing is appended then.
pub fn put(bundle: &mut Vec<u8>, entry: &[u8]) -> Result<(), TooLong> {
    let length = u16::try_from(entry.len()).map_err(|_| TooLong(entry.len()))?;
    bundle.extend_from_slice(&length.to_be_bytes());
    bundle.extend_from_slice(entry);
    Ok(())
}

/// The records of a bundle, in order. Ends after an error.
pub fn entries(bundle: &[u8]) -> Entries<'_> {
    Entries { rest: bundle }
}

/// Iterator of [`entries`].
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<&'a [u8], CutOff>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let split =
            self.rest.split_first_chunk().and_then(|(length, rest)| rest.split_at_checked(u16::from_be_bytes(*length).into()));
        let (entry, rest) = split.map_or((Err(CutOff), &[][..]), |(entry, rest)| (Ok(entry), rest));
        self.rest = rest;
        Some(entry)
    }
}
