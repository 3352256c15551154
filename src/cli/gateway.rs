//! `kt gateway run`.

use crate::policy::chain::{FailMode, Mode};
use crate::server::{self, Run, RunError};
use clap::ValueEnum;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Run the gateway in the foreground
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Address of the public listener
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:41002")]
    listen: SocketAddr,

    /// The config file
    #[arg(long, value_name = "FILE", default_value = "policy-config.yaml")]
    policy_config: PathBuf,

    /// Address of the admin listener (metrics, config, reload): keep it off the network
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:41003")]
    admin_listen: SocketAddr,

    /// What happens to a request when a policy itself fails
    #[arg(long, value_enum, default_value_t = FailModeArg::Block)]
    fail_mode: FailModeArg,

    /// LLM requests in flight beyond which new ones are answered 503 `overloaded`
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_concurrency: u32,

    /// Where the audit log lives [default: $STATE_DIRECTORY/audit, else ./audit]
    #[arg(long, value_name = "DIR")]
    audit_dir: Option<PathBuf>,

    /// Certificate chain for a TLS listener, PEM
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,

    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,

    /// Let targets whose key is absent answer from the built-in simulator: no key, no network
    #[arg(long)]
    simulate: bool,

    /// Evaluate and record every policy, never block or rewrite
    #[arg(long)]
    observe: bool,

    /// How long requests under way may take to end after SIGTERM, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    drain_seconds: u64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FailModeArg {
    /// 503 `policy_error`
    Block,
    /// The request goes on, marked `degraded` in its record
    Allow,
}

/// Runs until stopped. Exit code 0 after a graceful stop, 2 on a bad config, 1 otherwise.
pub fn run(args: &Args) -> i32 {
    match server::run(&args.to_run()) {
        Ok(()) => 0,
        Err(RunError::Config(errors)) => {
            errors.iter().for_each(|error| eprintln!("{error}"));
            eprintln!("kt: {} is not valid: {} error(s); nothing was started", args.policy_config.display(), errors.len());
            2
        }
        Err(error) => {
            eprintln!("kt: {error}");
            1
        }
    }
}

impl Args {
    fn to_run(&self) -> Run {
        let fail = match self.fail_mode {
            FailModeArg::Block => FailMode::Block,
            FailModeArg::Allow => FailMode::Allow,
        };
        Run {
            listen: self.listen,
            admin_listen: self.admin_listen,
            policy_config: self.policy_config.clone(),
            audit_dir: self.audit_dir.clone().unwrap_or_else(super::default_audit_dir),
            mode: Mode { fail, observe: self.observe },
            max_concurrency: self.max_concurrency,
            tls: self.tls_cert.clone().zip(self.tls_key.clone()),
            simulate: self.simulate,
            drain: Duration::from_secs(self.drain_seconds),
        }
    }
}
