//! Who looks at a log, told to the log itself before they see anything.

use super::{Logs, refuse};
use crate::audit::inbox::{self, Access, Action};
use crate::audit::origin::Origin;
use crate::audit::when;
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

/// The most of a command line that is recorded, in bytes.
const MOST: usize = 4096;
/// What the kernel says of who has not logged in.
const NOBODY: u32 = u32::MAX;

/// Who runs a command, how they put it, and when.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The user of the operating system, and who logged in as whom before becoming it: `root(0), logged in as jane(1000)`.
    pub user: String,
    /// The command line, without the program.
    pub said: String,
    /// Now.
    pub now: SystemTime,
}

impl Caller {
    /// Of this process.
    pub fn of_this_process() -> Caller {
        let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let login = std::fs::read_to_string("/proc/self/loginuid").ok().and_then(|text| text.trim().parse().ok());
        let words: Vec<String> = std::env::args_os().skip(1).map(|word| quoted(&word.to_string_lossy())).collect();
        let said = words.join(" ");
        let said = said.get(..said.floor_char_boundary(MOST)).unwrap_or_default().to_string();
        let uid = rustix::process::geteuid().as_raw();
        Caller { user: user(&users, uid, login.filter(|login| *login != NOBODY)), said, now: SystemTime::now() }
    }

    /// Tells one log what is about to be done with it. Nothing may be shown when this fails.
    pub(super) fn leave(
        &self,
        logs: &Logs,
        origin: &Origin,
        action: Action,
        records: Option<u64>,
        err: &mut dyn Write,
    ) -> Result<(), i32> {
        let home = origin.below(&logs.dir);
        if !inbox::is_open(&home) {
            return Ok(());
        }
        let access = Access { action, user: self.user.clone(), at: when::now(self.now), what: self.said.clone(), records };
        match inbox::leave(&home, &access) {
            Ok(()) => Ok(()),
            Err(error) if is_of_a_copy(&home, &error) => {
                let _ = writeln!(err, "{origin}: not recorded, for this copy of the log cannot be written: {error}");
                Ok(())
            }
            Err(error) => Err(refuse(
                err,
                format_args!(
                    "{}: what is done with the log must be recorded (log_all_access), and cannot be: {error}; make room there, or \
                     run this as the user the log belongs to, or on a copy of it",
                    home.join("inbox").display()
                ),
            )),
        }
    }

    /// The same for every log a command is about.
    pub(super) fn leave_all(&self, logs: &Logs, action: Action, err: &mut dyn Write) -> Result<(), i32> {
        logs.origins.iter().try_for_each(|origin| self.leave(logs, origin, action, None, err))
    }
}

/// Whether a log that cannot be written is not the one a gateway writes: it is on a read-only file system, or somebody else's.
fn is_of_a_copy(home: &Path, error: &io::Error) -> bool {
    let owner = home.metadata().map(|home| home.uid());
    match error.kind() {
        ErrorKind::ReadOnlyFilesystem => true,
        ErrorKind::PermissionDenied => owner.is_ok_and(|owner| owner != rustix::process::geteuid().as_raw()),
        _ => false,
    }
}

/// A user by name and number, and by the name they came with where that is another.
fn user(users: &str, uid: u32, login: Option<u32>) -> String {
    let name = |uid: u32| {
        let named = users.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, _, number) = (fields.next()?, fields.next()?, fields.next()?);
            (number.parse() == Ok(uid)).then_some(name)
        });
        format!("{}({uid})", named.unwrap_or("?"))
    };
    match login.filter(|login| *login != uid) {
        Some(login) => format!("{}, logged in as {}", name(uid), name(login)),
        None => name(uid),
    }
}

/// A word as a shell would have to be given it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:=+@,%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_with_the_one_they_logged_in_as() {
        let users = "root:x:0:0::/root:/bin/sh\njane:x:1000:1000::/home/jane:/bin/sh\nbroken\n";
        assert_eq!(user(users, 1000, Some(1000)), "jane(1000)");
        assert_eq!(user(users, 0, Some(1000)), "root(0), logged in as jane(1000)");
        assert_eq!(user(users, 77, None), "?(77)");
    }

    #[test]
    fn words_are_recorded_so_that_they_can_be_told_apart() {
        assert_eq!(["audit", "", "a b", "it's"].map(quoted).join(" "), "audit '' 'a b' 'it'\\''s'");
    }
}
