//! The whole request body, read within limits and decoded to JSON, before anything is decided.

use super::decode::{decode, from_msgpack, too_large};
use crate::config::SizeLimits;
use crate::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use pingora::time::timeout;
use pingora_core::ErrorType;
use pingora_http::RequestHeader;
use pingora_proxy::Session;
use std::time::{Duration, Instant};

/// Silence after which an upload is given up.
const CHUNK_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest an upload may take in all.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);
/// How much of a refused upload is read and dropped, so that the caller sees the refusal instead of a reset.
const DRAIN_BYTES: u64 = 16 << 20;
/// How long that may take.
const DRAIN_TIME: Duration = Duration::from_secs(2);

/// Why there is no body.
pub enum Halt {
    /// The caller gets this answer.
    Refused(Refusal),
    /// The caller left, or its connection broke.
    Gone(Box<pingora_core::Error>),
}

impl From<Refusal> for Halt {
    fn from(refusal: Refusal) -> Self {
        Halt::Refused(refusal)
    }
}

/// Refuses heads that two readers could frame differently, or that are too large; their connection is closed, for nobody knows
/// where the next request begins. Pingora itself refuses conflicting lengths and folded headers.
///
/// # Errors
/// 400, 414 or 431.
pub fn check_head(session: &mut Session, limits: &SizeLimits) -> Result<(), Refusal> {
    let checked = check_sizes(session.req_header(), limits).and_then(|()| check_framing(session));
    if checked.is_err() {
        session.set_keepalive(None);
    }
    checked
}

fn check_sizes(head: &RequestHeader, limits: &SizeLimits) -> Result<(), Refusal> {
    if head.raw_path().len() as u64 > limits.max_url_bytes {
        let message = format!("the URL is longer than {} bytes (size_limits.max_url_bytes)", limits.max_url_bytes);
        return Err(Refusal::new(414, "invalid_request_error", "url_too_long", message));
    }
    let header_bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if header_bytes as u64 > limits.max_header_bytes {
        let message = format!("the headers are larger than {} bytes (size_limits.max_header_bytes)", limits.max_header_bytes);
        return Err(Refusal::new(431, "invalid_request_error", "headers_too_large", message));
    }
    Ok(())
}

fn check_framing(session: &Session) -> Result<(), Refusal> {
    let head = session.req_header();
    if head.version == http::Version::HTTP_11 && !head.headers.contains_key(HOST) {
        return Err(Refusal::invalid("missing_host", "an HTTP/1.1 request carries a Host header (RFC 9112, section 3.2)"));
    }
    let mut codings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let (coding, another) = (codings.next(), codings.next());
    if coding.is_some() && raw_has_content_length(session) {
        return Err(Refusal::invalid("ambiguous_framing", "a request carries Content-Length or Transfer-Encoding, not both"));
    }
    if another.is_some() || coding.is_some_and(|c| !c.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err(Refusal::invalid("ambiguous_framing", "Transfer-Encoding is `chunked`, once, or is not there"));
    }
    let mut lengths = head.headers.get_all(CONTENT_LENGTH).iter();
    if lengths.next().is_some_and(|n| n.as_bytes().contains(&b',')) || lengths.next().is_some() {
        return Err(Refusal::invalid("ambiguous_framing", "Content-Length is there once, with one number"));
    }
    Ok(())
}

/// Reads the whole body and decodes it to JSON.
///
/// # Errors
/// [`Halt::Refused`] with 400, 408, 413 or 415; [`Halt::Gone`] when the caller left.
pub async fn read(session: &mut Session, limits: &SizeLimits) -> Result<Bytes, Halt> {
    let media = media_type(session.req_header())?;
    let body = read_raw(session, limits.max_body_bytes).await?;
    // Two headers are one list.
    let codings = session.req_header().headers.get_all(CONTENT_ENCODING).iter();
    let codings: Vec<&str> = codings.map(|coding| coding.to_str().unwrap_or("?")).collect();
    let body = decode(&codings.join(","), body, limits.max_body_bytes)?;
    match media {
        Media::Json => Ok(body),
        Media::MsgPack => Ok(from_msgpack(&body, limits.max_body_bytes)?),
    }
}

enum Media {
    Json,
    MsgPack,
}

fn media_type(head: &RequestHeader) -> Result<Media, Refusal> {
    let Some(value) = head.headers.get(CONTENT_TYPE) else { return Ok(Media::Json) };
    let value = value.to_str().unwrap_or("?");
    let mut parts = value.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let utf8 = parts.all(|p| match p.split_once('=') {
        Some((name, charset)) if name.trim().eq_ignore_ascii_case("charset") => {
            charset.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    match essence.as_str() {
        "application/vnd.msgpack" | "application/msgpack" | "application/x-msgpack" => Ok(Media::MsgPack),
        "application/json" | "" if utf8 => Ok(Media::Json),
        json if json.ends_with("+json") && utf8 => Ok(Media::Json),
        _ => {
            let message = "the body must be application/json in UTF-8, or application/vnd.msgpack: nothing else can be inspected";
            Err(Refusal::new(415, "invalid_request_error", "unsupported_media_type", message))
        }
    }
}

async fn read_raw(session: &mut Session, cap: u64) -> Result<Bytes, Halt> {
    let head = session.req_header();
    let length = head.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.trim().parse::<u64>().ok());
    if length.is_some_and(|n| n > cap) {
        return Err(too_large(cap).into());
    }
    if waits_for_continue(session) {
        // Pingora takes an answer before the end of the body for the last one of its connection; this one is not.
        let keepalive = session.get_keepalive();
        session.write_continue_response().await.map_err(gone)?;
        session.set_keepalive(keepalive);
    }
    let began = Instant::now();
    let mut body = Body::Empty;
    while let Some(chunk) = next_chunk(session, began).await? {
        if (body.len() + chunk.len()) as u64 > cap {
            return Err(too_large(cap).into());
        }
        body.push(chunk, length.unwrap_or_default() as usize);
    }
    Ok(body.into_bytes())
}

async fn next_chunk(session: &mut Session, began: Instant) -> Result<Option<Bytes>, Halt> {
    let limit = CHUNK_TIMEOUT.min(BODY_TIMEOUT.saturating_sub(began.elapsed()));
    match timeout(limit, session.downstream_session.read_request_body()).await {
        Ok(Ok(chunk)) => Ok(chunk),
        Ok(Err(error)) if is_malformed(&error) => {
            session.set_keepalive(None);
            Err(Refusal::invalid("malformed_chunk", "the chunked body is not framed as RFC 9112, section 7.1 has it").into())
        }
        Ok(Err(error)) => Err(gone(error)),
        Err(_) => {
            session.set_keepalive(None);
            Err(Refusal::new(408, "invalid_request_error", "upload_timeout", "the request body did not arrive in time").into())
        }
    }
}

/// Reads and drops a bounded rest of a body nobody needs, before its request is answered: the caller sees the answer instead of a
/// reset, and its connection can carry the next request. A caller that waits for 100 sends nothing, so its connection is closed.
pub async fn discard(session: &mut Session) {
    if session.downstream_session.is_body_done() {
        return;
    }
    if waits_for_continue(session) || !drain(session).await {
        session.set_keepalive(None);
    }
}

/// Whether the end was reached.
async fn drain(session: &mut Session) -> bool {
    let all = async {
        let mut dropped = 0;
        while let Some(chunk) = session.downstream_session.read_request_body().await.ok()? {
            dropped += chunk.len() as u64;
            if dropped > DRAIN_BYTES {
                return None;
            }
        }
        Some(())
    };
    matches!(timeout(DRAIN_TIME, all).await, Ok(Some(())))
}

fn waits_for_continue(session: &Session) -> bool {
    let expects = session.req_header().headers.get(EXPECT);
    expects.is_some_and(|v| v.as_bytes().eq_ignore_ascii_case(b"100-continue")) && session.response_written().is_none()
}

/// Pingora's names for chunks it cannot read.
fn is_malformed(error: &pingora_core::Error) -> bool {
    matches!(error.etype(), ErrorType::Custom("InvalidChunk" | "InvalidTrailerEnd"))
}

fn gone(mut error: Box<pingora_core::Error>) -> Halt {
    error.as_down();
    Halt::Gone(error)
}

/// Pingora drops Content-Length when both are there; the raw head still shows it.
fn raw_has_content_length(session: &Session) -> bool {
    let Some(session) = session.as_http1() else { return false };
    let raw = session.get_headers_raw_bytes();
    raw.split(|b| *b == b'\n').any(|line| line.len() >= 15 && line[..15].eq_ignore_ascii_case(b"content-length:"))
}

/// A body that arrives in one chunk is not copied.
enum Body {
    Empty,
    One(Bytes),
    Many(BytesMut),
}

impl Body {
    fn len(&self) -> usize {
        match self {
            Body::Empty => 0,
            Body::One(chunk) => chunk.len(),
            Body::Many(all) => all.len(),
        }
    }

    fn push(&mut self, chunk: Bytes, expected: usize) {
        *self = match std::mem::replace(self, Body::Empty) {
            Body::Empty => Body::One(chunk),
            Body::One(first) => {
                // The declared length is a hint, not a promise: reserve at most 1 MiB on a caller's word.
                let mut all = BytesMut::with_capacity((first.len() + chunk.len()).max(expected.min(1 << 20)));
                all.extend_from_slice(&first);
                all.extend_from_slice(&chunk);
                Body::Many(all)
            }
            Body::Many(mut all) => {
                all.extend_from_slice(&chunk);
                Body::Many(all)
            }
        }
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Body::Empty => Bytes::new(),
            Body::One(chunk) => chunk,
            Body::Many(all) => all.freeze(),
        }
    }
}
