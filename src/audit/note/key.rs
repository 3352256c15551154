//! The private key of a log, and its file: PKCS#8 in PEM, which `openssl pkey` reads and writes.

use super::{BASE64, Checkpoint, NoteError, Verifier};
use base64::Engine as _;
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";
/// What stands before the 32 bytes of the key in the PKCS#8 document of an Ed25519 key (RFC 8410, section 7).
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// The longest key file read, in bytes.
const MAX_FILE: u64 = 8 * 1024;
/// Everyone but the owner.
const OTHERS: u32 = 0o077;

/// A log's private key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error("{}: others may read this private key (mode {mode:03o}); run `chmod 600` on it, or replace it", path.display())]
    Exposed {
        /// The key file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Not an Ed25519 key in PKCS#8 PEM.
    #[error("not an Ed25519 private key in PKCS#8 PEM; `openssl genpkey -algorithm ed25519` writes one")]
    Pem,
    /// The operating system has no randomness for a new key.
    #[error("the system has no randomness for a new key")]
    Randomness,
    /// The name cannot be a key's.
    #[error(transparent)]
    Name(#[from] NoteError),
}

/// The private key of a log. It signs, and it is never printed.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: Verifier,
}

impl Signer {
    /// Reads the key of `path`, or makes one there: mode 0600, on disk before it is used, and never over another key.
    /// `name` is the origin of the log.
    ///
    /// # Errors
    /// [`KeyError`]: an unreadable file, one that others may read, one that is no key, or a name no key may have.
    pub fn load_or_create(path: &Path, name: &str) -> Result<Signer, KeyError> {
        match Signer::load(path, name) {
            Err(KeyError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {}
            loaded => return loaded,
        }
        let mut seed = Zeroizing::new([0; 32]);
        SystemRandom::new().fill(&mut *seed).map_err(|_| KeyError::Randomness)?;
        // The name is judged before anything is written.
        Signer::from_seed(name, &seed)?;
        create(path, pem(&seed).as_bytes()).map_err(at(path))?;
        // Whoever else made a key at the same moment may have been first: the file is the truth.
        Signer::load(path, name)
    }

    /// Reads the key of `path`.
    ///
    /// # Errors
    /// As [`Signer::load_or_create`]; also when there is no file.
    pub fn load(path: &Path, name: &str) -> Result<Signer, KeyError> {
        let file = File::open(path).map_err(at(path))?;
        let mode = file.metadata().map_err(at(path))?.mode() & 0o777;
        if mode & OTHERS != 0 {
            return Err(KeyError::Exposed { path: path.to_path_buf(), mode });
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE as usize));
        file.take(MAX_FILE).read_to_string(&mut text).map_err(at(path))?;
        Signer::from_pem(name, &text)
    }

    /// A key that is kept elsewhere: the PEM text, as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// [`KeyError::Pem`] or [`KeyError::Name`].
    pub fn from_pem(name: &str, pem: &str) -> Result<Signer, KeyError> {
        let body = pem.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END)).ok_or(KeyError::Pem)?;
        let base64: Zeroizing<String> = Zeroizing::new(body.split_ascii_whitespace().collect());
        let der = Zeroizing::new(BASE64.decode(base64.as_bytes()).map_err(|_| KeyError::Pem)?);
        // OpenSSL's documents do not hold the public key, so there is nothing to check it against.
        Signer::of(name, Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der).map_err(|_| KeyError::Pem)?)
    }

    /// The key of 32 secret bytes (RFC 8032).
    ///
    /// # Errors
    /// [`KeyError::Name`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Signer, KeyError> {
        Signer::of(name, Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| KeyError::Pem)?)
    }

    fn of(name: &str, pair: Ed25519KeyPair) -> Result<Signer, KeyError> {
        let public = pair.public_key().as_ref().try_into().map_err(|_| KeyError::Pem)?;
        let verifier = Verifier::new(name, public)?;
        Ok(Signer { pair, verifier })
    }

    /// The public half, to be handed to whoever checks the log.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The signed note of the log's head. The checkpoint's origin must be the key's name, or no one will accept it.
    pub fn sign(&self, checkpoint: &Checkpoint) -> String {
        let text = checkpoint.to_string();
        let signature = self.pair.sign(text.as_bytes());
        self.verifier.note(&text, signature.as_ref())
    }
}

/// Names the key; the secret stays in.
impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier)
    }
}

/// The file of a key.
fn pem(seed: &[u8; 32]) -> Zeroizing<String> {
    let der = Zeroizing::new([&PKCS8_HEAD[..], seed].concat());
    let base64 = Zeroizing::new(BASE64.encode(&*der));
    Zeroizing::new(format!("{BEGIN}\n{}\n{END}\n", *base64))
}

/// Writes a new file that is whole or not there, readable by its owner only. One that is already there stays.
fn create(path: &Path, content: &[u8]) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let tmp = parent.join(name);
    match std::fs::remove_file(&tmp) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&tmp)?;
    file.write_all(content)?;
    file.sync_all()?;
    // A link, unlike a renaming, never takes the place of a key that was made meanwhile.
    let linked = std::fs::hard_link(&tmp, path);
    std::fs::remove_file(&tmp)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    File::open(parent)?.sync_all()
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> KeyError {
    let path = path.to_path_buf();
    move |source| KeyError::Io { path, source }
}
