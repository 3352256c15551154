//! `kt audit verify`: whether the logs are what was signed.

use super::progress::Progress;
use super::{Caller, DAMAGED, INTACT, Logs, Place, keys, refuse};
use crate::audit::AuditError;
use crate::audit::anchors;
use crate::audit::inbox::Action;
use crate::audit::origin::Origin;
use crate::audit::parts::Parts;
use crate::audit::scan::{Damage, Tail};
use crate::audit::verify::{self, Trust, Verified};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;

/// Options of `verify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// The key of a log (name+hash+base64), or a file with keys, one a line: believed instead of the key.pub beside the log
    #[arg(long, value_name = "VKEY|FILE")]
    key: Vec<String>,
    /// Checkpoints that were kept elsewhere: a file, or every file below a directory, with signed notes as they are or as the
    /// gateway wrote them to syslog or the journal
    #[arg(long, value_name = "FILE|DIR")]
    anchor: Vec<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Re-hashes every log and checks that no record is missing or changed and that all is as it was signed. Returns 0 when all are
/// intact, 1 when one is damaged (its first bad index is printed), 2 when there is no log or it cannot be read.
pub fn run(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    check(args, caller, out, err).unwrap_or_else(|code| code)
}

fn check(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let logs = args.place.logs(err)?;
    let trust = trust(args, &logs, err)?;
    let (mut code, mut found) = (INTACT, Vec::new());
    for origin in &logs.origins {
        let total = Parts::list(&logs.dir, origin).map_or(0, |parts| parts.bytes());
        let verified = {
            let mut progress = Progress::new(origin.to_string(), total, err);
            verify::verify(&logs.dir, origin, &trust, &mut |bytes| progress.at(bytes))
        };
        let checked = match verified {
            Ok(log) => Ok(log),
            Err(AuditError::Damaged(damage)) => Err(damage),
            Err(other) => return Err(refuse(err, other)),
        };
        let records = checked.as_ref().ok().map(|Verified { log, .. }| log.tree.size() - log.first);
        caller.leave(&logs, origin, Action::Verify, records, err)?;
        if checked.is_err() {
            code = DAMAGED;
        }
        let pinned = trust.keys.iter().any(|key| key.name() == origin.as_str());
        if args.json {
            found.push(as_json(origin, pinned, &checked));
        } else {
            let _ = writeln!(out, "{}", as_text(origin, pinned, &checked));
        }
    }
    if args.json {
        let _ = writeln!(out, "{}", json!({"intact": code == INTACT, "logs": found}));
    }
    Ok(code)
}

/// What the options say is to be believed.
fn trust(args: &Args, logs: &Logs, err: &mut dyn Write) -> Result<Trust, i32> {
    let mut trust = Trust::default();
    for given in &args.key {
        trust.keys.extend(keys(given).map_err(|why| refuse(err, why))?);
    }
    let all = Origin::all_below(&logs.dir);
    // A log that was put in the place of another one must not pass for it.
    if let Some(key) = trust.keys.iter().find(|key| all.iter().all(|origin| origin.as_str() != key.name())) {
        let dir = logs.dir.display();
        return Err(refuse(err, format_args!("there is no log {} below {dir}, whose key was given", key.name())));
    }
    for place in &args.anchor {
        let found = anchors::find(place).map_err(|error| refuse(err, format_args!("{}: {error}", place.display())))?;
        if found.is_empty() {
            return Err(refuse(err, format_args!("{}: no signed checkpoint in it", place.display())));
        }
        trust.anchored.extend(found);
    }
    let mut others: Vec<&str> = trust.anchored.iter().filter_map(|(_, note)| note.lines().next()).collect();
    others.retain(|name| all.iter().all(|origin| origin.as_str() != *name));
    others.sort_unstable();
    others.dedup();
    for name in others {
        let _ = writeln!(err, "there are checkpoints of {name}, and no such log below {}", logs.dir.display());
    }
    Ok(trust)
}

fn as_text(origin: &Origin, pinned: bool, checked: &Result<Verified, Damage>) -> String {
    let Verified { log, key, signed, checkpoints, anchored } = match checked {
        Ok(verified) => verified,
        Err(Damage { index, what, segment, offset, .. }) => {
            return format!("{origin}: DAMAGED at index {index}: {what} ({}, byte {offset})", segment.display());
        }
    };
    let (size, tally) = (log.tree.size(), log.books.tally);
    let mut text = format!("{origin}: intact, {} records in {} segment(s)\n", size - log.first, log.segments);
    if log.first > 0 {
        text += &format!("  begins with record {}: those before were pruned\n", log.first);
    }
    let inherited = match tally.inherited {
        0 => String::new(),
        open => format!(" + {open} begun before"),
    };
    text += &format!(
        "  exchanges: {} received{inherited} = {} completed + {} interrupted + {} open; {} refused\n",
        tally.received,
        tally.completed,
        tally.interrupted,
        log.books.open.len(),
        tally.refused
    );
    if tally.gaps > 0 {
        text += &format!("  gaps: {} records tell of losses (type audit.gap)\n", tally.gaps);
    }
    if log.tail == Tail::Unfinished {
        text += "  one record is unfinished: it is being written, or a crash cut it short and the next start removes it\n";
    }
    text += &match key {
        Some(key) => {
            let trusted = if pinned { "as given with --key" } else { "from the key.pub beside it; pin it with --key" };
            format!(
                "  signed: {signed} records, {checkpoints} checkpoint(s) compared, {anchored} of them kept elsewhere\n  \
                 key: {key} ({trusted})\n"
            )
        }
        None => "  signed: nothing yet\n".into(),
    };
    text + &format!("  root: {}", verify::shown(&log.tree.root()))
}

fn as_json(origin: &Origin, pinned: bool, checked: &Result<Verified, Damage>) -> Value {
    let Verified { log, key, signed, checkpoints, anchored } = match checked {
        Ok(verified) => verified,
        Err(damage) => {
            return json!({
                "origin": origin.as_str(), "intact": false, "index": damage.index, "reason": damage.what,
                "segment": damage.segment.display().to_string(), "offset": damage.offset, "pinned": pinned,
            });
        }
    };
    let (size, tally) = (log.tree.size(), log.books.tally);
    json!({
        "origin": origin.as_str(), "intact": true, "first": log.first, "records": size - log.first, "size": size,
        "segments": log.segments, "inherited": tally.inherited,
        "received": tally.received, "completed": tally.completed, "interrupted": tally.interrupted,
        "open": log.books.open.len(), "refused": tally.refused, "gaps": tally.gaps, "unfinished": log.tail == Tail::Unfinished,
        "key": key.as_ref().map(ToString::to_string), "pinned": pinned, "signed": signed, "checkpoints": checkpoints,
        "anchored": anchored, "root": verify::shown(&log.tree.root()),
    })
}
