//! `kt`: an edge gateway for LLM traffic.
//!
//! # The journey of a request
//!
//! ```text
//! client -> proxy/mod       local path? answer and stop (proxy/local)
//!        -> proxy/intake    the whole body, within limits, decoded
//!        -> openai/request  Prompt: a view of every text channel, duplicate keys refused
//!        -> policy/chain    Allow | Redact | Block (-> record durable -> Refusal)
//!        -> upstream/router route(model) -> Plan: who may be asked, in which order
//!        -> audit/journal   Ticket: the `received` record, durable before any byte leaves
//!        -> proxy/turn      the next attempt's turn: a Pass of its target, a pause, room
//!        -> openai/request  Outline: model, redactions, dropped fields are spliced into the body
//!        -> proxy/forward   peer, key, headers, body
//!        => provider        429, 5xx, unknown model, no connection before the first byte: the Plan goes on
//!        -> proxy/relay     head, then each event: sse -> chunk -> Watch -> the same Bytes when nothing changed
//!        -> proxy/mod       logging: the Ticket is sealed with the `completed` record
//! ```
//!
//! # Floors
//!
//! Arrows point down only and siblings on a floor do not import each other.
//!
//! * floor 0: [`refusal`], [`metrics`]
//! * floor 1: [`config`] (the only place that knows YAML), [`openai`] (the wire format, read without copying)
//! * floor 2: [`policy`], [`upstream`], [`audit`]
//! * floor 3: [`gateway`]: what a config means, compiled and immutable
//! * floor 4: `proxy`: Pingora's hooks, each one to five lines
//! * floor 5: `server`, `simulator`, `cli`
//!
//! Only `proxy`, `server` and `simulator` mention Pingora, and only the default feature `edge` builds them.
//!
//! # Invariants
//!
//! Each has a test of the same name: see `docs/architecture.md`.

pub mod audit;
pub mod config;
pub mod gateway;
pub mod metrics;
pub mod openai;
pub mod policy;
pub mod refusal;
pub mod upstream;

#[cfg(feature = "edge")]
pub mod cli;
#[cfg(feature = "edge")]
pub mod proxy;
#[cfg(feature = "edge")]
pub mod server;
#[cfg(feature = "edge")]
pub mod simulator;
