//! `kt policy lint`: everything that is wrong with a configuration, before it is deployed.

use crate::config::{self, Diagnostic, Severity};
use serde_json::json;
use std::io::{self, Write};
use std::path::Path;

/// The exit code of a configuration that can be used, with or without warnings.
const VALID: i32 = 0;
/// The exit code of one that cannot.
const INVALID: i32 = 2;
/// The exit code when the outcome could not be written.
const BROKEN_PIPE: i32 = 1;

/// Checks a file and returns the exit code: 0 when it can be used, 2 when it cannot, 1 when the outcome could not be written.
///
/// For people: diagnostics on `err`, one line of outcome on `out`. With `json`: one object on `out`, nothing on `err`.
/// Never looks at the environment: a configuration is valid on the machine of its author too.
pub fn lint(file: &Path, json: bool, color: bool, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let outcome = config::load(file);
    let (diagnostics, code) = match &outcome {
        Ok(loaded) => (&loaded.warnings, VALID),
        Err(faults) => (faults, INVALID),
    };
    let written = match json {
        true => machine(file, diagnostics, &outcome, out),
        false => people(file, diagnostics, color, out, err),
    };
    if written.is_err() { BROKEN_PIPE } else { code }
}

/// Tells people of the faults of a file that another command needs; returns that command's exit code.
pub(super) fn explain(faults: &[Diagnostic], err: &mut dyn Write) -> i32 {
    for fault in faults {
        // Nobody is left to tell when this cannot be written.
        let _ = writeln!(err, "{}", fault.render(crate::cli::colour()));
    }
    INVALID
}

fn machine(
    file: &Path,
    diagnostics: &[Diagnostic],
    outcome: &Result<config::Loaded, Vec<Diagnostic>>,
    out: &mut dyn Write,
) -> io::Result<()> {
    let (errors, warnings) = counts(diagnostics);
    let report = json!({
        "file": file.display().to_string(),
        "valid": outcome.is_ok(),
        "sha256": outcome.as_ref().ok().map(|loaded| hex::encode(loaded.sha256)),
        "errors": errors,
        "warnings": warnings,
        "diagnostics": diagnostics,
    });
    writeln!(out, "{report:#}")?;
    out.flush()
}

fn people(file: &Path, diagnostics: &[Diagnostic], color: bool, out: &mut dyn Write, err: &mut dyn Write) -> io::Result<()> {
    for diagnostic in diagnostics {
        writeln!(err, "{}", diagnostic.render(color))?;
    }
    err.flush()?;
    let file = file.display();
    match counts(diagnostics) {
        (0, 0) => writeln!(out, "{file}: valid")?,
        (0, warnings) => writeln!(out, "{file}: valid, {}", count(warnings, "warning"))?,
        (errors, _) => writeln!(out, "{file}: invalid, {}", count(errors, "error"))?,
    }
    out.flush()
}

fn counts(diagnostics: &[Diagnostic]) -> (usize, usize) {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error).count();
    (errors, diagnostics.len() - errors)
}

/// A number and its noun.
pub(super) fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(text: &str, json: bool) -> (i32, String, String) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("policy-config.yaml");
        std::fs::write(&file, text).unwrap();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let code = lint(&file, json, false, &mut out, &mut err);
        (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
    }

    const VALID_TEXT: &str = "pack: {name: a, version: 1.0.0, enabled: true}\npolicies: {chain: [audit-logger]}\n\
                              providers: {targets: [{id: a, provider: cerebras}]}\n";

    #[test]
    fn a_valid_file_exits_with_0_and_one_line() {
        let (code, out, err) = run(VALID_TEXT, false);
        assert_eq!(code, 0);
        assert!(out.ends_with("policy-config.yaml: valid\n"), "{out}");
        assert_eq!(err, "");
    }

    #[test]
    fn warnings_do_not_make_a_file_invalid() {
        let (code, out, err) = run(&VALID_TEXT.replace("audit-logger", "pii-detector"), false);
        assert_eq!(code, 0);
        assert!(out.ends_with("valid, 1 warning\n"), "{out}");
        assert!(err.starts_with("warning[W001]"), "{err}");
    }

    #[test]
    fn an_invalid_file_exits_with_2_and_all_its_errors() {
        let (code, out, err) = run(&VALID_TEXT.replace("enabled: true", "enabled: yes, nam: b"), false);
        assert_eq!(code, 2);
        assert!(out.ends_with("invalid, 2 errors\n"), "{out}");
        assert!(err.contains("error[E004]") && err.contains("error[E002]"), "{err}");
    }

    #[test]
    fn a_machine_reads_one_object_and_nothing_else() {
        let (code, out, err) = run(&VALID_TEXT.replace("cerebras", "cerebra"), true);
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!((code, err.as_str()), (2, ""));
        assert_eq!(report["valid"], false);
        assert_eq!(report["diagnostics"][0]["code"], "E010");
        assert_eq!(report["diagnostics"][0]["line"], 3);
    }

    #[test]
    fn a_missing_file_is_invalid() {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        assert_eq!(lint(Path::new("/nowhere/policy-config.yaml"), false, false, &mut out, &mut err), 2);
        assert!(String::from_utf8(err).unwrap().starts_with("error[E018]"));
    }
}
