//! `kt policy test`: whether the chain of a pack says what its author expects, case by case.

use super::cases::{self, Origin};
use super::lint;
use super::table::{Table, harmless};
use super::trial::{self, Outcome, Seen};
use crate::config::{self, Case, Code, Diagnostic};
use crate::gateway;
use crate::policy::chain::{Chain, Decision, Mode};
use serde_json::{Value, json};
use std::io::{self, Write};
use std::path::PathBuf;

/// What `kt policy test` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config whose chain is tried [default: policy-config.yaml in the pack]
    #[arg(long, value_name = "FILE")]
    policy_config: Option<PathBuf>,
    /// The pack: a directory with a config and `tests/*.json`
    #[arg(long, value_name = "DIR", default_value = ".")]
    pack_dir: PathBuf,
    /// Machine-readable output on stdout
    #[arg(long)]
    json: bool,
    /// Show what each policy said of each case
    #[arg(long)]
    explain: bool,
}

/// The exit codes.
const PASSED: i32 = 0;
const FAILED: i32 = 1;
const BAD_INPUT: i32 = 2;

/// Tries every case and returns the exit code: 0 all pass, 1 one does not or the outcome could not be written, 2 the config or a
/// case cannot be used.
pub fn test(args: &Args, colour: bool, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let (chain, suites) = match load(args) {
        Ok(loaded) => loaded,
        Err(faults) if args.json => {
            let _ = writeln!(out, "{:#}", json!({"passed": 0, "failed": 0, "cases": [], "diagnostics": faults}));
            return BAD_INPUT;
        }
        Err(faults) => return lint::explain(&faults, err),
    };
    let trials: Vec<Trial<'_>> = suites
        .iter()
        .flat_map(|origin| origin.suite.cases.iter().map(|case| Trial::of(&chain, origin, case, args.explain)))
        .collect();
    let code = trials.iter().map(Trial::code).max().unwrap_or(PASSED);
    let written = match args.json {
        true => machine(&trials, args.explain, out),
        false => people(&trials, args.explain, colour, out),
    };
    if written.is_err() { FAILED } else { code }
}

/// The chain and its cases.
fn load(args: &Args) -> Result<(Chain, Vec<Origin>), Vec<Diagnostic>> {
    let file = args.policy_config.clone().unwrap_or_else(|| args.pack_dir.join("policy-config.yaml"));
    let name = file.display().to_string();
    let config = config::load(&file);
    let tests = cases::read(&args.pack_dir);
    let (config, mut suites) = match (config, tests) {
        (Ok(loaded), Ok(suites)) => (loaded.config, suites),
        // Everything at once, as ever.
        (config, tests) => return Err([config.err().unwrap_or_default(), tests.err().unwrap_or_default()].concat()),
    };
    suites.extend(config.testing.into_iter().map(|suite| Origin { file: name.clone(), suite }));
    if suites.iter().all(|origin| origin.suite.cases.is_empty()) {
        let message = format!(
            "no case: nothing matches {} and the config has no `testing.suites`",
            args.pack_dir.join("tests/*.json").display()
        );
        let fault = Diagnostic::new(Code::MissingKey, message).help("`kt init` writes a pack with sample tests");
        return Err(vec![fault.of_file(&name)]);
    }
    let chain = gateway::chain(&config.policies.chain, &config.policy, Mode::default());
    let chain = chain.map_err(|error| vec![Diagnostic::new(Code::BadValue, error.to_string()).of_file(&name)])?;
    Ok((chain, suites))
}

/// A case that was tried.
struct Trial<'a> {
    origin: &'a Origin,
    case: &'a Case,
    outcome: Result<Outcome, String>,
}

impl<'a> Trial<'a> {
    fn of(chain: &Chain, origin: &'a Origin, case: &'a Case, explain: bool) -> Self {
        Self { origin, case, outcome: trial::run(chain, &case.input, explain) }
    }

    fn code(&self) -> i32 {
        let expected = &self.case.expected;
        match &self.outcome {
            Err(_) => BAD_INPUT,
            Ok(got) if got.verdict != expected.verdict.as_str() => FAILED,
            Ok(got) if expected.reason_code.as_ref().is_some_and(|code| !got.reasons().contains(&code.as_str())) => FAILED,
            Ok(_) => PASSED,
        }
    }

    fn word(&self) -> &'static str {
        match self.code() {
            PASSED => "pass",
            FAILED => "FAIL",
            _ => "BAD",
        }
    }

    fn expected(&self) -> String {
        said(self.case.expected.verdict.as_str(), self.case.expected.reason_code.as_deref())
    }

    fn got(&self) -> String {
        match &self.outcome {
            Ok(got) => said(got.verdict, got.reasons()),
            Err(_) => "not a case".into(),
        }
    }

    fn object(&self, explain: bool) -> Value {
        let expected = &self.case.expected;
        let mut object = json!({
            "file": self.origin.file, "suite": self.origin.suite.name, "case": self.case.name, "pass": self.code() == PASSED,
            "expected": {"verdict": expected.verdict, "reason_code": expected.reason_code},
        });
        match &self.outcome {
            Ok(got) => {
                object["got"] = json!({"verdict": got.verdict, "reason_codes": got.reasons()});
                if explain {
                    object["decisions"] = got.decisions.iter().map(decision).collect();
                    object["models"] = got
                        .seen
                        .iter()
                        .map(|seen| json!({"policy": seen.policy, "message": seen.message, "model": seen.model}))
                        .collect();
                }
            }
            Err(why) => object["error"] = json!(why),
        }
        object
    }
}

/// A verdict and its reasons in one cell.
fn said<'a>(verdict: &str, reasons: impl IntoIterator<Item = &'a str>) -> String {
    let reasons: Vec<&str> = reasons.into_iter().collect();
    if reasons.is_empty() { verdict.to_owned() } else { format!("{verdict} ({})", reasons.join(", ")) }
}

/// What one policy said, for machines.
fn decision(said: &Decision) -> Value {
    let found: serde_json::Map<_, _> = said.found.iter().map(|(what, count)| (what.clone(), json!(count))).collect();
    json!({
        "policy": said.kind, "phase": said.phase, "verdict": said.verdict, "reason_code": said.reason_code, "score": said.score,
        "rules": said.rules, "found": found,
    })
}

fn machine(trials: &[Trial<'_>], explain: bool, out: &mut dyn Write) -> io::Result<()> {
    let passed = trials.iter().filter(|trial| trial.code() == PASSED).count();
    let cases: Vec<Value> = trials.iter().map(|trial| trial.object(explain)).collect();
    writeln!(out, "{:#}", json!({"passed": passed, "failed": trials.len() - passed, "cases": cases}))?;
    out.flush()
}

fn people(trials: &[Trial<'_>], explain: bool, colour: bool, out: &mut dyn Write) -> io::Result<()> {
    let mut table = Table::new(["RESULT", "SUITE", "CASE", "EXPECTED", "GOT"]);
    for trial in trials {
        table.push([trial.word(), &trial.origin.suite.name, &trial.case.name, &trial.expected(), &trial.got()]);
    }
    let paint = |line: &str, word: &str| match (colour, word) {
        (false, _) => line.to_owned(),
        (true, "pass") => line.replacen(word, "\x1b[32mpass\x1b[0m", 1),
        (true, _) => line.replacen(word, &format!("\x1b[1;31m{word}\x1b[0m"), 1),
    };
    let table = table.to_string();
    let mut lines = table.lines();
    writeln!(out, "{}", lines.next().unwrap_or_default())?;
    for (trial, line) in trials.iter().zip(lines) {
        writeln!(out, "{}", paint(line, trial.word()))?;
        match &trial.outcome {
            Err(why) => writeln!(out, "        {}: {}", harmless(&trial.origin.file), harmless(why))?,
            Ok(got) if explain => {
                got.decisions.iter().try_for_each(|said| writeln!(out, "        {}", explained(said)))?;
                for Seen { policy, message, model } in &got.seen {
                    writeln!(out, "        {policy} on message {message}:")?;
                    model.lines().try_for_each(|line| writeln!(out, "          {}", harmless(&line)))?;
                }
            }
            Ok(_) => {}
        }
    }
    let count = |code| trials.iter().filter(|trial| trial.code() == code).count();
    let bad = match count(BAD_INPUT) {
        0 => String::new(),
        bad => format!(", {bad} cannot be tried"),
    };
    writeln!(out, "\n{} passed, {} failed{bad}", count(PASSED), count(FAILED))?;
    out.flush()
}

/// What one policy said, for people.
fn explained(said: &Decision) -> String {
    let side = if said.phase == "input" { "prompt" } else { "answer" };
    let mut line = format!("{} on the {side}: {}", said.kind, said.verdict);
    if let Some(score) = said.score {
        line += &format!(", score {score:.2}");
    }
    if !said.rules.is_empty() {
        line += &format!(", by {}", said.rules.join(", "));
    }
    line
}

#[cfg(test)]
mod tests;
