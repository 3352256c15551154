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
