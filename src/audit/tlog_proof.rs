//! A proof in a file (C2SP `tlog-proof`): that one record is in the log, for someone who has the record and the log's key only.
//!
//! ```text
//! c2sp.org/tlog-proof@v1
//! index 19969
//! gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=        siblings, from the leaf's to the one below the root
//! B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=
//!                                                     an empty line, then the signed checkpoint as it is
//! kt/edge-7
//! 70000
//! sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=
//!
//! — kt/edge-7 hI2DJw...
//! ```
//!
//! The format allows a line of extra data after the first. Nothing vouches for it, so it is read over and never written.

use super::merkle::{self, Hash, Nodes, ProofError};
use super::note::{self, Checkpoint, NoteError, Verifier, decimal, hash_from_base64};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use std::fmt;

/// The longest proof read, in bytes: the longest note, 63 hashes, and as much again of extra data.
pub const MAX_PROOF: usize = 2 * note::MAX_NOTE;
const FIRST_LINE: &str = "c2sp.org/tlog-proof@v1";
/// A tree of 2^62 records is 62 hashes high.
const MAX_HASHES: usize = 62;

/// A proof that is not what it should be, or does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TlogProofError {
    /// Beyond [`MAX_PROOF`].
    #[error("the proof is too long")]
    TooLong,
    /// Not in the format.
    #[error("not a tlog-proof: it is `{FIRST_LINE}`, `index N`, base64 hashes, an empty line and a signed checkpoint")]
    Form,
    /// The checkpoint is not signed by the log.
    #[error(transparent)]
    Checkpoint(#[from] NoteError),
    /// The record is not where the proof says.
    #[error("record {index}: {source}")]
    Inclusion {
        /// Where it should be.
        index: u64,
        /// What the hashes show.
        source: ProofError,
    },
}

/// That a record is at a place in a signed log. Only [`TlogProof::verify`] says whether it is true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlogProof {
    index: u64,
    hashes: Vec<Hash>,
    note: String,
}

impl TlogProof {
    /// The proof for a record of the tree that a signed checkpoint is of; `None` when the record is beyond it.
    ///
    /// # Errors
    /// What [`Nodes::node`] says.
    pub fn make<N: Nodes>(nodes: &N, index: u64, size: u64, note: &str) -> Result<Option<TlogProof>, N::Error> {
        if index >= size {
            return Ok(None);
        }
        Ok(Some(TlogProof { index, hashes: merkle::inclusion_proof(nodes, index, size)?, note: note.to_string() }))
    }

    /// Reads the format.
    ///
    /// # Errors
    /// [`TlogProofError::TooLong`] and [`TlogProofError::Form`].
    pub fn parse(text: &str) -> Result<TlogProof, TlogProofError> {
        if text.len() > MAX_PROOF {
            return Err(TlogProofError::TooLong);
        }
        TlogProof::read(text).ok_or(TlogProofError::Form)
    }

    fn read(text: &str) -> Option<TlogProof> {
        let (head, note) = text.split_once("\n\n")?;
        let mut lines = head.split('\n').peekable();
        lines.next_if_eq(&FIRST_LINE)?;
        if let Some(extra) = lines.peek().and_then(|line| line.strip_prefix("extra ")) {
            BASE64.decode(extra).ok()?;
            lines.next();
        }
        let index = decimal(lines.next()?.strip_prefix("index ")?)?;
        let hashes: Vec<Hash> = lines.map(hash_from_base64).collect::<Option<_>>()?;
        (hashes.len() <= MAX_HASHES).then(|| TlogProof { index, hashes, note: note.to_string() })
    }

    /// Where the record is said to be.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Checks that `entry` is the record at [`TlogProof::index`] of the log whose key this is, and says of which head.
    ///
    /// # Errors
    /// [`TlogProofError`] in every other case.
    pub fn verify(&self, entry: &[u8], verifier: &Verifier) -> Result<Checkpoint, TlogProofError> {
        let checkpoint = verifier.verify(&self.note)?;
        let leaf = merkle::leaf_hash(entry);
        merkle::verify_inclusion(&leaf, self.index, checkpoint.size, &self.hashes, &checkpoint.root)
            .map_err(|source| TlogProofError::Inclusion { index: self.index, source })?;
        Ok(checkpoint)
    }
}

/// The content of a `.tlog-proof` file.
impl fmt::Display for TlogProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{FIRST_LINE}\nindex {}", self.index)?;
        for hash in &self.hashes {
            writeln!(f, "{}", BASE64.encode(hash))?;
        }
        write!(f, "\n{}", self.note)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::merkle::{Frontier, leaf_hash, node_hash};
    use crate::audit::note::Signer;
    use proptest::prelude::*;
    use std::convert::Infallible;

    struct Tree;

    fn entry(index: u64) -> Vec<u8> {
        format!("record {index}").into_bytes()
    }

    impl Nodes for Tree {
        type Error = Infallible;

        fn node(&self, height: u32, index: u64) -> Result<Hash, Infallible> {
            match height {
                0 => Ok(leaf_hash(&entry(index))),
                _ => Ok(node_hash(&self.node(height - 1, 2 * index)?, &self.node(height - 1, 2 * index + 1)?)),
            }
        }
    }

    fn proof(index: u64, size: u64) -> (TlogProof, Verifier) {
        let mut tree = Frontier::new();
        (0..size).for_each(|index| tree.push(leaf_hash(&entry(index))));
        let signer = Signer::from_seed("kt/a", &[1; 32]).unwrap();
        let note = signer.sign(&Checkpoint { origin: "kt/a".into(), size, root: tree.root() });
        (TlogProof::make(&Tree, index, size, &note).unwrap().unwrap(), signer.verifier().clone())
    }

    #[test]
    fn extra_data_is_read_over_and_never_written() {
        let (proof, verifier) = proof(3, 9);
        let text = proof.to_string();
        let extended = text.replace("index", "extra AAAA\nindex");
        let read = TlogProof::parse(&extended).unwrap();
        assert_eq!(read.to_string(), text);
        assert!(read.verify(&entry(3), &verifier).is_ok());
    }

    #[test]
    fn a_proof_has_one_form() {
        let text = proof(3, 9).0.to_string();
        for wrong in [
            text.replace("@v1", "@v2"),
            text.replace("index 3", "index 03"),
            text.replace("index 3", "index -3"),
            text.replace("index 3", "extra !\nindex 3"),
            text.replace("index 3", "extra AAAA\nextra AAAA\nindex 3"),
            text.replace("index 3\n", ""),
            text.replace("\n\n", "\n"),
            text.replace("index 3\n", &format!("index 3\n{}", format!("{}\n", BASE64.encode([1; 32])).repeat(70))),
            text.replacen('=', "", 1),
        ] {
            assert_eq!(TlogProof::parse(&wrong), Err(TlogProofError::Form), "{wrong}");
        }
        assert_eq!(TlogProof::parse(&"a".repeat(MAX_PROOF + 1)), Err(TlogProofError::TooLong));
    }

    #[test]
    fn there_is_no_proof_for_a_record_that_is_not_there() {
        assert_eq!(TlogProof::make(&Tree, 9, 9, ""), Ok(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn a_proof_that_was_written_and_read_holds_for_its_record_and_for_no_other(
            size in 1..70_u64, at in any::<u64>(), other in 0..70_u64,
        ) {
            let index = at % size;
            let (proof, verifier) = proof(index, size);
            let read = TlogProof::parse(&proof.to_string()).unwrap();
            prop_assert_eq!(&read, &proof);
            prop_assert_eq!(read.verify(&entry(index), &verifier).map(|checkpoint| checkpoint.size), Ok(size));
            prop_assert_eq!(read.verify(&entry(other), &verifier).is_ok(), other == index);
        }

        #[test]
        fn a_proof_with_one_bit_changed_is_refused(at in any::<prop::sample::Index>(), bit in 0..8_u8) {
            let (proof, verifier) = proof(5, 11);
            let mut text = proof.to_string().into_bytes();
            let at = at.index(text.len());
            text[at] ^= 1 << bit;
            if let Ok(text) = String::from_utf8(text) {
                let verified = TlogProof::parse(&text).and_then(|proof| proof.verify(&entry(5), &verifier));
                prop_assert!(verified.is_err(), "{text}");
            }
        }
    }
}
