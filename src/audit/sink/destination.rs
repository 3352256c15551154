//! What a sink must be able to do, whatever it is.

use super::bundle::Bundle;
use super::keys::Environment;
use super::nats::Nats;
use super::otlp::Otlp;
use super::s3::S3;
use crate::audit::origin::Origin;
use crate::config::{SinkConfig, SinkKind};
use async_trait::async_trait;
use std::error::Error;
use std::time::Duration;

/// A place that takes bundles. One call at a time, and after a failure the next call begins anew.
#[async_trait]
pub(super) trait Destination: Send {
    /// Connects, unless connected, and returns the most bytes of entries a bundle may have.
    async fn ready(&mut self) -> Result<usize, Failure>;

    /// The bundle it holds that reaches furthest into a log; `None` when there is none, or it cannot tell.
    async fn newest(&mut self, origin: &Origin) -> Result<Option<Bundle>, Failure>;

    /// Hands a bundle over. When this returns `Ok`, it is kept there. The same bundle handed over again is one bundle.
    async fn deliver(&mut self, bundle: &Bundle) -> Result<(), Failure>;
}

/// Why a bundle was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// Not now: to be tried again, after the time asked for.
    #[error("{why}")]
    Later {
        /// For the operator.
        why: String,
        /// How long it wants to be left alone.
        after: Option<Duration>,
    },
    /// It holds other entries of a log with this name. Nobody but the operator can help.
    #[error("{0}: two logs have the same name, or this one was changed")]
    Conflict(String),
}

impl Failure {
    /// A failure that says what was tried and how it ended, on one line of bounded length.
    pub fn later(what: &str, error: &dyn std::fmt::Display) -> Failure {
        let text = format!("{what}: {error}");
        let text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
        Failure::Later { why: text, after: None }
    }

    /// The same with the first cause at the end: the outer words of libraries leave it out.
    pub fn caused(what: &str, error: &(dyn Error + 'static)) -> Failure {
        let first = std::iter::successors(Some(error), |&error| error.source()).last().map(ToString::to_string);
        let words = error.to_string();
        match first.filter(|first| !words.contains(first.as_str())) {
            Some(first) => Failure::later(what, &format!("{words}: {first}")),
            None => Failure::later(what, &words),
        }
    }
}

/// How a sink likes to be fed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// Longest time an entry waits for others to share its bundle.
    pub flush: Duration,
    /// Entries that are enough for a bundle at once.
    pub enough: u64,
}

impl Pace {
    /// The pace a sink is configured for.
    pub fn of(config: &SinkConfig) -> Pace {
        match &config.kind {
            SinkKind::S3(s3) => Pace { flush: s3.flush, enough: 2048 },
            SinkKind::Nats(_) => Pace { flush: Duration::ZERO, enough: 1 },
            SinkKind::Otlp(_) => Pace { flush: Duration::from_secs(1), enough: 512 },
        }
    }
}

/// The sink of a config, not connected yet.
pub(super) fn open(config: &SinkConfig, env: &Environment) -> Box<dyn Destination> {
    match &config.kind {
        SinkKind::S3(s3) => Box::new(S3::new(s3.store.clone(), env.clone())),
        SinkKind::Nats(nats) => Box::new(Nats::new(nats.clone(), env.clone())),
        SinkKind::Otlp(otlp) => Box::new(Otlp::new(&config.name, otlp.clone(), env.clone())),
    }
}
