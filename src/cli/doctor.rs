//! `kt doctor`: what would keep a gateway from running well, before it runs.

use crate::server::doctor::{Finding, Grade, examine};
use std::io::Write;
use std::path::PathBuf;

/// What `kt doctor` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    policy_config: PathBuf,
    /// Where the audit log would live [default: $STATE_DIRECTORY/audit, else ./audit]
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
    /// Machine-readable output
    #[arg(long)]
    json: bool,
}

/// Prints what was found. Returns 0 when nothing is wrong (warnings aside), 1 otherwise.
pub fn doctor(args: &Args, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    let audit_dir = args.audit_dir.clone().unwrap_or_else(super::default_audit_dir);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = writeln!(err, "kt doctor cannot run: {error}");
            return 1;
        }
    };
    let found = runtime.block_on(examine(&args.policy_config, &audit_dir));
    runtime.shutdown_background();
    let well = found.iter().all(|finding| finding.grade != Grade::Error);
    let printed = match args.json {
        true => writeln!(out, "{}", serde_json::json!({"ok": well, "findings": found})),
        false => found.iter().try_for_each(|finding| print(finding, out)),
    };
    // Whoever read went away: the outcome is the same.
    let _ = printed;
    i32::from(!well)
}

fn print(finding: &Finding, out: &mut dyn Write) -> std::io::Result<()> {
    let grade = match finding.grade {
        Grade::Ok => "ok",
        Grade::Warning => "warning",
        Grade::Error => "error",
    };
    let mut lines = finding.text.lines();
    writeln!(out, "{grade:<8} {}: {}", finding.subject, lines.next().unwrap_or_default())?;
    lines.try_for_each(|line| writeln!(out, "         {line}"))
}
