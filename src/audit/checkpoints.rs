//! The signed checkpoints of a log on disk.
//!
//! `checkpoint` is the newest and replaced at least every second while records come; `checkpoints/<size>` keeps one an hour, and
//! the last of every process. All are C2SP signed notes.

use super::sealed::Durable;
use std::fs::DirBuilder;
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// Longest note read, in bytes; ours have a few hundred.
const LONGEST: u64 = 16 << 10;

/// Where the newest checkpoint of a log is; `home` is the directory of its origin.
pub fn newest_path(home: &Path) -> PathBuf {
    home.join("checkpoint")
}

/// Replaces the newest checkpoint, durably.
pub(super) fn replace(home: &Path, note: &str) -> io::Result<()> {
    write(newest_path(home), note)
}

/// Keeps a checkpoint beside the newest, durably.
pub(super) fn keep(home: &Path, size: u64, note: &str) -> io::Result<()> {
    let folder = home.join("checkpoints");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    write(folder.join(size.to_string()), note)
}

/// The newest checkpoint, if one was ever signed.
pub fn newest(home: &Path) -> io::Result<Option<String>> {
    read(&newest_path(home))
}

/// The kept checkpoints: sizes and notes, smallest first.
pub fn kept(home: &Path) -> io::Result<Vec<(u64, String)>> {
    let listing = match std::fs::read_dir(home.join("checkpoints")) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        listing => listing?,
    };
    let mut found = Vec::new();
    for file in listing {
        let path = file?.path();
        let size = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
        if let (Some(size), Some(note)) = (size, read(&path)?) {
            found.push((size, note));
        }
    }
    found.sort();
    Ok(found)
}

fn write(path: PathBuf, note: &str) -> io::Result<()> {
    let mut file = Durable::create(path)?;
    file.write_all(note.as_bytes())?;
    file.finish()
}

fn read(path: &Path) -> io::Result<Option<String>> {
    let mut note = String::new();
    match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?.take(LONGEST).read_to_string(&mut note)?,
    };
    Ok(Some(note))
}
