//! `kt audit export`: the log in forms that other tools read.

use super::output::{Output, is_gone};
use super::progress::Progress;
use super::select::Select;
use super::{Caller, INTACT, Logs, Place, USAGE, refuse, unreadable};
use crate::audit::AuditError;
use crate::audit::export::Form;
use crate::audit::export::tree::{self, TreeError};
use crate::audit::inbox::Action;
use crate::audit::parts::Parts;
use crate::audit::query::Search;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Options of `export`.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("form").required(true).args(["jsonl", "csv", "ocsf", "tiles"]))]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Each record as it was written, one JSON object a line
    #[arg(long)]
    jsonl: bool,
    /// A table with a fixed list of columns (RFC 4180)
    #[arg(long)]
    csv: bool,
    /// Events of the Open Cybersecurity Schema Framework 1.3.0, one JSON object a line
    #[arg(long)]
    ocsf: bool,
    /// The static tree of C2SP tlog-tiles, into a directory that is empty or not there: what strangers verify
    #[arg(long, value_name = "DIR", conflicts_with = "Select")]
    tiles: Option<PathBuf>,
    /// Into this file, which appears whole, for its owner alone [default: standard output]
    #[arg(long, value_name = "FILE", conflicts_with = "tiles")]
    out: Option<PathBuf>,
    #[command(flatten)]
    select: Select,
}

/// Writes every record that matches, log by log, oldest first.
pub fn run(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let done = match &args.tiles {
        Some(to) => tiles(args, to, caller, out, err),
        None => lines(args, caller, out, err),
    };
    done.unwrap_or_else(|code| code)
}

/// Why a record could not be handed on.
enum Failure {
    Log(AuditError),
    Output(io::Error),
}

impl From<AuditError> for Failure {
    fn from(error: AuditError) -> Failure {
        Failure::Log(error)
    }
}

fn lines(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let logs = args.place.logs(err)?;
    let form = match (args.csv, args.ocsf) {
        (true, _) => Form::Csv,
        (_, true) => Form::Ocsf,
        _ => Form::Jsonl,
    };
    let mut output = Output::to(args.out.as_deref(), out).map_err(|error| refuse(err, error))?;
    if output.is_shown() {
        // How many there will be is not known before they are seen.
        caller.leave_all(&logs, Action::Export, err)?;
    }
    let counts = match write(args, form, &logs, &mut output, err) {
        Ok(counts) => counts,
        Err(Failure::Output(error)) if is_gone(&error) => return Ok(INTACT),
        Err(Failure::Output(error)) => return Err(refuse(err, error)),
        Err(Failure::Log(error)) => {
            // What was read so far is of use, and the exit code says that it is not all.
            let code = unreadable(err, &error);
            return Err(if output.is_shown() { output.finish().map_or(USAGE, |()| code) } else { code });
        }
    };
    if !output.is_shown() {
        for (origin, count) in logs.origins.iter().zip(&counts) {
            caller.leave(&logs, origin, Action::Export, Some(*count), err)?;
        }
    }
    match output.finish() {
        Err(error) if !is_gone(&error) => return Err(refuse(err, error)),
        _ => {}
    }
    let _ = writeln!(err, "{} records of {} log(s)", counts.iter().sum::<u64>(), counts.len());
    Ok(INTACT)
}

/// Hands on what matches, and counts it, log by log.
fn write(args: &Args, form: Form, logs: &Logs, output: &mut Output<'_>, err: &mut dyn Write) -> Result<Vec<u64>, Failure> {
    let filter = args.select.filter();
    let mut line = form.head().map(|head| format!("{head}\r\n").into_bytes()).unwrap_or_default();
    output.write_all(&line).map_err(Failure::Output)?;
    let mut counts = Vec::new();
    for origin in &logs.origins {
        let parts = Parts::list(&logs.dir, origin)?;
        let mut progress = Progress::new(origin.to_string(), parts.bytes(), err);
        let mut count = 0;
        Search::new(parts, &filter).each(0, &mut |index, entry, effort| -> Result<_, Failure> {
            line.clear();
            form.put(index, entry, &mut line);
            output.write_all(&line).map_err(Failure::Output)?;
            count += 1;
            progress.at(effort.bytes);
            Ok(ControlFlow::Continue(()))
        })?;
        counts.push(count);
    }
    Ok(counts)
}

fn tiles(args: &Args, to: &Path, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let logs = args.place.logs(err)?;
    let origin = logs.only(err)?;
    caller.leave(&logs, origin, Action::Export, None, err)?;
    let total = Parts::list(&logs.dir, origin).map_err(|error| unreadable(err, &error))?.bytes();
    let written = {
        let mut progress = Progress::new(origin.to_string(), total, err);
        tree::write(&logs.dir, origin, to, &mut |effort| progress.at(effort.bytes))
    };
    match written {
        Ok((checkpoint, records)) => {
            let _ =
                writeln!(out, "{}: {records} records of {}, up to the checkpoint of {}", to.display(), origin, checkpoint.size);
            Ok(INTACT)
        }
        Err(TreeError::Log(error)) => Err(unreadable(err, &error)),
        Err(error) => Err(refuse(err, error)),
    }
}
