//! Asks the second target of a race, over HTTP/1.1, and reads its answer as far as it takes to see that it is one.

use super::{Connection, Lost, Outcome, Won};
use crate::openai::chunk::Chunk;
use crate::openai::sse::Decoder;
use crate::proxy::attempt::{failure_of, is_stream};
use crate::proxy::failing::connect_failure;
use crate::proxy::relay::error_status;
use crate::upstream::parking::retry_after;
use crate::upstream::pass::Pass;
use crate::upstream::{Failure, Moment, Target};
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderName, HeaderValue};
use once_cell::sync::Lazy;
use pingora_core::connectors::TransportConnector;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_http::{RequestHeader, ResponseHeader};
use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// Heads of answers beyond this are refused, and a first event beyond this is taken for one unread; in bytes.
const MAX_UNREAD: usize = 64 * 1024;
/// Pingora's own bound on headers is the number of them.
const MAX_HEADERS: usize = 256;

static CONNECTOR: Lazy<TransportConnector> = Lazy::new(|| TransportConnector::new(None));

/// A target about to be asked beside another one.
pub(super) struct Rival {
    /// Its step of the plan.
    pub step: usize,
    /// What it is asked for.
    pub model: Arc<str>,
    /// Who is asked.
    pub target: Arc<Target>,
    /// How it is reached.
    pub peer: Box<HttpPeer>,
    /// The request's head, but for its length.
    pub head: Box<RequestHeader>,
    /// The caller asked for a stream.
    pub streamed: bool,
}

/// Why the answer of a rival is none.
#[derive(Debug, PartialEq, Eq)]
struct Defeat {
    failure: Failure,
    status: Option<u16>,
    retry_after: Option<Duration>,
}

impl From<Failure> for Defeat {
    fn from(failure: Failure) -> Self {
        Self { failure, status: failure.status(), retry_after: None }
    }
}

impl Rival {
    /// Asks, and waits for the first sign of an answer.
    pub(super) async fn run(mut self, body: Bytes, mut pass: Pass, since: Instant) -> Outcome {
        let asked = pingora::time::timeout(self.target.timeout, self.ask(body)).await;
        let defeat = match asked {
            Ok(Ok(connection)) => return Outcome::Won(Won { step: self.step, pass, since, connection }),
            Ok(Err(defeat)) => defeat,
            Err(_) => Failure::Timeout.into(),
        };
        let Defeat { failure, status, retry_after } = defeat;
        log::warn!("target {}: {}, asked beside another one", self.target.id, failure.as_str());
        pass.failed(failure, retry_after, Moment::now());
        Outcome::Lost(Lost { step: self.step, model: self.model, failure, status, took: since.elapsed() })
    }

    async fn ask(&mut self, body: Bytes) -> Result<Connection, Defeat> {
        let connected = CONNECTOR.get_stream(&*self.peer).await;
        let (stream, _) = connected.map_err(|error| connect_failure(&error))?;
        self.head.insert_header(CONTENT_LENGTH, body.len()).map_err(|_| Failure::Broken)?;
        let head = http_req_header_to_wire(&self.head).ok_or(Failure::Broken)?;
        let (mut reader, mut writer) = tokio::io::split(stream);
        let send = async {
            let sent = async {
                writer.write_all(&head).await?;
                writer.write_all(&body).await?;
                writer.flush().await
            };
            // A target may refuse a request it has not read: what it says of it is still to be read.
            let _ = sent.await;
            Ok::<(), Defeat>(())
        };
        let ((), unread) = tokio::try_join!(send, self.first_sign(&mut reader))?;
        Ok(Connection::new(unread, reader.unsplit(writer)))
    }

    /// What was read up to the first sign of an answer.
    async fn first_sign(&self, stream: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, Defeat> {
        let mut read = BytesMut::with_capacity(4096);
        loop {
            let ended = stream.read_buf(&mut read).await.map_err(|_| Failure::Broken)? == 0;
            while let Some(head) = Head::find(&read)? {
                if head.is_interim() {
                    read.advance(head.length);
                    continue;
                }
                if let Some(defeat) = head.defeat() {
                    self.target.standing.quota.learn(&head.fields.headers, Moment::now());
                    return Err(defeat);
                }
                if head.has_begun(read.get(head.length..).unwrap_or_default(), self.streamed)? {
                    return Ok(marked_last(&read));
                }
                break;
            }
            if ended {
                return Err(Failure::Broken.into());
            }
        }
    }
}

/// The head of an answer.
struct Head {
    fields: ResponseHeader,
    length: usize,
}

impl Head {
    /// The head at the beginning of `read`, once it is whole.
    fn find(read: &[u8]) -> Result<Option<Self>, Failure> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(read) {
            Ok(httparse::Status::Complete(length)) => {
                let status = parsed.code.unwrap_or_default();
                let mut fields = ResponseHeader::build(status, None).map_err(|_| Failure::Unreadable)?;
                for field in parsed.headers.iter() {
                    let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| Failure::Unreadable)?;
                    let value = HeaderValue::from_bytes(field.value).map_err(|_| Failure::Unreadable)?;
                    fields.append_header(name, value).map_err(|_| Failure::Unreadable)?;
                }
                Ok(Some(Self { fields, length }))
            }
            Ok(httparse::Status::Partial) if read.len() <= MAX_UNREAD => Ok(None),
            _ => Err(Failure::Unreadable),
        }
    }

    /// As for any attempt, 101 is no interim answer.
    fn is_interim(&self) -> bool {
        self.fields.status.is_informational() && self.fields.status.as_u16() != 101
    }

    /// Why this is no answer, if it is none. What the caller got wrong, the first target will tell as well.
    fn defeat(&self) -> Option<Defeat> {
        let status = self.fields.status.as_u16();
        let failure = failure_of(&self.fields).or((status >= 400).then_some(Failure::Superseded))?;
        let retry_after = retry_after(&self.fields.headers, SystemTime::now());
        Some(Defeat { failure, status: Some(status), retry_after })
    }

    /// Whether this much of the body shows an answer: an object that begins or, in a stream, an event that is no error. Keep-alives
    /// (comments, white space) show nothing yet.
    ///
    /// # Errors
    /// It shows something else.
    fn has_begun(&self, body: &[u8], asked_for_stream: bool) -> Result<bool, Failure> {
        let chunked = self.fields.headers.get(TRANSFER_ENCODING).is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"chunked"));
        let body = if chunked { unchunked(body)? } else { Cow::Borrowed(body) };
        if body.len() > MAX_UNREAD {
            return Ok(true);
        }
        if !is_stream(&self.fields, asked_for_stream, self.fields.status.as_u16()) {
            return match body.trim_ascii_start().first() {
                Some(b'{') => Ok(true),
                Some(_) => Err(Failure::Unreadable),
                None => Ok(false),
            };
        }
        let mut decoder = Decoder::new(MAX_UNREAD);
        for event in decoder.push(Bytes::copy_from_slice(&body)) {
            let event = event.map_err(|_| Failure::Unreadable)?;
            let Some(data) = event.data() else { continue };
            return match Chunk::read(&data) {
                Ok(chunk) if chunk.error => Err(Failure::of_status(error_status(&data)).unwrap_or(Failure::ServerError(500))),
                Ok(_) => Ok(true),
                Err(_) => Err(Failure::Unreadable),
            };
        }
        Ok(false)
    }
}

/// As much of a chunked body as is there.
fn unchunked(mut framed: &[u8]) -> Result<Cow<'_, [u8]>, Failure> {
    let mut body = Vec::new();
    loop {
        let (at, size) = match httparse::parse_chunk_size(framed) {
            Ok(httparse::Status::Complete((_, 0))) if body.is_empty() => return Err(Failure::Broken),
            Ok(httparse::Status::Complete((_, 0)) | httparse::Status::Partial) => break,
            Ok(httparse::Status::Complete(chunk)) => chunk,
            Err(_) => return Err(Failure::Unreadable),
        };
        let rest = framed.get(at..).unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        body.extend_from_slice(rest.get(..size).unwrap_or(rest));
        match rest.get(size.saturating_add(2)..) {
            Some(next) => framed = next,
            None => break,
        }
    }
    Ok(body.into())
}

/// What was read, its head saying that the connection ends with this answer: nobody may find a request swallowed by it.
fn marked_last(read: &[u8]) -> Bytes {
    let line = memchr::memchr(b'\n', read).map_or(0, |end| end + 1);
    let (status, rest) = read.split_at(line);
    [status, b"connection: close\r\n", rest].concat().into()
}

#[cfg(test)]
mod tests;
