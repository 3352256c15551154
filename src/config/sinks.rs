//! Where copies of the audit log go, each with every default in place.

mod document;
mod nats_url;
mod resolve;

#[cfg(test)]
mod tests;

pub use nats_url::NatsUrl;

pub(super) use document::{AnchorDocument, SinkDocument};
pub(super) use resolve::resolve;

use super::{BaseUrl, SecretRef};
use schemars::JsonSchema;
use serde::Deserialize;
use std::time::Duration;

/// A place that gets every record of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkConfig {
    /// Its name in metrics, logs and the file that says how far it is; unique, and fit to be a file name.
    pub name: String,
    /// What it is.
    pub kind: SinkKind,
}

/// The kinds of sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkKind {
    /// An object store that speaks S3.
    S3(S3Sink),
    /// A stream of NATS JetStream.
    Nats(NatsSink),
    /// A collector of OpenTelemetry logs.
    Otlp(OtlpSink),
}

/// An object store, and how often it gets an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Sink {
    /// The store.
    pub store: S3Store,
    /// Longest time a record waits for others to share its object.
    pub flush: Duration,
}

/// A bucket and the way into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Store {
    /// The bucket.
    pub bucket: String,
    /// What stands before the names of all objects; without slashes at its ends, perhaps empty.
    pub prefix: String,
    /// The region.
    pub region: String,
    /// Where it answers; `None` is AWS.
    pub endpoint: Option<BaseUrl>,
    /// Its keys; `None` takes those of the environment, else of the machine's role.
    pub keys: Option<S3Keys>,
}

/// Where the keys of an object store are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Keys {
    /// The access key's id.
    pub access_key_id: SecretRef,
    /// The secret key.
    pub secret_key: SecretRef,
    /// The token of temporary keys.
    pub session_token: Option<SecretRef>,
}

/// A stream, and the way to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatsSink {
    /// Servers of one cluster; at least one.
    pub servers: Vec<NatsUrl>,
    /// The stream; created unless it is there.
    pub stream: String,
    /// What the subject of a message begins with; the log's name follows.
    pub subject: String,
    /// Copies the cluster keeps of a stream that is created.
    pub replicas: usize,
    /// How the gateway says who it is.
    pub login: NatsLogin,
}

/// How a client of NATS says who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NatsLogin {
    /// It does not.
    Nobody,
    /// By a credentials file as `nsc` writes it.
    Credentials(SecretRef),
    /// By a token.
    Token(SecretRef),
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: SecretRef,
    },
}

/// A collector, and the headers it wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtlpSink {
    /// What `/v1/logs` hangs under.
    pub endpoint: BaseUrl,
    /// Headers of every request.
    pub headers: Vec<(String, HeaderValue)>,
    /// Time to the collector's answer.
    pub timeout: Duration,
}

/// The value of a header: itself, or where it is.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum HeaderValue {
    /// As written.
    Plain(String),
    /// Somewhere a secret may be.
    Secret(SecretRef),
}

/// Where signed checkpoints of the log go, so that nobody who owns this machine can rewrite the log unseen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchorConfig {
    /// Time from one copy to the next.
    pub every: Duration,
    /// An object store that gets each checkpoint as an object of its own.
    pub s3: Option<S3Store>,
    /// The machine's own log, which somebody may ship.
    pub system_log: Option<SystemLog>,
}

/// The log of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SystemLog {
    /// `/dev/log`, whatever listens there.
    Syslog,
    /// The journal of systemd, with a field for each part.
    Journald,
}
