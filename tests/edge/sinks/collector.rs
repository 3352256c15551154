//! A collector of OpenTelemetry logs with moods: OTLP over HTTP, in JSON.

use super::Receiver;
use super::gate::listen;
use crate::support::gateway::free_port;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use std::collections::{BTreeMap, VecDeque};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// What becomes of a request.
#[derive(Debug, Clone, Copy)]
pub enum Mood {
    /// Kept, and said so.
    Taken,
    /// Kept, and the connection breaks before the answer.
    TakenSilently,
    /// All but so many records are kept.
    Rejects(u64),
    /// Nothing is kept: come back later.
    Busy { status: u16, retry_after: Option<u64> },
    /// Nothing is kept: send less.
    TooLarge,
}

/// The collector.
pub struct Collector {
    port: u16,
    shared: Arc<Mutex<Shared>>,
    porter: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    moods: VecDeque<Mood>,
    times: Vec<Instant>,
    keys: Vec<String>,
    /// By log: the index and the body of each log record.
    records: BTreeMap<String, Vec<(u64, Vec<u8>)>>,
}

impl Collector {
    pub fn new() -> Collector {
        Collector { port: free_port(), shared: Arc::default(), porter: None }
    }

    /// How it takes the next requests; all others are [`Mood::Taken`].
    pub fn moods(&mut self, moods: impl IntoIterator<Item = Mood>) {
        self.shared.lock().unwrap().moods.extend(moods);
    }

    /// When each request came.
    pub fn times(&self) -> Vec<Instant> {
        self.shared.lock().unwrap().times.clone()
    }

    /// The keys it was shown, each once.
    pub fn keys(&self) -> Vec<String> {
        self.shared.lock().unwrap().keys.clone()
    }

    /// What came, by log.
    pub fn logs(&self) -> BTreeMap<String, Vec<(u64, Vec<u8>)>> {
        self.shared.lock().unwrap().records.clone()
    }
}

impl Receiver for Collector {
    fn config(&self) -> String {
        let port = self.port;
        format!(
            "{{name: far, type: otlp, endpoint: 'http://127.0.0.1:{port}', headers: {{authorization: {{env: COLLECTOR_KEY}}}}}}"
        )
    }

    async fn up(&mut self) {
        let listener = listen(self.port).await;
        let shared = self.shared.clone();
        self.porter = Some(tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                // One at a time: that is how they come.
                let _ = converse(connection, &shared).await;
            }
        }));
    }

    async fn down(&mut self) {
        if let Some(porter) = self.porter.take() {
            porter.abort();
            let _ = porter.await;
        }
    }

    async fn arrivals(&mut self) -> Vec<(u64, Vec<u8>)> {
        let logs = self.logs();
        assert_eq!(logs.len(), 1);
        logs.into_values().flatten().collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(porter) = &self.porter {
            porter.abort();
        }
    }
}

/// Answers one request and closes.
async fn converse(mut connection: TcpStream, shared: &Mutex<Shared>) -> std::io::Result<()> {
    let mut bytes = Vec::new();
    let (head, length) = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = field(&head, "content-length").and_then(|digits| digits.parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                break (String::from_utf8_lossy(&bytes[..end]).into_owned(), length);
            }
        }
        if connection.read_buf(&mut bytes).await? == 0 {
            return Ok(());
        }
    };
    assert!(head.starts_with("POST /v1/logs HTTP/1.1"), "{head}");
    let body = &bytes[bytes.len() - length..];
    let answer = shared.lock().unwrap().take(&head, body);
    let Some((status, fields, body)) = answer else { return Ok(()) };
    let text = format!(
        "HTTP/1.1 {status} .\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n{fields}\r\n{body}",
        body.len()
    );
    connection.write_all(text.as_bytes()).await
}

fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v.trim()))
}

impl Shared {
    /// Status, header lines and body of the answer; `None` breaks the connection.
    fn take(&mut self, head: &str, body: &[u8]) -> Option<(u16, String, String)> {
        self.times.push(Instant::now());
        let key = field(head, "authorization").unwrap_or_default().to_owned();
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
        let mut text = String::new();
        GzDecoder::new(body).read_to_string(&mut text).expect("gzip");
        let request: Value = serde_json::from_str(&text).expect("JSON");
        let mood = self.moods.pop_front().unwrap_or(Mood::Taken);
        match mood {
            Mood::Busy { status, retry_after } => {
                let field = retry_after.map_or(String::new(), |seconds| format!("retry-after: {seconds}\r\n"));
                return Some((status, field, "{}".into()));
            }
            Mood::TooLarge => return Some((413, String::new(), "{}".into())),
            Mood::Taken | Mood::TakenSilently | Mood::Rejects(_) => self.keep(&request),
        }
        match mood {
            Mood::TakenSilently => None,
            Mood::Rejects(count) => {
                let partial = json!({"partialSuccess": {"rejectedLogRecords": count.to_string(), "errorMessage": "too old"}});
                Some((200, String::new(), partial.to_string()))
            }
            _ => Some((200, String::new(), "{}".into())),
        }
    }

    fn keep(&mut self, request: &Value) {
        let records = request["resourceLogs"][0]["scopeLogs"][0]["logRecords"].as_array().expect("log records");
        for record in records {
            let attribute = |name: &str| {
                let all = record["attributes"].as_array().expect("attributes");
                all.iter().find(|one| one["key"] == name).map(|one| one["value"].clone()).expect("an attribute")
            };
            let log = attribute("kt.audit.log")["stringValue"].as_str().expect("a name").to_owned();
            let index = attribute("kt.audit.index")["intValue"].as_str().expect("text").parse().expect("an index");
            let body = record["body"]["stringValue"].as_str().expect("a body").as_bytes().to_vec();
            self.records.entry(log).or_default().push((index, body));
        }
    }
}
