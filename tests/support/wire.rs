//! A raw client connection: bytes go out as they are, answers are read one at a time.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One connection.
pub struct Wire {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// One answer whose body has a Content-Length, or none.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// Status line and headers.
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}\n{}", self.head, String::from_utf8_lossy(&self.body)))
    }

    /// Fails unless it is a refusal every SDK reads, with this status and code.
    pub fn assert_refusal(&self, status: u16, code: &str) {
        let body = self.json();
        assert_eq!((self.status, body["code"].as_str()), (status, Some(code)), "{}\n{body:#}", self.head);
        assert_eq!(body["error"]["code"], code);
        assert_eq!(body["status_code"], status);
        assert!(body["message"].is_string() && body["param"].is_string() && body["type"].is_string(), "{body:#}");
        assert_eq!(self.header("x-should-retry"), (status < 500).then_some("false"));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert!(self.header("x-request-id").is_some());
    }
}

impl Wire {
    /// Connects to `host:port`.
    pub async fn open(address: &str) -> Wire {
        let stream = TcpStream::connect(address).await.expect("a connection");
        stream.set_nodelay(true).expect("TCP_NODELAY");
        Wire { stream, unread: Vec::new() }
    }

    /// Sends bytes as they are. That the other side has closed shows when an answer is read.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Wire {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        self
    }

    /// The next answer; `None` when the connection ends first.
    pub async fn answer(&mut self) -> Option<Answer> {
        self.answer_to("POST").await
    }

    /// The next answer to a request with this method: one to `HEAD` has no body.
    pub async fn answer_to(&mut self, method: &str) -> Option<Answer> {
        let end = loop {
            match self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(end) => break end + 4,
                None => self.fill().await?,
            }
        };
        let head = String::from_utf8(self.unread.drain(..end).collect()).expect("a head in ASCII");
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
        let mut answer = Answer { status, head, body: Vec::new() };
        let length: usize = answer.header("content-length").map_or(0, |n| n.parse().expect("a length"));
        if method != "HEAD" {
            while self.unread.len() < length {
                self.fill().await?;
            }
            answer.body = self.unread.drain(..length).collect();
        }
        Some(answer)
    }

    /// Reads on until `end` has come, and returns all of it as text.
    pub async fn until(&mut self, end: &str) -> String {
        loop {
            let text = String::from_utf8_lossy(&self.unread);
            if let Some(at) = text.find(end) {
                return text[..at + end.len()].to_owned();
            }
            assert!(self.fill().await.is_some(), "closed before {end:?}: {}", String::from_utf8_lossy(&self.unread));
        }
    }

    /// Whether nothing comes within `time`, with the connection open.
    pub async fn is_silent_for(&mut self, time: Duration) -> bool {
        self.unread.is_empty() && tokio::time::timeout(time, self.stream.read_buf(&mut self.unread)).await.is_err()
    }

    /// Waits for the other side to close.
    pub async fn closes(&mut self) {
        assert!(self.answer().await.is_none(), "another answer instead of the end");
    }

    /// Sends no more.
    pub async fn half_close(&mut self) {
        self.stream.shutdown().await.expect("a shutdown");
    }

    async fn fill(&mut self) -> Option<()> {
        let read = tokio::time::timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await;
        (read.expect("an answer in time").unwrap_or(0) > 0).then_some(())
    }
}
