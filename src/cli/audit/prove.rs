//! `kt audit prove`: a proof that a record is in the log, and the check of one.

use super::output::Output;
use super::{Caller, DAMAGED, INTACT, Logs, Place, keys, refuse, unreadable};
use crate::audit::inbox::Action;
use crate::audit::note::Verifier;
use crate::audit::origin::Origin;
use crate::audit::parts::Parts;
use crate::audit::prove::{ProveError, Proved, prove};
use crate::audit::query::{Filter, Found, Search};
use crate::audit::sealed::terms::{Field, Terms};
use crate::audit::segment::MAX_ENTRY;
use crate::audit::tlog_proof::{MAX_PROOF, TlogProof};
use crate::audit::verify::shown;
use serde_json::Value;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a checkpoint that covers the record is waited for: one comes within a second while a gateway runs.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Options of `prove`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["id", "index", "check"]))]
pub struct Args {
    /// The record with this id (x-keeptrusts-event-id)
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The record at this place of the log
    #[arg(long, value_name = "N")]
    index: Option<u64>,
    /// Where the proof goes (.tlog-proof) [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// Where the record itself goes, byte for byte: whoever checks the proof needs it
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    with_record: Option<PathBuf>,
    /// Check this proof instead; reads no log
    #[arg(long, value_name = "FILE", requires = "record", requires = "key")]
    check: Option<PathBuf>,
    /// The record that --check is about, byte for byte or as a line of JSON that was exported
    #[arg(long, value_name = "FILE", requires = "check")]
    record: Option<PathBuf>,
    /// The key of the log for --check (name+hash+base64), or a file with it: from somewhere you trust
    #[arg(long, value_name = "VKEY|FILE", requires = "check")]
    key: Option<String>,
    #[command(flatten)]
    place: Place,
}

/// Proves a record, or checks a proof: then 1 when it does not hold.
pub fn run(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let done = match (&args.check, &args.record, &args.key) {
        (Some(proof), Some(record), Some(key)) => check(proof, record, key, out, err),
        _ => make(args, caller, out, err),
    };
    done.unwrap_or_else(|code| code)
}

fn make(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let logs = args.place.logs(err)?;
    let (origin, index) = match (&args.id, args.index) {
        (Some(id), _) => by_id(&logs, id, err)?,
        (None, Some(index)) => (logs.only(err)?.clone(), index),
        (None, None) => return Err(refuse(err, "name a record with --id or --index")),
    };
    let Proved { entry, proof, checkpoint, key } =
        patiently(|| prove(&logs.dir, &origin, index)).map_err(|error| match &error {
            ProveError::Log(error) => unreadable(err, error),
            ProveError::Wrong(_) => {
                let _ = writeln!(err, "{error}");
                DAMAGED
            }
            _ => refuse(err, &error),
        })?;
    let write = |path: Option<&Path>, bytes: &[u8], out: &mut dyn Write| -> io::Result<()> {
        let mut output = Output::to(path, out)?;
        output.write_all(bytes)?;
        output.finish()
    };
    caller.leave(&logs, &origin, Action::Read, Some(1), err)?;
    if let Some(path) = &args.with_record {
        write(Some(path), &entry, out).map_err(|error| refuse(err, error))?;
    }
    write(args.out.as_deref(), proof.to_string().as_bytes(), out).map_err(|error| refuse(err, error))?;
    let _ = writeln!(err, "record {index} of {origin}, in the log of {} records; key: {key}", checkpoint.size);
    Ok(INTACT)
}

/// Tries again while the newest checkpoint is older than the record.
fn patiently(mut prove: impl FnMut() -> Result<Proved, ProveError>) -> Result<Proved, ProveError> {
    for _ in 0..TRIES {
        match prove() {
            Err(ProveError::NotCovered { .. }) => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    prove()
}

/// The record with an id; says where the others of its exchange are.
fn by_id(logs: &Logs, id: &str, err: &mut dyn Write) -> Result<(Origin, u64), i32> {
    let filter = Filter::default().with(Field::Id, [id.to_string()]);
    for origin in &logs.origins {
        let parts = Parts::list(&logs.dir, origin).map_err(|error| unreadable(err, &error))?;
        let found = Search::new(parts, &filter).newest(16).map_err(|error| unreadable(err, &error))?;
        let text = |record: &[u8], field: &str| {
            let record: Value = serde_json::from_slice(record).unwrap_or_default();
            record.get(field).and_then(Value::as_str).unwrap_or_default().to_string()
        };
        let is_it = |(_, record): &&Found| text(record, "id") == id;
        let Some((index, _)) = found.iter().find(is_it).or(found.first()) else { continue };
        for (other, record) in found.iter().filter(|(other, _)| other != index) {
            let _ = writeln!(err, "its exchange also has record {other} ({}): --index {other}", text(record, "type"));
        }
        return Ok((origin.clone(), *index));
    }
    Err(refuse(err, format_args!("no record has the id {id}; it may have been pruned, or not be written yet")))
}

fn check(proof: &Path, record: &Path, key: &str, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let text = String::from_utf8(read(proof, MAX_PROOF, err)?);
    let parsed = text.map_err(|_| "not text".to_string()).and_then(|text| TlogProof::parse(&text).map_err(|why| why.to_string()));
    let parsed = parsed.map_err(|why| wrong(err, format_args!("{}: {why}", proof.display())))?;
    let mut entry = read(record, MAX_ENTRY + 1, err)?;
    // A record holds no line break: one at the end is that of a line.
    if entry.last() == Some(&b'\n') {
        entry.pop();
    }
    let keys = keys(key).map_err(|why| refuse(err, why))?;
    let mut why = None;
    for key in &keys {
        match parsed.verify(&entry, key) {
            Ok(checkpoint) => {
                let (index, time, root) = (parsed.index(), Terms::of(&entry).time.into_owned(), shown(&checkpoint.root));
                let of = Verifier::name(key);
                let _ = writeln!(
                    out,
                    "proved: the record of {time} is record {index} of {of}, in the log of {} records with root {root}",
                    checkpoint.size
                );
                return Ok(INTACT);
            }
            Err(error) => why = Some(error),
        }
    }
    let why = why.map_or_else(String::new, |why| why.to_string());
    Err(wrong(err, format_args!("NOT PROVED: {}: {why}", proof.display())))
}

fn read(path: &Path, most: usize, err: &mut dyn Write) -> Result<Vec<u8>, i32> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(most as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|error| refuse(err, format_args!("{}: {error}", path.display())))?;
    if bytes.len() > most { Err(wrong(err, format_args!("{}: too long", path.display()))) } else { Ok(bytes) }
}

fn wrong(err: &mut dyn Write, why: impl std::fmt::Display) -> i32 {
    let _ = writeln!(err, "{why}");
    DAMAGED
}
