//! A collector of OpenTelemetry logs, as a sink: OTLP over HTTP, in JSON, compressed.
//!
//! A collector is a copy for searching, not an archive: it may take a record and throw it away, and says so. What it rejected is
//! counted and logged and not sent again, as the protocol demands.

mod log_record;

use super::bundle::Bundle;
use super::destination::{Destination, Failure};
use super::keys::{self, Environment};
use crate::audit::origin::Origin;
use crate::config::OtlpSink;
use crate::metrics::METRICS;
use async_trait::async_trait;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use std::io::Write;
use std::time::{Duration, SystemTime};

/// Entries of one request, in bytes as they are in the log; as log records they are about three times that.
const BUNDLE_BYTES: usize = 512 << 10;
/// What is read of an answer.
const ANSWER_BYTES: usize = 64 << 10;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A collector that records go to.
pub(super) struct Otlp {
    /// The sink's name.
    name: String,
    config: OtlpSink,
    env: Environment,
    client: Option<Client>,
}

/// What a collector made of a request.
enum Answer {
    /// It took the records, all but so many.
    Taken { rejected: u64, why: String },
    /// It cannot read the request, or not one so large.
    Unreadable(String),
}

impl Otlp {
    pub fn new(name: &str, config: OtlpSink, env: Environment) -> Otlp {
        Otlp { name: name.to_owned(), config, env, client: None }
    }

    fn connect(&mut self) -> Result<Client, Failure> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let headers = keys::of_collector(&self.config.headers, &self.env)
            .map_err(|error| Failure::later("the collector's headers", &error))?;
        let client = Client::builder()
            .user_agent(concat!("kt/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(self.config.timeout)
            // Headers may hold a key: they go where the config says and nowhere else.
            .redirect(Policy::none())
            .build()
            .map_err(|error| Failure::caused("the client", &error))?;
        self.client = Some(client.clone());
        Ok(client)
    }

    /// Sends entries; halves of them when they are too many for the collector, or one of them is not to its taste.
    ///
    /// A record it cannot read is left out only if it can read others: who reads nothing at all is no collector.
    async fn send(&mut self, origin: &Origin, first: u64, entries: &[&[u8]]) -> Result<(), Failure> {
        let mut waiting = vec![(first, entries)];
        let mut unreadable = Vec::new();
        let mut understood = false;
        while let Some((first, entries)) = waiting.pop() {
            match self.post(log_record::request(origin, first, entries)).await? {
                Answer::Taken { rejected, why } => {
                    understood = true;
                    self.reject(first, rejected, &why);
                }
                Answer::Unreadable(why) if entries.len() < 2 => unreadable.push((first, why)),
                Answer::Unreadable(_) => {
                    let (front, back) = entries.split_at(entries.len() / 2);
                    waiting.push((first + front.len() as u64, back));
                    waiting.push((first, front));
                }
            }
            if let (false, [_, (_, why), ..]) = (understood, unreadable.as_slice()) {
                return Err(Failure::later("the collector cannot read records", why));
            }
        }
        if let (false, Some((_, why))) = (understood, unreadable.first()) {
            return Err(Failure::later("the collector cannot read a record", why));
        }
        unreadable.iter().for_each(|(index, why)| self.reject(*index, 1, why));
        Ok(())
    }

    fn reject(&self, first: u64, count: u64, why: &str) {
        if count == 0 {
            return;
        }
        log::error!("audit sink {}: {count} record(s) from index {first} on were rejected: {why}", self.name);
        METRICS.audit_sink_rejected.with_label_values(&[&self.name]).inc_by(count);
    }

    async fn post(&mut self, body: Value) -> Result<Answer, Failure> {
        let client = self.connect()?;
        let url = self.config.endpoint.endpoint("logs");
        let url = format!("{}://{}{url}", self.config.endpoint.scheme.as_str(), self.config.endpoint.authority());
        let body = compressed(&body).map_err(|error| Failure::later("compressing", &error))?;
        let request = client.post(url).header(CONTENT_TYPE, "application/json").header(CONTENT_ENCODING, "gzip").body(body);
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => {
                self.client = None;
                return Err(Failure::caused("sending", &error));
            }
        };
        let (status, after) = (answer.status(), retry_after(&answer, SystemTime::now()));
        let text = beginning(answer).await;
        match status {
            status if status.is_success() => Ok(partial(&text)),
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE | StatusCode::UNPROCESSABLE_ENTITY => {
                Ok(Answer::Unreadable(format!("{status} {}", shown(&text))))
            }
            status => {
                self.client = None;
                Err(Failure::Later { why: format!("the collector answers {status} {}", shown(&text)), after })
            }
        }
    }
}

#[async_trait]
impl Destination for Otlp {
    async fn ready(&mut self) -> Result<usize, Failure> {
        self.connect().map(|_| BUNDLE_BYTES)
    }

    async fn newest(&mut self, _: &Origin) -> Result<Option<Bundle>, Failure> {
        Ok(None)
    }

    async fn deliver(&mut self, bundle: &Bundle) -> Result<(), Failure> {
        let entries: Vec<&[u8]> = bundle.entries().collect();
        self.send(&bundle.origin, bundle.first, &entries).await
    }
}

fn compressed(body: &Value) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    serde_json::to_writer(&mut encoder, body)?;
    encoder.flush()?;
    encoder.finish()
}

/// The pause an answer asks for, in seconds or as a date.
fn retry_after(answer: &Response, now: SystemTime) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

/// The beginning of an answer; what does not come is left out.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut text = Vec::new();
    while text.len() < ANSWER_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        text.extend_from_slice(&chunk);
    }
    text.truncate(ANSWER_BYTES);
    text
}

/// What an answer of success says of records that were not taken.
fn partial(text: &[u8]) -> Answer {
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Success {
        partial_success: Partial,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "camelCase")]
    struct Partial {
        rejected_log_records: Value,
        error_message: String,
    }
    let said = serde_json::from_slice::<Success>(text).unwrap_or_default().partial_success;
    // Protobuf's JSON writes an i64 as text; not everybody knows.
    let rejected = match &said.rejected_log_records {
        Value::String(digits) => digits.parse().unwrap_or(0),
        number => number.as_u64().unwrap_or(0),
    };
    Answer::Taken { rejected, why: shown(said.error_message.as_bytes()) }
}

/// Somebody else's words, fit for one line of ours.
fn shown(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_success_counts_what_was_rejected_however_it_is_written() {
        for (text, expected) in [
            ("", 0),
            ("{}", 0),
            ("no json", 0),
            (r#"{"partialSuccess":{}}"#, 0),
            (r#"{"partialSuccess":{"rejectedLogRecords":"3","errorMessage":"too old"}}"#, 3),
            (r#"{"partialSuccess":{"rejectedLogRecords":4}}"#, 4),
        ] {
            let Answer::Taken { rejected, .. } = partial(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(rejected, expected, "{text}");
        }
    }
}
