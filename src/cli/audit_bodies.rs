//! `kt audit open` and `kt audit erase`: what the vault holds of one exchange is shown and checked, or erased for good. Both read
//! and write files only, beside a gateway that goes on.

use crate::audit::commitment::{Commitment, Salt};
use crate::audit::inbox::{self, Access, Action, Erasure};
use crate::audit::origin::Origin;
use crate::audit::vault::{self, Erase, Form, Kept};
use crate::audit::{AuditError, holds, single};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};
use time::OffsetDateTime;
use uuid::Uuid;

const DONE: i32 = 0;
const WRONG: i32 = 1;
const USAGE: i32 = 2;

/// The longest file that is read, in bytes: a body may be as long as `size_limits` let it.
const LONGEST: u64 = 256 << 20;

/// Which exchange, in which log.
#[derive(Debug, Args)]
pub struct Which {
    /// Where the log lives [default: $STATE_DIRECTORY/audit, else ./audit]
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
    /// The id of the exchange (`x-keeptrusts-event-id`) or of any of its records
    #[arg(long, value_name = "ID")]
    id: Uuid,
}

/// `kt audit open`
#[derive(Debug, Args)]
pub struct Open {
    #[command(flatten)]
    which: Which,
    /// The auditor's age identity, as age-keygen writes it: for `bodies: encrypted`
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Show this body alone
    #[arg(long, value_enum)]
    part: Option<Part>,
    /// Check that this file is the body, byte for byte, instead of showing what is stored
    #[arg(long, value_name = "FILE", requires = "part")]
    claim: Option<PathBuf>,
}

/// `kt audit erase`
#[derive(Debug, Args)]
pub struct EraseArgs {
    #[command(flatten)]
    which: Which,
    /// Erase the salts and leave the bodies: nobody can prove any more that they are what the records speak of
    #[arg(long)]
    salt_only: bool,
}

/// A body of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// As the caller sent it; with `bodies: redacted` without what was taken out
    Request,
    /// As the caller got it
    Answer,
}

/// What a record says of its bodies.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Said {
    req: SaidOf,
    resp: SaidOf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct SaidOf {
    #[serde(flatten)]
    commitment: Option<Commitment>,
    redacted: Option<SaidRedacted>,
    body_omitted: Option<String>,
}

#[derive(Debug, Deserialize)]
struct SaidRedacted {
    commit: String,
}

/// What stops a command: the exit code and what to say.
struct Stop(i32, String);

impl From<AuditError> for Stop {
    fn from(error: AuditError) -> Self {
        Stop(USAGE, error.to_string())
    }
}

impl Open {
    /// Shows the bodies stored of an exchange on `out`, and on `err` whether each is the one its record was made of. Returns 0 when
    /// all are, 1 when one is not or cannot be opened any more, 2 when there is nothing to open.
    pub fn run(&self, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        finish(self.open(out, err), err)
    }

    fn open(&self, out: &mut dyn Write, err: &mut dyn Write) -> Result<i32, Stop> {
        let (home, kept) = self.which.find()?;
        let asked = format!("open --id {}{}", self.which.id, self.claim.as_ref().map_or("", |_| " --claim"));
        tell(&home, Action::Read, asked)?;
        let mut code = DONE;
        for part in [Part::Request, Part::Answer].into_iter().filter(|part| self.part.is_none_or(|asked| asked == *part)) {
            let opened = match &self.claim {
                Some(claim) => check(part, &kept, &home, &read(claim)?, true).map(|said| (said, None)),
                None => self.stored(part, &kept, &home),
            };
            match opened {
                Ok((said, body)) => {
                    let _ = writeln!(err, "{}: {said}", part.word());
                    let _ = out.write_all(&body.unwrap_or_default());
                }
                Err(Stop(why, said)) => {
                    code = code.max(why);
                    let _ = writeln!(err, "{}: {said}", part.word());
                }
            }
        }
        // One that is not there says nothing against the other.
        Ok(if code == USAGE && self.part.is_none() { WRONG } else { code })
    }

    /// The body that is stored, in clear, and what is to be said of it.
    fn stored(&self, part: Part, kept: &[Kept], home: &Path) -> Result<(String, Option<Vec<u8>>), Stop> {
        let mut found = None;
        for deposit in kept {
            let body = match part {
                Part::Request => deposit.request()?,
                Part::Answer => deposit.answer()?,
            };
            found = body.map(|body| (deposit.form, body)).or(found);
        }
        let Some((form, body)) = found else {
            let said = said(kept, home)?.into_iter().find_map(|said| said.of(part).body_omitted);
            return Err(Stop(USAGE, said.map_or("not stored, or erased".into(), |why| format!("not stored: {why}"))));
        };
        let body = match form {
            Form::Redacted => body,
            Form::Encrypted => vault::unsealed(&body, &self.identities()?)
                .map_err(|why| Stop(WRONG, format!("stored, and cannot be decrypted with this identity: {why}")))?,
        };
        let said = check(part, kept, home, &body, form == Form::Encrypted)?;
        Ok((said, Some(body)))
    }

    fn identities(&self) -> Result<Vec<age::x25519::Identity>, Stop> {
        let Some(path) = &self.identity else {
            return Err(Stop(USAGE, "stored encrypted: name the auditor's identity with --identity FILE".into()));
        };
        let text = String::from_utf8_lossy(&read(path)?).into_owned();
        let keys = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let keys: Result<Vec<_>, _> = keys.map(str::parse).collect();
        match keys {
            Ok(keys) if !keys.is_empty() => Ok(keys),
            // The parser's words would quote the key.
            _ => Err(Stop(USAGE, format!("{} holds no age identity (`AGE-SECRET-KEY-1...`)", path.display()))),
        }
    }
}

impl EraseArgs {
    /// Overwrites what the vault holds of an exchange, and leaves word of it for the log. Returns 0, or 2 when nothing was erased.
    pub fn run(&self, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        finish(self.erase(out), err)
    }

    fn erase(&self, out: &mut dyn Write) -> Result<i32, Stop> {
        let (home, kept) = self.which.find()?;
        let what = if self.salt_only { Erase::Salts } else { Erase::All };
        let exchange = kept.first().map_or(self.which.id, |kept| kept.exchange);
        let time = exchange.get_timestamp().map_or_else(String::new, |stamp| {
            let (seconds, nanos) = stamp.to_unix();
            let time = OffsetDateTime::from_unix_timestamp(seconds as i64).ok();
            time.map_or_else(String::new, |time| written(time + std::time::Duration::from_nanos(nanos.into())))
        });
        if let Some(hold) = holds::list(&home)?.into_iter().find(|hold| hold.covers(&time, &time)) {
            let why = format!("the hold `{}` keeps it ({}); lift that first: kt audit hold lift {0}", hold.name, hold.reason);
            return Err(Stop(USAGE, why));
        }
        // Said first: what is erased without a word would be a hole nobody sees.
        let erasure = Erasure { record: exchange.to_string(), what, user: user(), at: written(OffsetDateTime::now_utc()) };
        inbox::leave_erasure(&home, &erasure).map_err(AuditError::at(&home.join("inbox")))?;
        for deposit in &kept {
            vault::erase(deposit, what)?;
        }
        let word = if self.salt_only { "the salts" } else { "salts and bodies" };
        let _ = writeln!(out, "{exchange}: {word} erased; the log will say so (audit.erased), and stays intact");
        Ok(DONE)
    }
}

impl Which {
    /// What the vaults below the directory hold of it, and the directory of its log.
    fn find(&self) -> Result<(PathBuf, Vec<Kept>), Stop> {
        let dir = self.audit_dir.clone().unwrap_or_else(super::default_audit_dir);
        let origins = Origin::all_below(&dir);
        if origins.is_empty() {
            return Err(Stop(USAGE, format!("no audit log below {}; name its directory with --audit-dir", dir.display())));
        }
        for origin in origins {
            let home = origin.below(&dir);
            let kept = vault::find(&home, self.id)?;
            if !kept.is_empty() {
                return Ok((home, kept));
            }
        }
        let why = format!("nothing was deposited for {}: it is no exchange of this log, or was pruned with its records", self.id);
        Err(Stop(USAGE, why))
    }
}

impl Part {
    fn word(self) -> &'static str {
        match self {
            Part::Request => "request",
            Part::Answer => "answer",
        }
    }
}

impl Said {
    fn of(self, part: Part) -> SaidOf {
        match part {
            Part::Request => self.req,
            Part::Answer => self.resp,
        }
    }
}

/// Whether a body is the one that the records of its exchange were made of; `whole` when nothing was taken out of it.
fn check(part: Part, kept: &[Kept], home: &Path, body: &[u8], whole: bool) -> Result<String, Stop> {
    let salts = kept.iter().map(Kept::salts).collect::<Result<Vec<_>, _>>()?;
    let said = said(kept, home)?.into_iter().map(|said| said.of(part));
    let mut committed = false;
    for SaidOf { commitment, redacted, .. } in said {
        let Some(commitment) = commitment else { continue };
        committed = true;
        let redacted = redacted.map(|redacted| Commitment { commit: redacted.commit, alg: commitment.alg });
        let opens = |salt: &dyn Fn(&vault::Salts) -> Option<Salt>, commitment: &Commitment| {
            salts.iter().filter_map(salt).any(|salt| salt.opens(commitment, body))
        };
        let matches = match part {
            Part::Answer => opens(&|salts| salts.answer.clone(), &commitment),
            Part::Request => opens(&|salts| salts.request.clone(), &commitment),
        };
        if matches {
            return Ok(format!("{} bytes, the very ones its record was made of", body.len()));
        }
        if !whole && redacted.is_some_and(|redacted| opens(&|salts| salts.redacted.clone(), &redacted)) {
            return Ok(format!("{} bytes, without what policies took out; the very ones its record was made of", body.len()));
        }
    }
    let erased = salts.iter().all(|salts| *salts == vault::Salts::default());
    Err(Stop(
        WRONG,
        match (committed, erased) {
            (false, _) => "no record of it is left that says which body it was".into(),
            (true, true) => "the salt was erased: nobody can tell any more which body it was".into(),
            (true, false) => "NOT the body its record was made of".into(),
        },
    ))
}

/// What the records of an exchange say of its bodies.
fn said(kept: &[Kept], home: &Path) -> Result<Vec<Said>, Stop> {
    let entries = kept.iter().map(|kept| single::entry(home, kept.index)).collect::<Result<Vec<_>, _>>()?;
    Ok(entries.into_iter().flatten().filter_map(|entry| serde_json::from_slice(&entry).ok()).collect())
}

/// Leaves word of it in a log that wants to know who reads it.
fn tell(home: &Path, action: Action, what: String) -> Result<(), Stop> {
    if !inbox::is_open(home) {
        return Ok(());
    }
    let access = Access { action, user: user(), at: written(OffsetDateTime::now_utc()), what, records: Some(1) };
    inbox::leave(home, &access).map_err(AuditError::at(&home.join("inbox")))?;
    Ok(())
}

/// The user of the operating system.
fn user() -> String {
    let id = rustix::process::getuid().as_raw();
    match std::env::var("USER").ok().filter(|name| !name.is_empty()) {
        Some(name) => format!("{name} ({id})"),
        None => id.to_string(),
    }
}

/// A time as records write it.
fn written(time: OffsetDateTime) -> String {
    crate::audit::written(time.into())
}

fn read(path: &Path) -> Result<Vec<u8>, Stop> {
    let refuse = |why: String| Stop(USAGE, format!("{}: {why}", path.display()));
    match std::fs::metadata(path) {
        Ok(file) if file.len() > LONGEST => Err(refuse("it is too large".into())),
        Ok(_) => std::fs::read(path).map_err(|error| refuse(error.to_string())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn finish(done: Result<i32, Stop>, err: &mut dyn Write) -> i32 {
    done.unwrap_or_else(|Stop(code, why)| {
        let _ = writeln!(err, "{why}");
        code
    })
}
