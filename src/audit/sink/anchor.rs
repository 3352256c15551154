//! Copies signed checkpoints off the reach of whoever owns this machine: from then on the log up to there cannot be rewritten
//! unseen, whatever happens to its files.
//!
//! In an object store a checkpoint is `<prefix>/<log>/checkpoints/<size, twenty digits>`, created once; in the machine's own log it
//! is a line with the whole note in base64.

use super::destination::Failure;
use super::keys::Environment;
use super::s3::Bucket;
use super::system_log::{self, Message};
use crate::audit::origin::Origin;
use crate::config::{AnchorConfig, SystemLog};
use crate::metrics::METRICS;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

/// More than any note of ours with a dozen cosignatures, in bytes.
const MOST: u64 = 16 << 10;

/// The places checkpoints of one log go to.
pub(super) struct Anchor {
    origin: Origin,
    /// The file that holds the newest checkpoint.
    file: PathBuf,
    places: Vec<Place>,
}

/// One place, and the checkpoint it has.
struct Place {
    name: &'static str,
    kind: Kind,
    has: Option<Checkpoint>,
}

enum Kind {
    Store(Box<Bucket>),
    System(SystemLog, PathBuf),
}

/// A signed note about a log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Checkpoint {
    size: u64,
    root: String,
    note: String,
}

impl Anchor {
    /// The anchor of the log of `origin` below `dir`.
    pub fn new(dir: &Path, origin: &Origin, config: &AnchorConfig, env: &Environment) -> Anchor {
        let store = config.s3.as_ref().map(|store| ("s3", Kind::Store(Box::new(Bucket::new(store.clone(), env.clone())))));
        let system = config.system_log.map(|kind| ("system_log", Kind::System(kind, system_log::socket(kind).into())));
        let places = store.into_iter().chain(system).map(|(name, kind)| Place { name, kind, has: None });
        Anchor { origin: origin.clone(), file: origin.below(dir).join("checkpoint"), places: places.collect() }
    }

    /// Copies the newest checkpoint to each place that lacks it; true when none does any more.
    pub async fn copy(&mut self) -> bool {
        let newest = match read(&self.file, &self.origin) {
            Ok(Some(newest)) => newest,
            // The log is too young to have one.
            Ok(None) => return true,
            Err(why) => {
                log::error!("audit anchor ({}): {why}", self.origin);
                return false;
            }
        };
        let mut all = true;
        for place in self.places.iter_mut().filter(|place| place.has.as_ref() != Some(&newest)) {
            match place.copy(&newest, &self.origin).await {
                Ok(()) => {
                    METRICS.audit_anchored.with_label_values(&[place.name]).set(i64::try_from(newest.size).unwrap_or(i64::MAX));
                    place.has = Some(newest.clone());
                }
                Err(failure) => {
                    METRICS.audit_anchor_failures.with_label_values(&[place.name]).inc();
                    log::warn!("audit anchor {} ({}): {failure}", place.name, self.origin);
                    all = false;
                }
            }
        }
        all
    }
}

impl Place {
    async fn copy(&mut self, newest: &Checkpoint, origin: &Origin) -> Result<(), Failure> {
        match &mut self.kind {
            Kind::Store(bucket) => {
                let path = bucket.path(origin, &format!("checkpoints/{:020}", newest.size))?;
                // The same tree may be signed again; another tree of that size means that somebody rewrote the log.
                let same = |there: &[u8]| std::str::from_utf8(there).is_ok_and(|there| body(there) == body(&newest.note));
                bucket.create(&path, newest.note.clone().into_bytes(), &same).await
            }
            Kind::System(kind, socket) => {
                let (size, note) = (newest.size.to_string(), BASE64_STANDARD.encode(&newest.note));
                let fields = [("LOG", origin.as_str()), ("SIZE", &size), ("ROOT", &newest.root), ("NOTE", &note)];
                let message = Message { text: "audit checkpoint", fields: &fields };
                system_log::write(*kind, socket, &message).map_err(|error| Failure::later(&socket.display().to_string(), &error))
            }
        }
    }
}

/// Reads the newest checkpoint of a log; `None` when it has none yet. Signatures are the reader's to check.
fn read(file: &Path, origin: &Origin) -> Result<Option<Checkpoint>, String> {
    let mut note = String::new();
    let read = std::fs::File::open(file).and_then(|file| file.take(MOST + 1).read_to_string(&mut note));
    match read {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("{}: {error}", file.display())),
        Ok(_) => match parse(&note, origin) {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Err(format!("{} holds no checkpoint of this log", file.display())),
        },
    }
}

fn parse(note: &str, origin: &Origin) -> Option<Checkpoint> {
    let (body, signatures) = note.split_once("\n\n")?;
    let mut lines = body.lines();
    let named = lines.next()? == origin.as_str();
    let size = lines.next()?.parse().ok()?;
    let root = lines.next()?;
    let whole = BASE64_STANDARD.decode(root).is_ok_and(|root| root.len() == 32);
    let signed = signatures.starts_with('\u{2014}') && note.ends_with('\n') && note.len() as u64 <= MOST;
    (named && whole && signed).then(|| Checkpoint { size, root: root.to_owned(), note: note.to_owned() })
}

/// What the signatures of a note sign.
fn body(note: &str) -> Option<&str> {
    Some(note.split_once("\n\n")?.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;

    fn origin() -> Origin {
        Origin::parse("kt/a").unwrap()
    }

    fn note(size: &str) -> String {
        format!("kt/a\n{size}\n{}\n\n\u{2014} kt/a c2lnbmF0dXJl\n", BASE64_STANDARD.encode([7; 32]))
    }

    #[test]
    fn only_a_signed_checkpoint_of_this_log_is_copied() {
        assert_eq!(parse(&note("12"), &origin()).map(|found| found.size), Some(12));
        let of_another = note("12").replacen("kt/a", "kt/b", 1);
        let (unsigned, half) = ("kt/a\n12\nAAAA\n\n", note("12").replace('\u{2014}', ""));
        for wrong in
            ["", "kt/a", unsigned, &half, &of_another, &note("-1"), note("12").trim_end(), &note("12").replace("Bw", "B")]
        {
            assert_eq!(parse(wrong, &origin()), None, "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_system_log_gets_each_checkpoint_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("log");
        let log = UnixDatagram::bind(&socket).unwrap();
        log.set_nonblocking(true).unwrap();
        let kind = Kind::System(SystemLog::Syslog, socket);
        let file = dir.path().join("checkpoint");
        let mut anchor =
            Anchor { origin: origin(), file: file.clone(), places: vec![Place { name: "system_log", kind, has: None }] };
        let mut bytes = [0; 4096];
        assert!(anchor.copy().await, "a log without a checkpoint has nothing to copy");
        for size in ["3", "5"] {
            std::fs::write(&file, note(size)).unwrap();
            assert!(anchor.copy().await && anchor.copy().await);
            let length = log.recv(&mut bytes).unwrap();
            let line = std::str::from_utf8(&bytes[..length]).unwrap();
            let told = line.rsplit_once("note=").unwrap().1;
            assert_eq!(BASE64_STANDARD.decode(told).unwrap(), note(size).as_bytes());
            assert!(line.contains(&format!(" log=kt/a size={size} ")), "{line}");
            assert!(log.recv(&mut bytes).is_err(), "once is enough");
        }
    }
}
