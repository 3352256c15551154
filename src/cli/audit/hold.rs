//! `kt audit hold`: keeps records beyond their time, while somebody may have to show them.

use super::select::{since, until};
use super::table::field;
use super::{Caller, INTACT, Logs, Place, refuse, unreadable};
use crate::audit::holds::{self, Hold};
use crate::audit::inbox::Action;
use serde_json::json;
use std::io::Write;

/// The longest reason, in bytes.
const LONGEST: usize = 2000;

/// What to do with holds.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Keep records, however old they get, until the hold is lifted
    Add {
        /// Its name: letters, digits, `.`, `-`, `_`
        #[arg(value_parser = name)]
        name: String,
        /// Why, for those who find it later
        #[arg(long, value_parser = reason)]
        reason: String,
        /// The first moment it covers [default: the beginning]
        #[arg(long, value_name = "TIME", value_parser = since)]
        from: Option<String>,
        /// The last moment it covers; a date means the end of its day [default: it goes on]
        #[arg(long, value_name = "TIME", value_parser = until)]
        to: Option<String>,
        #[command(flatten)]
        place: Place,
    },
    /// Print the holds
    List {
        /// Machine-readable output
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Let records go again when their time is over
    Lift {
        /// The hold's name
        #[arg(value_parser = name)]
        name: String,
        #[command(flatten)]
        place: Place,
    },
}

/// Adds, lists or lifts a hold, on every log that is meant.
pub fn run(command: &Command, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let done = match command {
        Command::Add { name, reason, from, to, place } => {
            let hold = Hold { name: name.clone(), reason: reason.clone(), from: from.clone(), to: to.clone() };
            place.logs(err).and_then(|logs| add(&logs, &hold, caller, out, err))
        }
        Command::List { json, place } => place.logs(err).and_then(|logs| list(&logs, *json, out, err)),
        Command::Lift { name, place } => place.logs(err).and_then(|logs| lift(&logs, name, caller, out, err)),
    };
    done.unwrap_or_else(|code| code)
}

fn add(logs: &Logs, hold: &Hold, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    if let (Some(from), Some(to)) = (&hold.from, &hold.to)
        && from > to
    {
        return Err(refuse(err, format_args!("--from {from} is after --to {to}")));
    }
    for origin in &logs.origins {
        let there = holds::list(&origin.below(&logs.dir)).map_err(|error| unreadable(err, &error))?;
        if there.iter().any(|other| other.name == hold.name && other != hold) {
            let name = &hold.name;
            let why = format_args!("{origin}: there is another hold `{name}`; choose a new name, or lift that one first");
            return Err(refuse(err, why));
        }
    }
    for origin in &logs.origins {
        let home = origin.below(&logs.dir);
        holds::put(&home, hold).map_err(|error| unreadable(err, &error))?;
        if let Err(code) = caller.leave(logs, origin, Action::Hold, None, err) {
            // What cannot be recorded is not done.
            holds::lift(&home, &hold.name).map_err(|error| unreadable(err, &error))?;
            return Err(code);
        }
        let _ = writeln!(out, "{origin}: `{}` holds {}", hold.name, span(hold));
    }
    Ok(INTACT)
}

fn list(logs: &Logs, json: bool, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    for origin in &logs.origins {
        for hold in holds::list(&origin.below(&logs.dir)).map_err(|error| unreadable(err, &error))? {
            let _ = if json {
                let Hold { name, reason, from, to } = hold;
                writeln!(out, "{}", json!({"origin": origin.as_str(), "name": name, "reason": reason, "from": from, "to": to}))
            } else {
                let reason = field(&json!({"reason": hold.reason}), "reason");
                writeln!(out, "{origin}: `{}` holds {}: {reason}", hold.name, span(&hold))
            };
        }
    }
    Ok(INTACT)
}

fn lift(logs: &Logs, name: &str, caller: &Caller, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, i32> {
    let mut lifted = false;
    for origin in &logs.origins {
        let home = origin.below(&logs.dir);
        let there = holds::list(&home).map_err(|error| unreadable(err, &error))?;
        if there.iter().all(|hold| hold.name != name) {
            continue;
        }
        caller.leave(logs, origin, Action::Hold, None, err)?;
        holds::lift(&home, name).map_err(|error| unreadable(err, &error))?;
        lifted = true;
        let _ = writeln!(out, "{origin}: `{name}` is lifted");
    }
    if lifted { Ok(INTACT) } else { Err(refuse(err, format_args!("there is no hold `{name}`; `kt audit hold list` shows them"))) }
}

fn span(hold: &Hold) -> String {
    match (&hold.from, &hold.to) {
        (None, None) => "every record".into(),
        (Some(from), None) => format!("records from {from} on"),
        (None, Some(to)) => format!("records up to {to}"),
        (Some(from), Some(to)) => format!("records from {from} to {to}"),
    }
}

fn name(text: &str) -> Result<String, &'static str> {
    if holds::is_name(text) { Ok(text.into()) } else { Err("a name has up to 100 letters, digits, `.`, `-`, `_`, no `.` first") }
}

fn reason(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("say why".into()),
        long if long.len() > LONGEST => Err(format!("at most {LONGEST} bytes")),
        reason => Ok(reason.into()),
    }
}
