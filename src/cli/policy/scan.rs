//! `kt policy scan`: what each policy finds in a text, to try a config out and to measure it.

use super::lines::{Line, Lines, MAX_LINE};
use super::lint;
use super::report::{Examiner, Model, Report, Role};
use super::table::{Table, harmless};
use crate::config::{self, ChainEntry, Kind, PolicyBlocks, When};
use crate::gateway;
use crate::openai::json::{Kind as Json, Reader, utf8};
use crate::policy::chain::{Chain, Mode};
use std::borrow::Cow;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// What `kt policy scan` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The text; standard input when absent
    #[arg(conflicts_with = "jsonl")]
    text: Option<String>,
    /// The config whose chain judges; without one prompt-injection and pii-detector do, with their defaults
    #[arg(long, value_name = "FILE")]
    policy_config: Option<PathBuf>,
    /// Read `{"text", "role"?}` lines from standard input and print one JSON object for each, in order; blank lines are skipped
    #[arg(long)]
    jsonl: bool,
    /// Who wrote the text, or the lines that do not say
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// Add the verdict of each policy, the score of each finding, what the model makes of the text, and the text as it would go on
    #[arg(long)]
    explain: bool,
    /// JSON also on a terminal
    #[arg(long)]
    json: bool,
}

/// Which of its ends are terminals.
#[derive(Debug, Clone, Copy)]
pub struct Terminals {
    /// Standard input.
    pub input: bool,
    /// Standard output.
    pub output: bool,
}

/// Prints what is found and returns the exit code: 0 whatever it is, 2 for a config or a text that cannot be used, 1 when the
/// outcome could not be written.
pub fn scan(args: &Args, input: impl Read, terminals: Terminals, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let chain = match chain(args.policy_config.as_deref(), err) {
        Ok(chain) => chain,
        Err(code) => return code,
    };
    let mut examiner = Examiner::new(&chain, args.explain);
    if examiner.kinds().is_empty() {
        let _ = writeln!(err, "the chain of this config has no policy that judges texts: nothing will be found");
    }
    let mut out = BufWriter::with_capacity(1 << 16, out);
    let done = match &args.text {
        _ if args.jsonl => jsonl(&mut examiner, args.role, input, &mut out, err),
        Some(text) => one(&mut examiner, text, args, terminals, &mut out, err),
        None => {
            if terminals.input {
                let _ = writeln!(err, "type the text, then Ctrl-D");
            }
            match whole(input) {
                Ok(text) => one(&mut examiner, &text, args, terminals, &mut out, err),
                Err(why) => {
                    let _ = writeln!(err, "standard input cannot be scanned: {why}");
                    return 2;
                }
            }
        }
    };
    match done.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => code,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 1,
        Err(error) => {
            let _ = writeln!(err, "kt policy scan stopped: {error}");
            1
        }
    }
}

/// The chain that judges; the error is the exit code of a config that cannot be used, once that is told.
pub(super) fn chain(file: Option<&Path>, err: &mut dyn Write) -> Result<Chain, i32> {
    let (entries, mut blocks) = match file {
        Some(file) => {
            let config = config::load(file).map_err(|faults| lint::explain(&faults, err))?.config;
            (config.policies.chain, config.policy)
        }
        None => {
            let entries = [Kind::PromptInjection, Kind::PiiDetector].map(|kind| ChainEntry { kind, when: When::default() });
            (entries.into(), PolicyBlocks::default())
        }
    };
    // It keeps rules and places out of records; whoever scans a text asks for them.
    blocks.pii_detector.redaction.include_metadata = true;
    gateway::chain(&entries, &blocks, Mode::default()).map_err(|error| {
        let _ = writeln!(err, "this config cannot be used: {error}");
        2
    })
}

/// All of an input, within the bound.
fn whole(input: impl Read) -> Result<String, String> {
    let mut bytes = Vec::new();
    input.take(MAX_LINE as u64 + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() > MAX_LINE {
        return Err(too_long());
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

fn too_long() -> String {
    format!("it is longer than {} MiB", MAX_LINE >> 20)
}

fn one(
    examiner: &mut Examiner,
    text: &str,
    args: &Args,
    terminals: Terminals,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<i32> {
    match examiner.examine(text, args.role) {
        Ok(report) if terminals.output && !args.json => people(&report, &examiner.kinds(), args.explain, out)?,
        Ok(report) => writeln!(out, "{}", serde_json::to_string(&report)?)?,
        Err(why) => {
            writeln!(err, "{why}")?;
            return Ok(1);
        }
    }
    Ok(0)
}

/// One object for each line, in order, each handed over before the next line is waited for.
fn jsonl(examiner: &mut Examiner, role: Role, input: impl Read, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<i32> {
    let mut lines = Lines::new(input, MAX_LINE);
    let (mut number, mut bad) = (0u64, 0u64);
    while let Some(line) = lines.next()? {
        number += 1;
        let said = match line {
            Line::TooLong => Err(too_long()),
            Line::Whole(bytes) if bytes.trim_ascii().is_empty() => continue,
            Line::Whole(bytes) => entry(bytes, role).and_then(|(text, role)| examiner.examine(&text, role)),
        };
        match said {
            Ok(report) => serde_json::to_writer(&mut *out, &report)?,
            Err(why) => {
                bad += 1;
                serde_json::to_writer(&mut *out, &serde_json::json!({"error": format!("line {number}: {why}")}))?;
            }
        }
        out.write_all(b"\n")?;
        if lines.may_wait() {
            out.flush()?;
        }
    }
    if bad > 0 {
        writeln!(err, "{} could not be scanned: their objects hold `error`", lint::count(bad as usize, "line"))?;
    }
    Ok(0)
}

/// The text and the role of one line; members of other names are somebody else's.
fn entry(line: &[u8], role: Role) -> Result<(Cow<'_, str>, Role), String> {
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    let unreadable = |error: crate::openai::json::JsonError| error.to_string();
    let mut reader = Reader::strict(utf8(line).map_err(unreadable)?);
    let (mut text, mut role) = (None, role);
    reader.enter_object().map_err(unreadable)?;
    while let Some(key) = reader.next_key().map_err(unreadable)? {
        match (key.decode().as_ref(), reader.kind().map_err(unreadable)?) {
            ("text", Json::String) => text = Some(reader.string().map_err(unreadable)?.decode()),
            ("text", _) => return Err("`text` must be a string".into()),
            ("role", Json::String) => {
                let word = reader.string().map_err(unreadable)?.decode();
                role = Role::named(&word).ok_or("the roles are `user`, `tool`, `system`, `assistant` and `answer`")?;
            }
            ("role", Json::Null) => reader.null().map_err(unreadable)?,
            ("role", _) => return Err("`role` must be a string".into()),
            _ => _ = reader.skip().map_err(unreadable)?,
        }
    }
    reader.end().map_err(unreadable)?;
    Ok((text.ok_or("it has no `text`")?, role))
}

fn people(report: &Report, kinds: &[&str], explain: bool, out: &mut dyn Write) -> io::Result<()> {
    if report.findings.is_empty() {
        writeln!(out, "{}: nothing found by {}", report.verdict, kinds.join(", "))?;
    } else {
        writeln!(out, "{}: {}\n", report.verdict, lint::count(report.findings.len(), "finding"))?;
        let mut table = Table::new(["POLICY", "TYPE", "FROM", "TO", "RULE", if explain { "SCORE  WORDS" } else { "" }]);
        for found in &report.findings {
            let score = found.score.map(|score| format!("{score:<5.2}")).unwrap_or_default();
            let more = format!("{score}  {}", found.quote);
            let (from, to) = (found.start.to_string(), found.end.to_string());
            table.push([found.policy, &found.what, &from, &to, &found.rule, more.trim_end()]);
        }
        write!(out, "{table}")?;
    }
    if !report.policies.is_empty() {
        writeln!(out)?;
    }
    for said in &report.policies {
        let why = said.reason_code.map(|code| format!(" ({code})")).unwrap_or_default();
        writeln!(out, "{}: {}{why}", said.policy, said.verdict)?;
        for line in said.model.iter().flat_map(Model::lines) {
            writeln!(out, "  {}", harmless(&line))?;
        }
    }
    if let Some(redacted) = &report.redacted {
        writeln!(out, "\ngoes on as:\n{}", redacted.lines().map(harmless).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(())
}
