//! `kt completions`: what a shell needs to complete the command line.

use clap_complete::{Shell, generate};
use std::io::Write;

/// What `kt completions` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for `command` and returns the exit code: 0, or 1 when it could not be written.
pub fn completions(args: &Args, mut command: clap::Command, out: &mut dyn Write) -> i32 {
    // Written into memory first: the generator panics where a reader goes away.
    let mut script = Vec::new();
    generate(args.shell, &mut command, "kt", &mut script);
    i32::from(out.write_all(&script).and_then(|()| out.flush()).is_err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory, ValueEnum};

    #[test]
    fn every_shell_learns_every_command() {
        for shell in Shell::value_variants() {
            let mut script = Vec::new();
            assert_eq!(completions(&Args { shell: *shell }, crate::cli::Cli::command(), &mut script), 0);
            let script = String::from_utf8(script).unwrap();
            for command in ["gateway", "policy", "scan", "audit", "doctor", "init", "simulate", "schema", "completions"] {
                assert!(script.contains(command), "{shell} {command}");
            }
        }
    }
}
