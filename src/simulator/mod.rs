//! The simulated Cerebras: a provider that needs no key and no network, answers at the real one's pace, and fails on demand.
//!
//! `kt simulate` runs it alone, `kt gateway run --simulate` beside the gateway, tests and load tests inside their own process.
//! It speaks HTTP/1.1 and cleartext HTTP/2 on one port.
//!
//! | path | answers |
//! |---|---|
//! | `POST /v1/chat/completions`, `/v1/completions` | text, whole or streamed; tool calls; structured outputs |
//! | `POST /v1/embeddings` | unit vectors, as numbers or base64 |
//! | `GET /v1/models`, `/v1/models/{id}` | the models it plays |
//! | `GET /v1/tcp_warming`, `/health` | at once |
//! | `GET /sim/last` | the last POST as it arrived, headers and body: what redaction left of a prompt |
//! | `GET /sim/counts` | requests, and how their answers ended |
//!
//! Answers are the same for the same prompt. Echo: the model `echo`, the header `x-sim-echo: 1`, or a last user message that
//! begins with `echo:` returns that message token by token. A tool is called when `tool_choice` demands it or the last user
//! message names it. Models beginning with `gpt-`, `openai-` and `text-embedding-` answer in OpenAI's manners, all others,
//! `gpt-oss-` among them, in Cerebras's.
//!
//! Faults, by model (`sim-429`) or header (`x-sim-fault: 429`), are listed in [`fault::TABLE`]. Other headers: `x-sim-after`
//! (tokens before a fault in the middle), `x-sim-retry-after` (seconds), `x-sim-tokens` (exact length of the answer),
//! `x-sim-tokens-per-second` (0: unpaced), `x-sim-style` (`cerebras`, `openai`), `x-sim-strict: 1` (unknown fields are refused,
//! as Cerebras does).
//!
//! What it is not: it enforces no rate limits, ignores `temperature`, `seed`, `logit_bias` and `logprobs`, and reads plain JSON
//! bodies only.

mod answer;
mod ask;
mod connection;
mod embedding;
pub mod fault;
mod ledger;
mod model;
mod pace;
mod refusal;
mod reply;
mod schema;
mod socket;
#[cfg(test)]
mod tests;
mod tokens;
mod wire;

use async_trait::async_trait;
use connection::Connection;
use ledger::Ledger;
use pingora_core::apps::{HttpServerOptions, ServerApp};
use pingora_core::protocols::l4::stream::Stream;
use pingora_core::protocols::l4::virt::VirtualSocketStream;
use pingora_core::server::{ListenFds, ShutdownWatch};
use pingora_core::services::Service;
use socket::{ResetSwitch, Socket};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

/// How the simulator behaves. The default is every model at its own pace, lenient, with no key.
#[derive(Clone, Default)]
pub struct Settings {
    /// Speed of every model in tokens per second; zero sends everything at once.
    pub tokens_per_second: Option<u32>,
    /// Length of every plain answer in tokens.
    pub tokens_per_answer: Option<usize>,
    /// Refuse unknown top-level fields, as Cerebras does.
    pub strict: bool,
    /// The only key accepted; without it any key or none is.
    pub api_key: Option<String>,
}

/// A simulator with its port, bound but not yet serving. Connections made meanwhile wait in the backlog.
///
/// It is a Pingora service (add it to a server), or run it with [`Simulator::serve`].
pub struct Simulator {
    address: SocketAddr,
    /// Taken by whoever starts to serve.
    listener: Option<TcpListener>,
    shared: Arc<Shared>,
}

/// What all connections share.
struct Shared {
    settings: Settings,
    options: HttpServerOptions,
    ledger: Ledger,
}

/// Bytes of a request body the simulator reads.
const MAX_BODY: usize = 64 * 1024 * 1024;

impl Simulator {
    /// Binds the port; port 0 takes a free one.
    pub fn bind(address: impl ToSocketAddrs, settings: Settings) -> io::Result<Simulator> {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        let shared = Arc::new(Shared { settings, options, ledger: Ledger::default() });
        Ok(Simulator { address: listener.local_addr()?, listener: Some(listener), shared })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` turns true or its sender is gone. Answers under way go on as long as the runtime lives.
    pub async fn serve(mut self, shutdown: ShutdownWatch) -> io::Result<()> {
        self.accept(shutdown).await
    }

    async fn accept(&mut self, mut shutdown: ShutdownWatch) -> io::Result<()> {
        let Some(listener) = self.listener.take() else { return Ok(()) };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = shutdown.wait_for(|stopping| *stopping) => return Ok(()),
            };
            match accepted {
                Ok((stream, _)) => {
                    // Without it a stream's small events wait for each other.
                    if let Err(error) = stream.set_nodelay(true) {
                        log::debug!("no TCP_NODELAY on a connection to the simulator: {error}");
                    }
                    let reset = ResetSwitch::default();
                    let socket = Socket::new(stream, reset.clone());
                    let connection = Arc::new(Connection { shared: self.shared.clone(), reset });
                    let shutdown = shutdown.clone();
                    tokio::spawn(async move {
                        let stream = Stream::from(VirtualSocketStream::new(Box::new(socket)));
                        connection.process_new(Box::new(stream), &shutdown).await;
                    });
                }
                Err(error) => {
                    // Out of file descriptors, most likely: others must close before the next can be accepted.
                    log::warn!("the simulator cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
}

#[async_trait]
impl Service for Simulator {
    async fn start_service(&mut self, _fds: Option<ListenFds>, shutdown: ShutdownWatch, _listeners_per_fd: usize) {
        if let Err(error) = self.accept(shutdown).await {
            log::error!("the simulator stopped: {error}");
        }
    }

    fn name(&self) -> &str {
        "simulator"
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        // None of the listening sockets a hot upgrade hands over are ours.
        Some(Vec::new())
    }
}
