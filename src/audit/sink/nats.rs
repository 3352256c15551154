//! A stream of NATS JetStream, as a sink: each bundle is a message, and done when the stream has acknowledged it.
//!
//! A message goes to `<subject>.<log>`, its body is a [`Bundle`], its `Nats-Msg-Id` the bundle's id. The stream knows ids for
//! [`KNOWN_FOR`]; when a message may have arrived longer ago, the newest one of the log is looked at first.

use super::bundle::Bundle;
use super::destination::{Destination, Failure};
use super::keys::{self, Environment};
use crate::audit::origin::Origin;
use crate::audit::segment::MAX_ENTRY;
use crate::config::NatsSink;
use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::Context;
use async_nats::jetstream::context::ContextBuilder;
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::stream::{Config, DiscardPolicy, LastRawMessageErrorKind, StorageType, Stream};
use async_nats::{Client, ConnectOptions};
use async_trait::async_trait;
use std::time::Duration;

/// How long a stream that we create knows the ids of messages.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Entries of one message, in bytes; less where the server takes less.
const BUNDLE_BYTES: usize = 512 << 10;
/// Room for the headers of a message.
const HEADERS: usize = 1024;
/// A server must take messages of the longest entry.
const LEAST_PAYLOAD: usize = MAX_ENTRY + MAX_ENTRY / 8 + HEADERS;
const TIMEOUT: Duration = Duration::from_secs(10);

/// A stream that bundles go to.
pub(super) struct Nats {
    config: NatsSink,
    env: Environment,
    link: Option<Link>,
    /// Whether the last message may be there although nobody said so.
    doubtful: bool,
}

struct Link {
    client: Client,
    context: Context,
    stream: Stream,
    room: usize,
}

impl Nats {
    pub fn new(config: NatsSink, env: Environment) -> Nats {
        Nats { config, env, link: None, doubtful: true }
    }

    async fn connect(&mut self) -> Result<&Link, Failure> {
        let link = match self.link.take() {
            Some(link) => link,
            None => self.open().await?,
        };
        Ok(self.link.insert(link))
    }

    async fn open(&self) -> Result<Link, Failure> {
        let options = ConnectOptions::new()
            .name("kt audit")
            .connection_timeout(TIMEOUT)
            .request_timeout(Some(TIMEOUT))
            // A link that broke is given up, and its successor checks the stream again.
            .max_reconnects(1)
            .require_tls(self.config.servers.iter().all(|url| url.tls));
        let options = keys::of_nats(&self.config.login, options, &self.env)
            .map_err(|error| Failure::later("the server's credentials", &error))?;
        let servers: Vec<String> = self.config.servers.iter().map(ToString::to_string).collect();
        let client = options.connect(servers).await.map_err(|error| Failure::caused("connecting", &error))?;
        let context = ContextBuilder::new().timeout(TIMEOUT).ack_timeout(TIMEOUT).build(client.clone());
        let stream = self.stream(&context).await?;
        let payload = client.server_info().max_payload;
        if payload < LEAST_PAYLOAD {
            let why = format!("the server takes messages of {payload} bytes; its max_payload must be {LEAST_PAYLOAD} or more");
            return Err(Failure::Later { why, after: None });
        }
        Ok(Link { client, context, stream, room: BUNDLE_BYTES.min(payload - HEADERS) })
    }

    /// The stream, created unless it is there; one that could lose messages is not taken.
    async fn stream(&self, context: &Context) -> Result<Stream, Failure> {
        let wanted = Config {
            name: self.config.stream.clone(),
            description: Some("Audit records of kt gateways".into()),
            subjects: vec![format!("{}.>", self.config.subject)],
            storage: StorageType::File,
            num_replicas: self.config.replicas,
            // A stream that is full refuses what is new instead of dropping what is old.
            discard: DiscardPolicy::New,
            duplicate_window: KNOWN_FOR,
            deny_delete: true,
            deny_purge: true,
            ..Config::default()
        };
        let failed = |error: &dyn std::fmt::Display| Failure::later(&format!("the stream {}", self.config.stream), error);
        let stream = context.get_or_create_stream(wanted).await.map_err(|error| failed(&error))?;
        match stream.get_info().await {
            Ok(info) => match unsafe_because(&info.config) {
                None => Ok(stream),
                Some(why) => Err(failed(&why)),
            },
            Err(error) => Err(failed(&error)),
        }
    }

    fn subject(&self, origin: &Origin) -> String {
        format!("{}.{}", self.config.subject, origin.as_str().replace('/', "."))
    }

    /// Tells of a failure, and connects anew next time.
    fn failed(&mut self, what: &str, error: &dyn std::fmt::Display) -> Failure {
        self.link = None;
        self.doubtful = true;
        Failure::later(what, error)
    }

    async fn look(&mut self, origin: &Origin) -> Result<Option<Bundle>, Failure> {
        let subject = self.subject(origin);
        let message = match self.connect().await?.stream.get_last_raw_message_by_subject(&subject).await {
            Ok(message) => message,
            Err(error) if error.kind() == LastRawMessageErrorKind::NoMessageFound => return Ok(None),
            Err(error) => return Err(self.failed("reading the newest message", &error)),
        };
        let foreign = || Failure::Conflict(format!("message {} of {subject} is no bundle of ours", message.sequence));
        let id = message.headers.get(NATS_MESSAGE_ID).map(|id| id.as_str()).unwrap_or_default();
        // Two logs may share a subject: `a/b.c` and `a/b/c`.
        let name = id.strip_prefix(origin.as_str()).and_then(|rest| rest.strip_prefix('/')).ok_or_else(foreign)?;
        let (first, last) = Bundle::range(name).ok_or_else(foreign)?;
        let bundle = Bundle::parse(origin, first, message.payload.to_vec());
        bundle.filter(|bundle| bundle.end().checked_sub(1) == Some(last)).ok_or_else(foreign).map(Some)
    }

    async fn publish(&mut self, bundle: &Bundle) -> Result<(), Failure> {
        let subject = self.subject(&bundle.origin);
        let message = PublishMessage::build().message_id(bundle.id()).payload(bundle.bytes().to_vec().into());
        let acknowledged = match self.connect().await?.context.send_publish(subject, message).await {
            Ok(acknowledgement) => acknowledgement.await,
            Err(error) => Err(error),
        };
        match acknowledged {
            Ok(ack) if ack.stream == self.config.stream => Ok(()),
            Ok(ack) => Err(self.failed("publishing", &format!("another stream, {}, took the message", ack.stream))),
            Err(error) => Err(self.failed("publishing", &error)),
        }
    }
}

#[async_trait]
impl Destination for Nats {
    async fn ready(&mut self) -> Result<usize, Failure> {
        Ok(self.connect().await?.room)
    }

    async fn newest(&mut self, origin: &Origin) -> Result<Option<Bundle>, Failure> {
        self.look(origin).await
    }

    async fn deliver(&mut self, bundle: &Bundle) -> Result<(), Failure> {
        if self.doubtful
            && let Some(newest) = self.look(&bundle.origin).await?
            && newest.end() > bundle.first
        {
            return match newest == *bundle {
                true => Ok(()),
                false => {
                    let what = format!("the stream holds entries {} to {}", newest.first, newest.end().saturating_sub(1));
                    Err(Failure::Conflict(what))
                }
            };
        }
        self.publish(bundle).await?;
        self.doubtful = false;
        Ok(())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        log::debug!("audit sink: the link to {} is closed", self.client.server_info().server_name);
    }
}

/// What keeps a stream from being an archive.
fn unsafe_because(stream: &Config) -> Option<&'static str> {
    match () {
        () if !stream.deny_delete => Some("its messages can be deleted: create it with `--deny-delete`"),
        () if !stream.deny_purge => Some("it can be purged: create it with `--deny-purge`"),
        () if stream.no_ack => Some("it acknowledges nothing: create it without `--no-ack`"),
        () if stream.max_messages_per_subject > 0 => Some("it keeps a few messages of each subject only"),
        () => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_could_lose_records_is_not_taken() {
        let safe = Config { deny_delete: true, deny_purge: true, max_messages_per_subject: -1, ..Config::default() };
        assert_eq!(unsafe_because(&safe), None);
        for poor in [
            Config { deny_delete: false, ..safe.clone() },
            Config { deny_purge: false, ..safe.clone() },
            Config { no_ack: true, ..safe.clone() },
            Config { max_messages_per_subject: 1, ..safe.clone() },
        ] {
            assert!(unsafe_because(&poor).is_some());
        }
    }
}
