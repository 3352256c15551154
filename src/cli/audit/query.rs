//! `kt audit query`: records by time and by what is in them.

use super::output::is_gone;
use super::select::Select;
use super::{Caller, INTACT, Place, refuse, table, unreadable};
use crate::audit::inbox::Action;
use crate::audit::parts::Parts;
use crate::audit::query::{Effort, Search};
use crate::audit::sealed::terms::Terms;
use std::io::{BufWriter, Write};

/// The most records shown at once: `kt audit export` shows any number.
const MOST: u64 = 100_000;

/// Options of `query`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    select: Select,
    /// How many of the newest that match
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    limit: u64,
    /// Whole records, one JSON object a line, and nothing else
    #[arg(long)]
    json: bool,
}

/// Prints the newest records that match, oldest first.
pub fn run(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    query(args, caller, out, err).unwrap_or_else(|code| code)
}

fn query(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let logs = args.place.logs(err)?;
    let (filter, limit) = (args.select.filter(), args.limit as usize);
    let (mut found, mut effort) = (Vec::new(), Effort::default());
    for (log, origin) in logs.origins.iter().enumerate() {
        let parts = Parts::list(&logs.dir, origin).map_err(|error| unreadable(err, &error))?;
        let mut search = Search::new(parts, &filter);
        // One more tells whether there are more.
        let records = search.newest(limit + 1).map_err(|error| unreadable(err, &error))?;
        found.extend(records.into_iter().map(|(_, record)| (Terms::of(&record).time.into_owned(), log, record)));
        let Effort { runs_read, runs, written, .. } = search.effort();
        effort.runs_read += runs_read;
        effort.runs += runs;
        effort.written += written;
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    let surplus = found.len().saturating_sub(limit);
    let shown = found.get(surplus..).unwrap_or_default();
    for (log, origin) in logs.origins.iter().enumerate() {
        let records = shown.iter().filter(|record| record.1 == log).count() as u64;
        caller.leave(&logs, origin, Action::Read, Some(records), err)?;
    }
    match table::print(shown.iter().map(|record| record.2.as_slice()), args.json, &mut BufWriter::new(out)) {
        Err(error) if !is_gone(&error) => return Err(refuse(err, error)),
        _ => {}
    }
    if !args.json {
        let more = if surplus > 0 { "; older ones match too: raise --limit, or narrow it with --until" } else { "" };
        let _ = writeln!(
            err,
            "{} records{more} (read: {} of {} runs of sealed records, {} records not sealed yet)",
            shown.len(),
            effort.runs_read,
            effort.runs,
            effort.written
        );
    }
    Ok(INTACT)
}
