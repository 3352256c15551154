//! Where results go: to standard output, or to a file that appears whole or not at all and is its owner's alone.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A place for results.
pub enum Output<'a> {
    /// Shown as they come.
    Shown(BufWriter<&'a mut dyn Write>),
    /// Kept aside until [`Output::finish`].
    Kept(NewFile),
}

/// A file beside the one it becomes.
pub struct NewFile {
    file: BufWriter<File>,
    partial: PathBuf,
    path: PathBuf,
    done: bool,
}

impl<'a> Output<'a> {
    /// Standard output, or a file.
    ///
    /// # Errors
    /// Those of the file system, with the path.
    pub fn to(path: Option<&Path>, out: &'a mut dyn Write) -> io::Result<Output<'a>> {
        match path {
            None => Ok(Output::Shown(BufWriter::with_capacity(1 << 16, out))),
            Some(path) => Ok(Output::Kept(NewFile::create(path)?)),
        }
    }

    /// Whether results are seen before they are finished.
    pub fn is_shown(&self) -> bool {
        matches!(self, Output::Shown(_))
    }

    /// All is written. A file gets its name now.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Output::Shown(mut out) => out.flush(),
            Output::Kept(file) => file.finish(),
        }
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Output::Shown(out) => out.write(bytes),
            Output::Kept(file) => file.file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Output::Shown(out) => out.flush(),
            Output::Kept(file) => file.file.flush(),
        }
    }
}

impl NewFile {
    fn create(path: &Path) -> io::Result<NewFile> {
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}.partial", uuid::Uuid::now_v7().simple()));
        let partial = PathBuf::from(partial);
        // Never through a link, nor into a file, that somebody else put there.
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).map_err(|e| named(path, &e))?;
        Ok(NewFile { file: BufWriter::with_capacity(1 << 18, file), partial, path: path.to_path_buf(), done: false })
    }

    fn finish(mut self) -> io::Result<()> {
        let whole = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        whole.and_then(|()| std::fs::rename(&self.partial, &self.path)).map_err(|error| named(&self.path, &error))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.done {
            let _ = std::fs::remove_file(&self.partial);
        }
    }
}

/// Whether whoever read standard output has enough: the end, not an error.
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == ErrorKind::BrokenPipe
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_file_appears_whole_and_for_its_owner_alone_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        std::fs::write(&path, "before").unwrap();
        let mut nobody = Vec::new();
        let mut output = Output::to(Some(&path), &mut nobody).unwrap();
        output.write_all(b"half").unwrap();
        drop(output);
        assert_eq!(std::fs::read(&path).unwrap(), b"before");
        let mut output = Output::to(Some(&path), &mut nobody).unwrap();
        output.write_all(b"whole").unwrap();
        output.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
