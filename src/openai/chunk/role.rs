//! The role that an answer opens with. Where one answer is made of two, the second opening must go: the SDKs join the roles of
//! a stream like text, and `assistantassistant` is no role.
//!
//! Only such answers ask, so the object is read once more instead of every chunk paying for it.

use super::{Choices, Chunk};
use crate::openai::cut::Cuts;
use crate::openai::edit::Splice;
use crate::openai::json::{JsonError, Kind, Literal, Reader};
use std::ops::Range;

impl Chunk<'_> {
    /// The splices of its JSON that take the `role` out of every choice's `delta`, each with one comma.
    pub fn without_role(&self) -> Vec<Splice> {
        let mut splices = Vec::new();
        let read = each_choice(self.json, |reader, key| {
            if key.decode() != "delta" || reader.kind()? != Kind::Object {
                return reader.skip().map(drop);
            }
            let mut cuts = Cuts::default();
            reader.enter_object()?;
            while let Some(key) = reader.next_key()? {
                let member = key.quoted().start..reader.skip()?.end;
                if key.decode() == "role" { cuts.drop(member) } else { cuts.keep(member) }
            }
            splices.append(&mut cuts.finish());
            Ok(())
        });
        if read.is_ok() { splices } else { Vec::new() }
    }

    /// Whether it opens choices and does nothing else: no text, no call, no end, no usage.
    pub fn is_role_only(&self) -> bool {
        if self.choices != Choices::Some || self.usage.is_some() || self.error {
            return false;
        }
        let (mut opens, mut only) = (false, true);
        let read = each_choice(self.json, |reader, key| {
            if key.decode() != "delta" || reader.kind()? != Kind::Object {
                let value = reader.skip()?;
                only &= key.decode() == "index" || self.is_blank(value);
                return Ok(());
            }
            reader.enter_object()?;
            while let Some(key) = reader.next_key()? {
                let (role, value) = (key.decode() == "role", reader.skip()?);
                opens |= role;
                only &= role || self.is_blank(value);
            }
            Ok(())
        });
        read.is_ok() && opens && only
    }

    /// Whether a value holds nothing: null, or an empty string, array or object.
    fn is_blank(&self, value: Range<usize>) -> bool {
        let source = self.json.get(value).unwrap_or_default();
        let inside = source.strip_prefix(['[', '{']).and_then(|rest| rest.strip_suffix([']', '}']));
        matches!(source, "null" | "\"\"") || inside.is_some_and(|inside| inside.trim_ascii().is_empty())
    }
}

/// Shows `member` every member of every choice that is an object; it takes the value.
fn each_choice<'a>(
    json: &'a str,
    mut member: impl FnMut(&mut Reader<'a>, Literal<'a>) -> Result<(), JsonError>,
) -> Result<(), JsonError> {
    let mut reader = Reader::new(json);
    reader.enter_object()?;
    while let Some(key) = reader.next_key()? {
        if key.decode() != "choices" || reader.kind()? != Kind::Array {
            reader.skip()?;
            continue;
        }
        reader.enter_array()?;
        while reader.next_element()? {
            if reader.kind()? != Kind::Object {
                reader.skip()?;
                continue;
            }
            reader.enter_object()?;
            while let Some(key) = reader.next_key()? {
                member(&mut reader, key)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
