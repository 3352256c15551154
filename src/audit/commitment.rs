//! What a record says of a body it does not hold: a salted commitment, which proves later which body it was and until then tells
//! nobody anything.
//!
//! `HMAC-SHA256(salt, body)` with a fresh random salt of 32 bytes. A bare hash of a short prompt could be guessed; without its salt
//! this cannot, so whoever deletes the salt, which lives in the [`vault`](super::vault), makes the record say nothing of the body any more.

use ring::hmac;
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::fmt;
use zeroize::Zeroize;

/// Bytes of a salt.
pub const SALT: usize = 32;

/// What opens a commitment. Not to be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Salt([u8; SALT]);

impl Salt {
    /// A fresh one; `None` when the system has no randomness to give.
    pub fn fresh() -> Option<Salt> {
        let mut bytes = [0; SALT];
        SystemRandom::new().fill(&mut bytes).ok()?;
        Salt::from_bytes(bytes)
    }

    /// One that was kept. `None` for zeros: those stand where a salt was erased.
    pub fn from_bytes(bytes: [u8; SALT]) -> Option<Salt> {
        (bytes != [0; SALT]).then_some(Salt(bytes))
    }

    /// Its bytes, for the vault.
    pub(super) fn bytes(&self) -> &[u8; SALT] {
        &self.0
    }

    /// Begins a commitment to a body.
    pub fn begin(self) -> Committing {
        Committing { context: hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &self.0)), salt: self, bytes: 0 }
    }

    /// Whether a record's commitment is one to this body.
    pub fn opens(&self, commitment: &Commitment, body: &[u8]) -> bool {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0);
        let claimed = hex::decode(&commitment.commit).unwrap_or_default();
        commitment.alg == Algorithm::HmacSha256 && hmac::verify(&key, body, &claimed).is_ok()
    }
}

impl Drop for Salt {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Salt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Salt(..)")
    }
}

/// A commitment to a body that is still passing: takes no memory and copies nothing.
pub struct Committing {
    context: hmac::Context,
    salt: Salt,
    bytes: u64,
}

impl Committing {
    /// Takes the next piece.
    pub fn update(&mut self, piece: &[u8]) {
        self.context.update(piece);
        self.bytes += piece.len() as u64;
    }

    /// Bytes taken so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The body is over.
    pub fn finish(self) -> Committed {
        let Committing { context, salt, bytes } = self;
        let commit = hex::encode(context.sign());
        Committed { commitment: Commitment { alg: Algorithm::HmacSha256, commit }, salt, bytes }
    }
}

/// A commitment and what opens it.
#[derive(Debug, Clone)]
pub struct Committed {
    /// For the record.
    pub commitment: Commitment,
    /// For the vault.
    pub salt: Salt,
    /// Bytes of the body.
    pub bytes: u64,
}

/// What a record says of a body.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commitment {
    /// How it was made.
    pub alg: Algorithm,
    /// The commitment, in hex.
    pub commit: String,
}

/// How a commitment is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// HMAC-SHA256 with the salt as its key.
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn salt(byte: u8) -> Salt {
        Salt([byte; SALT])
    }

    fn committed(salt: Salt, pieces: &[&[u8]]) -> Committed {
        let mut committing = salt.begin();
        pieces.iter().for_each(|piece| committing.update(piece));
        committing.finish()
    }

    #[test]
    fn it_is_the_hmac_of_rfc_4231_so_that_foreign_tools_can_check_it() {
        // Test case 3: a key of twenty 0xaa, fifty 0xdd. The key is padded with zeros either way, to the same 64 bytes.
        let mut key = [0; SALT];
        key[..20].fill(0xaa);
        let made = committed(Salt(key), &[&[0xdd; 50]]);
        assert_eq!(made.commitment.commit, "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe");
    }

    #[test]
    fn no_salt_is_shown_and_none_is_zero() {
        assert_eq!(format!("{:?}", salt(7)), "Salt(..)");
        assert_eq!(Salt::from_bytes([0; SALT]), None);
        assert_ne!(Salt::fresh(), Salt::fresh());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn it_opens_with_its_salt_and_its_body_alone(body: Vec<u8>, cut in 0usize..64, flip in 0usize..64) {
            let (a, b) = body.split_at(cut.min(body.len()));
            let whole = committed(salt(7), &[&body]).commitment;
            prop_assert_eq!(&whole, &committed(salt(7), &[a, &[], b]).commitment);
            prop_assert!(salt(7).opens(&whole, &body));
            prop_assert!(!salt(8).opens(&whole, &body));
            let mut other = body.clone();
            match other.get_mut(flip) {
                Some(byte) => *byte ^= 1,
                None => other.push(0),
            }
            prop_assert!(!salt(7).opens(&whole, &other));
        }
    }
}
