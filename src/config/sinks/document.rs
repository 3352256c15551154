//! Sinks and anchors as they are written.

use super::super::SecretRef;
use super::{HeaderValue, SystemLog};
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// A place that gets every record of the audit log; `type` says what it is.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
#[schemars(extend("x-what" = "type of sink"))]
pub(in super::super) enum SinkDocument {
    /// An object store that speaks S3: many records an object, each object written once and never over another.
    S3 {
        /// Its name in metrics and logs: small letters, digits and `-`, unique.
        #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9][a-z0-9-]*$"))]
        name: String,
        /// The bucket. Turn Object Lock with a default retention on: what is copied can then not be deleted.
        #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
        bucket: String,
        /// What stands before the names of all objects, such as `audit/prod`.
        #[serde(default)]
        #[schemars(length(max = 256), regex(pattern = "^([A-Za-z0-9_=][A-Za-z0-9._=-]*(/[A-Za-z0-9_=][A-Za-z0-9._=-]*)*)?$"))]
        prefix: String,
        /// The region of the bucket.
        #[serde(default = "us_east_1")]
        #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9-]+$"))]
        region: String,
        /// Where it answers, such as `https://minio.internal:9000`; AWS unless given.
        #[serde(default)]
        #[schemars(extend("format" = "uri"))]
        endpoint: Option<String>,
        /// Where the id of the access key is; without it the keys come from the environment or the machine's role.
        #[serde(default)]
        access_key_id_ref: Option<SecretRef>,
        /// Where the secret key is: `{env: NAME}` or `{file: PATH}`.
        #[serde(default)]
        secret_key_ref: Option<SecretRef>,
        /// Where the token of temporary keys is.
        #[serde(default)]
        session_token_ref: Option<SecretRef>,
        /// Seconds a record waits for others to share its object, at most.
        #[serde(default = "ten")]
        #[schemars(range(min = 1, max = 3600))]
        flush_seconds: u32,
    },
    /// A stream of NATS JetStream: many records a message, each message acknowledged by the stream.
    Nats {
        /// Its name in metrics and logs: small letters, digits and `-`, unique.
        #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9][a-z0-9-]*$"))]
        name: String,
        /// A server, or several of one cluster with commas between: `tls://nats.internal:4222`.
        #[schemars(length(min = 1, max = 2000))]
        url: String,
        /// The stream: letters, digits, `_` and `-`; created unless it is there.
        #[serde(default = "kt_audit")]
        #[schemars(length(min = 1, max = 64), regex(pattern = "^[A-Za-z0-9_-]+$"))]
        stream: String,
        /// What the subjects begin with; the name of the log follows.
        #[serde(default = "kt_audit_subject")]
        #[schemars(length(min = 1, max = 200), regex(pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$"))]
        subject: String,
        /// Copies the cluster keeps of a stream that is created; 3 in production.
        #[serde(default = "one")]
        #[schemars(range(min = 1, max = 5))]
        replicas: u32,
        /// Where the credentials are that `nsc` made; a file.
        #[serde(default)]
        credentials_ref: Option<SecretRef>,
        /// Where the token is.
        #[serde(default)]
        token_ref: Option<SecretRef>,
        /// The name that goes with the password.
        #[serde(default)]
        #[schemars(length(min = 1, max = 200))]
        user: Option<String>,
        /// Where the password is.
        #[serde(default)]
        password_ref: Option<SecretRef>,
    },
    /// A collector of OpenTelemetry logs over HTTP: one log record a record.
    Otlp {
        /// Its name in metrics and logs: small letters, digits and `-`, unique.
        #[schemars(length(min = 1, max = 63), regex(pattern = "^[a-z0-9][a-z0-9-]*$"))]
        name: String,
        /// What `/v1/logs` hangs under, such as `http://127.0.0.1:4318`.
        #[schemars(extend("format" = "uri"))]
        endpoint: String,
        /// Headers of every request; a value that is a secret is `{env: NAME}` or `{file: PATH}`.
        #[serde(default)]
        headers: BTreeMap<String, HeaderValue>,
        /// Seconds to the collector's answer.
        #[serde(default = "ten")]
        #[schemars(range(min = 1, max = 300))]
        timeout_seconds: u32,
    },
}

/// Where signed checkpoints of the log go; at least one of `s3` and `system_log`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct AnchorDocument {
    /// Seconds from one copy to the next.
    #[serde(default = "sixty")]
    #[schemars(range(min = 1, max = 86400))]
    pub every_seconds: u32,
    /// The name of a sink of type `s3`, or another store: each checkpoint is an object of its own there.
    #[serde(default)]
    pub s3: Option<AnchorStore>,
    /// The machine's own log gets each checkpoint as a line.
    #[serde(default)]
    pub system_log: Option<SystemLog>,
}

/// The store of an anchor: that of a sink, or one of its own.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(in super::super) enum AnchorStore {
    /// The name of a sink.
    Sink(String),
    /// A bucket.
    Own(StoreDocument),
}

/// A bucket and the way into it, as for a sink.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct StoreDocument {
    /// The bucket.
    #[schemars(length(min = 3, max = 63), regex(pattern = "^[a-z0-9][a-z0-9.-]*[a-z0-9]$"))]
    pub bucket: String,
    /// What stands before the names of all objects, such as `audit/prod`.
    #[serde(default)]
    #[schemars(length(max = 256), regex(pattern = "^([A-Za-z0-9_=][A-Za-z0-9._=-]*(/[A-Za-z0-9_=][A-Za-z0-9._=-]*)*)?$"))]
    pub prefix: String,
    /// The region of the bucket.
    #[serde(default = "us_east_1")]
    #[schemars(length(min = 1, max = 64), regex(pattern = "^[a-z0-9-]+$"))]
    pub region: String,
    /// Where it answers; AWS unless given.
    #[serde(default)]
    #[schemars(extend("format" = "uri"))]
    pub endpoint: Option<String>,
    /// Where the id of the access key is.
    #[serde(default)]
    pub access_key_id_ref: Option<SecretRef>,
    /// Where the secret key is: `{env: NAME}` or `{file: PATH}`.
    #[serde(default)]
    pub secret_key_ref: Option<SecretRef>,
    /// Where the token of temporary keys is.
    #[serde(default)]
    pub session_token_ref: Option<SecretRef>,
}

fn us_east_1() -> String {
    "us-east-1".into()
}

fn kt_audit() -> String {
    "kt-audit".into()
}

fn kt_audit_subject() -> String {
    "kt.audit".into()
}

fn one() -> u32 {
    1
}

fn ten() -> u32 {
    10
}

fn sixty() -> u32 {
    60
}
