//! `kt policy`: what a config says before it is deployed, what its policies find in a text, and whether its tests pass.

mod cases;
pub mod coverage;
mod lines;
pub mod lint;
mod report;
pub mod scan;
mod table;
pub mod test;
mod trial;

use clap::Subcommand;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// The commands of `kt policy`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check a config and report every error at once; exit 0 valid, 2 invalid
    Lint {
        /// The config file
        #[arg(long, value_name = "FILE")]
        file: PathBuf,
        /// Machine-readable output on stdout
        #[arg(long)]
        json: bool,
    },
    /// Show what each policy finds in a text; exit 0, or 2 on a bad config
    Scan(scan::Args),
    /// Try the cases of a pack on its chain; exit 0 all pass, 1 failures, 2 bad input
    Test(test::Args),
    /// Show what each policy enforces where, by asking it; exit 0, or 2 on a bad config
    Coverage(coverage::Args),
}

/// Runs a command and returns the exit code of the process.
pub fn run(command: &Command, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
    match command {
        Command::Lint { file, json } => lint::lint(file, *json, super::colour(), out, err),
        Command::Scan(args) => {
            let terminals = scan::Terminals { input: io::stdin().is_terminal(), output: io::stdout().is_terminal() };
            scan::scan(args, io::stdin().lock(), terminals, out, err)
        }
        Command::Test(args) => test::test(args, io::stdout().is_terminal() && super::colour(), out, err),
        Command::Coverage(args) => coverage::coverage(args, out, err),
    }
}
