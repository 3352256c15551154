//! `kt audit tail`: the newest records, and those that come after them.

use super::output::is_gone;
use super::{Caller, INTACT, Place, refuse, table, unreadable};
use crate::audit::inbox::Action;
use crate::audit::sealed::terms::Terms;
use crate::audit::tail::Follower;
use std::io::Write;
use std::time::Duration;

/// How often `--follow` looks for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Options of `tail`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Go on with new records as they are written
    #[arg(short, long)]
    follow: bool,
    /// How many of the newest
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Whole records, one JSON object a line
    #[arg(long)]
    json: bool,
}

/// Prints the newest records, then, with `--follow`, each new one, until the reader of `out` goes away.
pub fn run(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    tail(args, caller, out, err).unwrap_or_else(|code| code)
}

fn tail(args: &Args, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let Args { place, follow, lines, json } = args;
    let logs = place.logs(err)?;
    let (mut followers, mut newest) = (Vec::new(), Vec::new());
    for (log, origin) in logs.origins.iter().enumerate() {
        let (follower, records) = Follower::new(&logs.dir, origin, *lines).map_err(|error| unreadable(err, &error))?;
        followers.push(follower);
        newest.extend(records.into_iter().map(|record| (Terms::of(&record).time.into_owned(), log, record)));
    }
    // Times are written so that the order of their text is the order of time.
    newest.sort_by(|a, b| a.0.cmp(&b.0));
    let surplus = newest.len().saturating_sub(*lines);
    let newest = newest.get(surplus..).unwrap_or_default();
    for (log, origin) in logs.origins.iter().enumerate() {
        let shown = newest.iter().filter(|record| record.1 == log).count() as u64;
        caller.leave(&logs, origin, Action::Read, (!follow).then_some(shown), err)?;
    }
    let mut written = table::print(newest.iter().map(|record| record.2.as_slice()), *json, out);
    while *follow && written.is_ok() {
        std::thread::sleep(LOOK_EVERY);
        for follower in &mut followers {
            let news = follower.news().map_err(|error| unreadable(err, &error))?;
            written = written.and_then(|()| table::print(news.iter().map(Vec::as_slice), *json, out));
        }
    }
    match written {
        Err(error) if !is_gone(&error) => Err(refuse(err, error)),
        _ => Ok(INTACT),
    }
}
