//! Encrypts bodies to the auditors' keys, in the format of age: who writes them cannot read them back.

use super::super::record::Omission;
use super::{Body, Budget, Form};
use age::x25519::{Identity, Recipient};
use std::io::{self, Read, Write};

/// What is kept of bodies.
#[derive(Debug, Default)]
pub enum Keep {
    /// Nothing: commitments alone.
    #[default]
    Nothing,
    /// The text, without what policies took out.
    Redacted,
    /// All of it, for the holders of these keys.
    Encrypted(Vec<Recipient>),
}

impl Keep {
    /// The form of what is kept.
    pub fn form(&self) -> Form {
        if let Keep::Encrypted(_) = self { Form::Encrypted } else { Form::Redacted }
    }

    /// Whether bodies are kept at all.
    pub fn keeps(&self) -> bool {
        !matches!(self, Keep::Nothing)
    }
}

impl Budget {
    /// The body as an age file to these keys.
    ///
    /// # Errors
    /// No memory is left for it, or there is no key.
    pub fn sealed(&self, body: &[u8], to: &[Recipient]) -> Result<Body, Omission> {
        let mut sealed = self.body();
        let recipients = to.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(|_| Omission::Unencrypted)?;
        let write = || {
            let mut writer = encryptor.wrap_output(&mut sealed)?;
            writer.write_all(body)?;
            writer.finish().map(drop)
        };
        write().map_err(|_: io::Error| Omission::Busy)?;
        Ok(sealed)
    }
}

impl Write for Body {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        if self.push(piece) { Ok(piece.len()) } else { Err(io::ErrorKind::OutOfMemory.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Decrypts what [`Budget::sealed`] made, with any of these identities.
///
/// # Errors
/// It is encrypted to none of them, or was changed.
pub fn unsealed(body: &[u8], identities: &[Identity]) -> Result<Vec<u8>, age::DecryptError> {
    let identities = identities.iter().map(|identity| identity as &dyn age::Identity);
    let mut plain = Vec::new();
    age::Decryptor::new(body)?.decrypt(identities)?.read_to_end(&mut plain)?;
    Ok(plain)
}
