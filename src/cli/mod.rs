//! The command line: one file a command group. Messages for people go to stderr, results to stdout.

pub mod audit;
pub mod audit_bodies;
pub mod completions;
pub mod doctor;
pub mod gateway;
pub mod init;
pub mod logging;
pub mod policy;
pub mod schema;
pub mod simulate;

use clap::{CommandFactory, Parser, Subcommand};
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

/// An edge gateway for LLM traffic: policies enforced on every channel, streamed or not, with an audit log behind every exchange
#[derive(Debug, Parser)]
#[command(name = "kt", version, about, propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway
    Gateway {
        #[command(subcommand)]
        command: GatewayCommand,
    },
    /// Check policies, try them on texts, run their tests
    Policy {
        #[command(subcommand)]
        command: policy::Command,
    },
    /// Read, verify, export and prove the audit log, and hold it
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Check config, keys, DNS, TLS, models, the audit directory, the clock and limits; exit 0 well, 1 not
    Doctor(doctor::Args),
    /// Run the simulated Cerebras upstream
    Simulate(simulate::Args),
    /// Write a commented config and sample tests; exit 0 written, 2 something is in the way, 1 cannot be written
    Init(init::Args),
    /// Print the JSON Schema of the config, for editor completion
    Schema,
    /// Print a completion script for a shell
    Completions(completions::Args),
}

#[derive(Debug, Subcommand)]
enum GatewayCommand {
    /// Run the gateway in the foreground; SIGTERM drains it, SIGHUP reloads its config
    Run(gateway::Args),
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Re-hash the whole log and check that no record is missing or changed; exit 0 intact, 1 damaged
    Verify(audit::verify::Args),
    /// Print the newest records
    Tail(audit::tail::Args),
    /// Find records by time and by what is in them
    Query(audit::query::Args),
    /// Write the log in forms that other tools read
    Export(audit::export::Args),
    /// Prove that a record is in the log, or check such a proof; exit 0 proved, 1 not
    Prove(audit::prove::Args),
    /// Keep records beyond their time
    Hold {
        #[command(subcommand)]
        command: audit::hold::Command,
    },
    /// Show the bodies stored of an exchange and check them against its record; exit 0 they are the ones, 1 not, 2 nothing to open
    Open(audit_bodies::Open),
    /// Erase salts and bodies of an exchange; the log says so and stays intact
    Erase(audit_bodies::EraseArgs),
}

impl AuditCommand {
    fn run(&self, caller: &audit::Caller, out: &mut dyn Write, err: &mut dyn Write) -> i32 {
        match self {
            AuditCommand::Verify(args) => audit::verify::run(args, caller, out, err),
            AuditCommand::Tail(args) => audit::tail::run(args, caller, out, err),
            AuditCommand::Query(args) => audit::query::run(args, caller, out, err),
            AuditCommand::Export(args) => audit::export::run(args, caller, out, err),
            AuditCommand::Prove(args) => audit::prove::run(args, caller, out, err),
            AuditCommand::Open(args) => args.run(out, err),
            AuditCommand::Erase(args) => args.run(out, err),
            AuditCommand::Hold { command } => audit::hold::run(command, caller, out, err),
        }
    }
}

#[derive(Debug, Clone, clap::Args)]
struct AuditDir {
    /// Where the log lives [default: $STATE_DIRECTORY/audit, else ./audit]
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,
}

impl AuditDir {
    fn path(&self) -> PathBuf {
        self.audit_dir.clone().unwrap_or_else(default_audit_dir)
    }
}

impl Cli {
    /// Runs the command and returns the exit code of the process.
    pub fn run(self) -> i32 {
        let (out, err) = (&mut io::stdout().lock(), &mut io::stderr());
        match self.command {
            Command::Gateway { command: GatewayCommand::Run(args) } => gateway::run(&args),
            Command::Policy { command } => policy::run(&command, out, err),
            Command::Audit { command } => command.run(&audit::Caller::of_this_process(), out, err),
            Command::Doctor(args) => doctor::doctor(&args, out, err),
            Command::Simulate(args) => simulate::run(args),
            Command::Init(args) => init::init(&args, out, err),
            Command::Schema => schema::schema(out),
            Command::Completions(args) => completions::completions(&args, Cli::command(), out),
        }
    }
}

/// `$STATE_DIRECTORY/audit` (systemd sets it), else `./audit`.
pub(crate) fn default_audit_dir() -> PathBuf {
    match std::env::var_os("STATE_DIRECTORY") {
        Some(state) if !state.is_empty() => PathBuf::from(state).join("audit"),
        _ => PathBuf::from("audit"),
    }
}

/// Colour on a terminal only, and never under `NO_COLOR`.
pub(crate) fn colour() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
