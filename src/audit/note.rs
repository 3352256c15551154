//! Signed notes and checkpoints (C2SP `signed-note` and `tlog-checkpoint`): what makes a root a promise of this gateway.
//!
//! ```text
//! kt/edge-7                                       the origin: whose log
//! 70000                                           its size
//! 2Rk0...=                                        its root, base64
//!                                                 an empty line, then one line a signature
//! — kt/edge-7 Az3grlgt...=                        name, base64(key id (4) || Ed25519 signature (64))
//! ```
//!
//! The text up to and with the newline before the empty line is what is signed. Signatures of other keys (witnesses, a key that
//! replaces ours) are passed over; ours must be there and every one of ours must verify.

mod key;
#[cfg(test)]
mod tests;

pub use key::{KeyError, Signer};

use super::merkle::Hash;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest, Sha256};
use std::fmt;

/// The longest note read, in bytes: room for a checkpoint with dozens of witnesses.
pub const MAX_NOTE: usize = 64 * 1024;
/// The type byte of Ed25519 in key ids and verifier keys.
const ED25519_TYPE: u8 = 1;

/// The head of a log: what a signature of the log promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whose log; the name of the key that signs it.
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Root of the tree of that size.
    pub root: Hash,
}

impl Checkpoint {
    /// Reads the text of a note. Lines beyond the third are extensions, which hold nothing for us; they may not be empty.
    ///
    /// # Errors
    /// [`NoteError::Checkpoint`] on any other form.
    pub fn parse(text: &str) -> Result<Checkpoint, NoteError> {
        Checkpoint::read(text).ok_or(NoteError::Checkpoint)
    }

    fn read(text: &str) -> Option<Checkpoint> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let origin = lines.next().filter(|origin| !origin.is_empty())?.to_string();
        let size = decimal(lines.next()?)?;
        let root = hash_from_base64(lines.next()?)?;
        lines.all(|line| !line.is_empty()).then_some(Checkpoint { origin, size, root })
    }
}

/// The text that is signed, newline at the end.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n{}\n{}", self.origin, self.size, BASE64.encode(self.root))
    }
}

/// A note, a checkpoint or a verifier key is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not a verifier key of an Ed25519 key.
    #[error("not a verifier key: it reads `name+hash+base64` and is of an Ed25519 key")]
    VerifierKey,
    /// A key cannot have this name.
    #[error("a key's name has at least one character, and no space, `+` or control character")]
    Name,
    /// Beyond [`MAX_NOTE`].
    #[error("the note is too long")]
    TooLong,
    /// Not text, an empty line and signature lines.
    #[error("not a signed note: it is text, an empty line, and lines of `— name base64`")]
    Form,
    /// No signature by the key asked for.
    #[error("the note is not signed by this key")]
    Unsigned,
    /// A signature under the key's name and id that the key did not make.
    #[error("the signature does not verify")]
    Signature,
    /// The text is not a checkpoint.
    #[error("not a checkpoint: it is an origin, a size and a base64 root, each on a line")]
    Checkpoint,
    /// A checkpoint of another log, signed with this key.
    #[error("the checkpoint is of another log than the key")]
    Origin,
}

/// The public half of a log's key: its name and 32 bytes, written `name+hash+base64` (a "vkey").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    id: [u8; 4],
    public: [u8; 32],
}

impl Verifier {
    /// Reads the form `name+hash+base64(0x01 || key)`.
    ///
    /// # Errors
    /// [`NoteError::VerifierKey`] on anything else, also when the hash is not that of the name and the key.
    pub fn parse(vkey: &str) -> Result<Verifier, NoteError> {
        Verifier::read(vkey).ok_or(NoteError::VerifierKey)
    }

    fn read(vkey: &str) -> Option<Verifier> {
        let mut parts = vkey.splitn(3, '+');
        let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
        let key = BASE64.decode(key).ok()?;
        let (kind, public) = key.split_first()?;
        let verifier = Verifier::new(name, public.try_into().ok()?).ok()?;
        (*kind == ED25519_TYPE && hex::decode(id).ok()? == verifier.id).then_some(verifier)
    }

    fn new(name: &str, public: [u8; 32]) -> Result<Verifier, NoteError> {
        if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control() || c == '+') {
            return Err(NoteError::Name);
        }
        let hash = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public).finalize();
        let mut id = [0; 4];
        id.copy_from_slice(&hash[..4]);
        Ok(Verifier { name: name.to_string(), id, public })
    }

    /// The key's name, which is the log's origin.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a checkpoint that this key signed.
    ///
    /// # Errors
    /// [`NoteError`] unless the form is exact, the key signed it, every signature in the key's name verifies, and the checkpoint
    /// is of the log the key is named after.
    pub fn verify(&self, note: &str) -> Result<Checkpoint, NoteError> {
        let (text, signatures) = split(note)?;
        let mut signed = false;
        for line in signatures {
            let (name, id, signature) = signature_line(line).ok_or(NoteError::Form)?;
            if name == self.name && id == self.id {
                let key = UnparsedPublicKey::new(&ED25519, &self.public);
                key.verify(text.as_bytes(), &signature).map_err(|_| NoteError::Signature)?;
                // A note has one form: a second one of ours adds nothing.
                if std::mem::replace(&mut signed, true) {
                    return Err(NoteError::Form);
                }
            }
        }
        if !signed {
            return Err(NoteError::Unsigned);
        }
        let checkpoint = Checkpoint::parse(text)?;
        if checkpoint.origin == self.name { Ok(checkpoint) } else { Err(NoteError::Origin) }
    }

    /// The note of a text and this key's signature of it.
    fn note(&self, text: &str, signature: &[u8]) -> String {
        format!("{text}\n— {} {}\n", self.name, BASE64.encode([&self.id, signature].concat()))
    }
}

/// The form that [`Verifier::parse`] reads.
impl fmt::Display for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [&[ED25519_TYPE], &self.public[..]].concat();
        write!(f, "{}+{}+{}", self.name, hex::encode(self.id), BASE64.encode(key))
    }
}

/// The signed text and the signature lines of a note.
fn split(note: &str) -> Result<(&str, impl Iterator<Item = &str>), NoteError> {
    if note.len() > MAX_NOTE {
        return Err(NoteError::TooLong);
    }
    let body = note.strip_suffix('\n').ok_or(NoteError::Form)?;
    // The last empty line ends the text: a text may hold empty lines, signatures cannot.
    let (text, signatures) = body.rsplit_once("\n\n").ok_or(NoteError::Form)?;
    if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
        return Err(NoteError::Form);
    }
    Ok((&note[..text.len() + 1], signatures.split('\n')))
}

/// Name, key id and signature of one line.
fn signature_line(line: &str) -> Option<(&str, [u8; 4], Vec<u8>)> {
    let (name, signature) = line.strip_prefix("— ")?.split_once(' ')?;
    let signature = BASE64.decode(signature).ok()?;
    let (id, signature) = signature.split_first_chunk::<4>()?;
    (!name.is_empty() && !signature.is_empty()).then(|| (name, *id, signature.to_vec()))
}

/// A number as the formats write it: digits, no sign, no leading zero.
pub(super) fn decimal(digits: &str) -> Option<u64> {
    let canonical = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    canonical.then(|| digits.parse().ok())?
}

/// A hash as the formats write it: base64 with padding, nothing else.
pub(super) fn hash_from_base64(line: &str) -> Option<Hash> {
    BASE64.decode(line).ok()?.try_into().ok()
}
