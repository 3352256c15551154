//! What others than the gateway have to say in the log: who read it, and who put a hold on it.
//!
//! One process writes a log, and `kt audit` is another. It leaves what it did as a file in `inbox/`; the gateway that writes the
//! log, now or at its next start, takes it over as a record and removes the file. The folder is there only where the config says
//! `log_all_access: true`.

use super::event::Event;
use super::sealed::Durable;
use super::vault::Erase;
use serde::{Deserialize, Serialize};
use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use uuid::Uuid;

/// Longest message in bytes.
const LONGEST: u64 = 16 << 10;
/// Messages taken at once.
const MOST: usize = 256;

/// Somebody did something with the log itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// What.
    pub action: Action,
    /// The user of the operating system who did.
    pub user: String,
    /// When, as records write times.
    pub at: String,
    /// What was asked for: the command's options.
    pub what: String,
    /// How many records were shown, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub records: Option<u64>,
}

/// Somebody erased what the vault held of an exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// The exchange.
    pub record: String,
    /// What.
    pub what: Erase,
    /// The user of the operating system who did.
    pub user: String,
    /// When, as records write times.
    pub at: String,
}

/// What can be left in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Message {
    Access(Access),
    Erasure(Erasure),
}

/// What can be done with a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Records were shown: `audit.read`.
    Read,
    /// Records or the tree were written elsewhere: `audit.export`.
    Export,
    /// The log was checked: `audit.verify`.
    Verify,
    /// A hold was put on it, or lifted: `audit.hold`.
    Hold,
}

impl Action {
    /// The type of its record.
    pub fn kind(self) -> &'static str {
        match self {
            Action::Read => "audit.read",
            Action::Export => "audit.export",
            Action::Verify => "audit.verify",
            Action::Hold => "audit.hold",
        }
    }
}

/// Opens or closes the inbox of a log; `home` is the directory of its origin.
pub(super) fn set(home: &Path, wanted: bool) -> io::Result<()> {
    let folder = home.join("inbox");
    match wanted {
        true => DirBuilder::new().recursive(true).mode(0o700).create(folder),
        // One that is not empty stays until it was taken over.
        false => match std::fs::remove_dir(folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound || error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
            done => done,
        },
    }
}

/// Whether this log wants to know who reads it.
pub fn is_open(home: &Path) -> bool {
    home.join("inbox").is_dir()
}

/// Leaves a message for the one who writes the log, durably.
///
/// # Errors
/// Those of the file system.
pub fn leave(home: &Path, access: &Access) -> io::Result<()> {
    put(home, access)
}

/// The same for an erasure, which is recorded whatever the config says.
///
/// # Errors
/// Those of the file system.
pub fn leave_erasure(home: &Path, erasure: &Erasure) -> io::Result<()> {
    set(home, true)?;
    put(home, erasure)
}

fn put(home: &Path, message: &impl Serialize) -> io::Result<()> {
    let mut file = Durable::create(home.join("inbox").join(format!("{}.json", Uuid::now_v7().simple())))?;
    serde_json::to_writer(&mut file, message)?;
    file.write_all(b"\n")?;
    file.finish()
}

/// Takes the messages that wait, oldest first, and hands each over; it is removed once `record` says that it is in the log.
pub(super) fn collect(home: &Path, record: &mut dyn FnMut(Event) -> bool) -> io::Result<()> {
    let listing = match std::fs::read_dir(home.join("inbox")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        listing => listing?,
    };
    let mut waiting: Vec<_> = listing.filter_map(|file| Some(file.ok()?.path())).collect();
    waiting.retain(|path| path.extension().is_some_and(|kind| kind == "json"));
    // Their names begin with the time.
    waiting.sort();
    for path in waiting.iter().take(MOST) {
        let mut text = String::new();
        std::fs::File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
        let Ok(message) = serde_json::from_str::<Message>(&text) else {
            log::warn!("audit log: {} says nothing that could be recorded; it is kept as *.unread", path.display());
            std::fs::rename(path, path.with_extension("unread"))?;
            continue;
        };
        let event = match message {
            Message::Access(access) => Event::Access(access),
            Message::Erasure(erasure) => Event::Erased(erasure),
        };
        if !record(event) {
            return Ok(());
        }
        std::fs::remove_file(path)?;
    }
    Ok(())
}
