//! Whether a log is what its gateway signed: every record hashed again, every checkpoint compared, those kept elsewhere too.

use super::merkle::Hash;
use super::note::{Checkpoint, Verifier};
use super::origin::Origin;
use super::scan::{Begin, Damage, Look, Patience, Scanned, Tail, scan};
use super::{AuditError, checkpoints};
use std::path::{Path, PathBuf};

/// What is believed before a log is looked at.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The keys that may have signed; without one for this log, what `key.pub` beside it says.
    pub keys: Vec<Verifier>,
    /// Checkpoints that were kept where nobody who writes the log can write, each with where it came from.
    pub anchored: Vec<(PathBuf, String)>,
}

/// A log that holds what was signed.
#[derive(Debug)]
pub struct Verified {
    /// What was read.
    pub log: Scanned,
    /// The key that signed; none when nothing was ever signed.
    pub key: Option<Verifier>,
    /// Records that the newest checkpoint covers.
    pub signed: u64,
    /// Checkpoints compared with the records, those kept elsewhere included.
    pub checkpoints: usize,
    /// Of those, kept elsewhere.
    pub anchored: usize,
}

/// A checkpoint, and the file that holds it.
struct Promise {
    path: PathBuf,
    said: Checkpoint,
    anchored: bool,
}

/// Checks the log of one origin. A gateway may be writing it. `progress` gets the bytes read so far, now and then.
///
/// # Errors
/// `Damaged` with the first index that cannot be trusted, and those of the file system.
pub fn verify(dir: &Path, origin: &Origin, trust: &Trust, progress: &mut dyn FnMut(u64)) -> Result<Verified, AuditError> {
    let home = origin.below(dir);
    let key = key(&home, origin, trust)?;
    // Read first: the log goes on while it is read, and must hold at least this.
    let mut promises = promises(&home, origin, trust, key.as_ref())?;
    promises.sort_by_key(|promise| promise.said.size);
    let roots_at = promises.iter().map(|promise| promise.said.size).collect();
    let look = Look { begin: Begin::First, patience: Patience::LookAgain, roots_at };
    let log = scan(dir, origin, &look, progress)?;
    if let Tail::Torn(damage) = &log.tail {
        return Err(damage.clone().into());
    }
    if log.first > log.books.pruned {
        let what =
            format!("records {} to {} are missing, and no record says that they were pruned", log.books.pruned, log.first - 1);
        return Err(broken(origin, &home, log.books.pruned, what));
    }
    let (mut good, mut compared, mut anchored) = (log.first, 0, 0);
    for Promise { path, said, anchored: elsewhere } in &promises {
        let damage = |index: u64, what: String| Damage { origin: origin.clone(), index, segment: path.clone(), offset: 0, what };
        let size = log.tree.size();
        if said.size > size {
            let what = format!("records {size} to {} are missing: a checkpoint was signed over them", said.size - 1);
            return Err(damage(size, what).into());
        }
        match log.roots.get(&said.size) {
            // Pruned since.
            None => {}
            Some(root) if *root == said.root => {
                (good, compared) = (said.size, compared + 1);
                anchored += usize::from(*elsewhere);
            }
            Some(_) => {
                let what = format!("one of the records up to {} is not what was signed", said.size.saturating_sub(1));
                return Err(damage(good, what).into());
            }
        }
    }
    let signed = promises.last().map_or(0, |promise| promise.said.size);
    Ok(Verified { log, key, signed, checkpoints: compared, anchored })
}

fn key(home: &Path, origin: &Origin, trust: &Trust) -> Result<Option<Verifier>, AuditError> {
    if let Some(key) = trust.keys.iter().find(|key| key.name() == origin.as_str()) {
        return Ok(Some(key.clone()));
    }
    let path = home.join("key.pub");
    match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AuditError::at(&path)(error)),
        Ok(text) => match Verifier::parse(text.trim_end()) {
            Ok(key) => Ok(Some(key)),
            Err(why) => Err(broken(origin, &path, 0, why.to_string())),
        },
    }
}

fn promises(home: &Path, origin: &Origin, trust: &Trust, key: Option<&Verifier>) -> Result<Vec<Promise>, AuditError> {
    let newest_path = checkpoints::newest_path(home);
    let newest = checkpoints::newest(home).map_err(AuditError::at(&newest_path))?;
    let kept = checkpoints::kept(home).map_err(AuditError::at(home))?;
    let own = kept.into_iter().map(|(size, note)| (home.join("checkpoints").join(size.to_string()), note));
    let own = newest.map(|note| (newest_path, note)).into_iter().chain(own);
    let mine = trust.anchored.iter().filter(|(_, note)| note.lines().next() == Some(origin.as_str())).cloned();
    let all = own.map(|note| (note, false)).chain(mine.map(|note| (note, true)));
    all.map(|((path, note), anchored)| {
        let Some(key) = key else {
            return Err(broken(origin, &path, 0, "there is no key.pub to check its signature with".into()));
        };
        match key.verify(&note) {
            Ok(said) => Ok(Promise { path, said, anchored }),
            Err(why) => Err(broken(origin, &path, 0, format!("the checkpoint: {why}"))),
        }
    })
    .collect()
}

fn broken(origin: &Origin, path: &Path, index: u64, what: String) -> AuditError {
    Damage { origin: origin.clone(), index, segment: path.to_path_buf(), offset: 0, what }.into()
}

/// A root as people compare it.
pub fn shown(root: &Hash) -> String {
    hex::encode(root)
}
