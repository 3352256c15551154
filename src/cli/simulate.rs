//! `kt simulate`: the simulated Cerebras as a server of its own.

use crate::simulator::{Settings, Simulator, fault};
use clap::Args as ClapArgs;
use std::io;
use std::net::SocketAddr;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Run the simulated Cerebras upstream
#[derive(Debug, Clone, ClapArgs)]
#[command(after_long_help = help())]
pub struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:41099")]
    listen: SocketAddr,

    /// Speed of every model; 0 sends answers at once [default: 2100 for the 70b llamas, 6000 for llama3.1-8b]
    #[arg(long, value_name = "N")]
    tokens_per_second: Option<u32>,

    /// Length of every plain answer in tokens [default: 40 to 80, by the prompt]
    #[arg(long, value_name = "N")]
    tokens_per_answer: Option<usize>,

    /// Refuse top-level request fields that Cerebras does not know
    #[arg(long)]
    strict: bool,

    /// Environment variable holding the only key to accept [default: any key or none]
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
}

/// Runs until SIGTERM or SIGINT, then stops at once. Returns the exit code: 0 after a signal, 2 for arguments that cannot be
/// used, 1 otherwise.
pub fn run(args: Args) -> i32 {
    let api_key = match args.api_key_env.as_deref().map(|name| (name, std::env::var(name))) {
        None => None,
        Some((_, Ok(key))) => Some(key),
        Some((name, Err(_))) => {
            eprintln!("kt simulate: the variable {name} named by --api-key-env is not set");
            return 2;
        }
    };
    let settings = Settings {
        tokens_per_second: args.tokens_per_second,
        tokens_per_answer: args.tokens_per_answer,
        strict: args.strict,
        api_key,
    };
    let served = Simulator::bind(args.listen, settings).and_then(|simulator| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let result = runtime.block_on(until_signalled(simulator));
        // Streams under way are cut: whoever stops a simulator does not want to wait for it.
        runtime.shutdown_background();
        result
    });
    match served {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("kt simulate: cannot serve on {}: {error}", args.listen);
            1
        }
    }
}

async fn until_signalled(simulator: Simulator) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let address = simulator.address();
    eprintln!("The simulated Cerebras listens on http://{address}/v1 (any key; no model, no network). Try:");
    eprintln!(
        "  curl -N http://{address}/v1/chat/completions -H 'content-type: application/json' \\\n    \
         -d '{{\"model\": \"llama3.3-70b\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'"
    );
    eprintln!("The last request as it arrived: curl http://{address}/sim/last");
    // The sender lives as long as this function: the simulator stops when it is told or dropped.
    let (_stop, stopping) = watch::channel(false);
    tokio::select! {
        result = simulator.serve(stopping) => result,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}

fn help() -> String {
    format!(
        "Faults, by model (\"sim-429\") or by header for any model (\"x-sim-fault: 429\"):\n{}\n\
         Echo: the model \"echo\", the header \"x-sim-echo: 1\", or a user message beginning with \"echo:\".\n\
         Other headers: x-sim-after, x-sim-retry-after, x-sim-tokens, x-sim-tokens-per-second, x-sim-style (cerebras, openai), \
         x-sim-strict.\nGET /sim/last shows the last request as it arrived, GET /sim/counts how answers ended.",
        fault::help()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_lists_every_fault() {
        for (name, _) in fault::TABLE {
            assert!(help().contains(name), "{name}");
        }
    }
}
