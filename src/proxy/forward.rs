//! The way to a target and back: connection settings, request head, the key, and the headers each side may see.

use super::exchange::{Exchange, Facts};
use super::race::{Connection, HandOver};
use crate::openai::request::Endpoint;
use crate::upstream::{Attempt, Key, Target};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::header::{PROXY_AUTHENTICATE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderName, HeaderValue, Uri};
use pingora_core::protocols::tls::ALPN;
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The caller's headers a provider sees. Everything else stays here: cookies, forwarding headers, SDK telemetry
/// (`x-stainless-*`), the caller's own key and organisation, custom headers.
const FORWARDED: &[&str] =
    &["accept", "user-agent", "traceparent", "tracestate", "idempotency-key", "openai-beta", "queue_threshold"];

/// The provider's headers a caller does not see, beside hop-by-hop ones and `x-keeptrusts-*`: they speak of the provider's edge,
/// or would make the caller's client act on the wrong host.
const WITHHELD: &[&str] = &["set-cookie", "alt-svc", "strict-transport-security", "report-to", "nel", "server", "via"];

const KEEP_IDLE: Duration = Duration::from_secs(90);

/// How to reach `target` at an address the resolver found.
///
/// # Errors
/// A TLS target without a host name: Pingora would skip certificate verification.
pub fn peer(target: &Target, address: SocketAddr) -> Result<Box<HttpPeer>> {
    let tls = target.url.scheme == crate::config::Scheme::Https;
    let host = target.url.host.clone();
    if tls && host.is_empty() {
        return Error::e_explain(ErrorType::InternalError, "a TLS target needs a host name to verify");
    }
    let mut peer = HttpPeer::new(address, tls, host);
    let mut hasher = DefaultHasher::new();
    target.id.hash(&mut hasher);
    // Pingora's pool key leaves ALPN and CA out; the target's id keeps the pools apart.
    peer.group_key = hasher.finish();
    let options = &mut peer.options;
    options.connection_timeout = Some(target.connect_timeout);
    options.total_connection_timeout = Some(target.connect_timeout * 2);
    // Backstops: the phase deadlines of `replay` fire first.
    options.read_timeout = Some(target.timeout.max(target.stream_timeout) + Duration::from_secs(5));
    options.write_timeout = Some(target.timeout);
    options.idle_timeout = Some(KEEP_IDLE);
    options.alpn = if tls && target.http2 { ALPN::H2H1 } else { ALPN::H1 };
    options.max_h2_streams = 100;
    options.h2_ping_interval = tls.then_some(Duration::from_secs(20));
    Ok(Box::new(peer))
}

/// As [`peer`], for an attempt that is asked over HTTP/1.1 and beside another one.
///
/// # Errors
/// As for [`peer`].
pub fn rival(target: &Target, address: SocketAddr) -> Result<Box<HttpPeer>> {
    let mut peer = peer(target, address)?;
    peer.options.alpn = ALPN::H1;
    Ok(peer)
}

/// How to "reach" a target whose answer is under way on `connection`.
pub fn handed_over(target: &Target, connection: Connection) -> Box<HttpPeer> {
    // No address is connected to, and no TLS session begun: both stand.
    let mut peer = HttpPeer::new((Ipv4Addr::LOCALHOST, 0), false, String::new());
    // Marked to end with its answer, it is not pooled; were it all the same, nobody would look for it there.
    static HANDED_OVER: AtomicU64 = AtomicU64::new(0);
    peer.group_key = HANDED_OVER.fetch_add(1, Ordering::Relaxed);
    peer.options.read_timeout = Some(target.stream_timeout + Duration::from_secs(5));
    peer.options.custom_l4 = Some(Arc::new(HandOver::new(connection)));
    Box::new(peer)
}

/// Turns the caller's head into the one the target gets.
///
/// # Errors
/// A configured header or key that is no valid header value.
pub fn request_head(head: &mut RequestHeader, target: &Target, facts: &Facts, length: usize) -> Result<()> {
    let names: Vec<HeaderName> = head.headers.keys().filter(|n| !FORWARDED.contains(&n.as_str())).cloned().collect();
    for name in names {
        head.remove_header(&name);
    }
    let path = target.url.endpoint(endpoint_path(facts.endpoint));
    head.set_uri(path.parse::<Uri>().map_err(|e| Error::because(ErrorType::InternalError, "target path", e))?);
    head.insert_header(HOST, target.url.authority())?;
    head.insert_header(CONTENT_TYPE, "application/json")?;
    head.insert_header(CONTENT_LENGTH, length)?;
    // An answer that must be read must be readable.
    head.insert_header(ACCEPT_ENCODING, "identity")?;
    head.insert_header("x-request-id", facts.request_id.as_str())?;
    head.insert_header("traceparent", format!("00-{}-{}-01", facts.trace_id, facts.span_id))?;
    authenticate(head, target)
}

/// The target's own headers and its key. The key is marked sensitive, so that no debug output shows it.
fn authenticate(head: &mut RequestHeader, target: &Target) -> Result<()> {
    for (name, value) in &target.headers {
        head.insert_header(name.clone(), value.as_str())?;
    }
    if let Key::Present(secret) = &target.key {
        let mut value = HeaderValue::from_str(&format!("{}{}", target.key_prefix, secret.expose()))
            .map_err(|_| Error::explain(ErrorType::InternalError, "the key of the target is not a header value"))?;
        value.set_sensitive(true);
        let name = HeaderName::try_from(target.key_header.as_str()).unwrap_or(AUTHORIZATION);
        head.insert_header(name, value)?;
    }
    Ok(())
}

/// An error body without the key it was asked with: some providers quote what they refuse.
pub fn without_key(body: Bytes, target: &Target) -> Bytes {
    let Key::Present(secret) = &target.key else { return body };
    let key = secret.expose();
    match std::str::from_utf8(&body) {
        Ok(text) if !key.is_empty() && text.contains(key) => text.replace(key, "***").into(),
        _ => body,
    }
}

/// Removes what concerns the provider's connection alone, and what its `Connection` header names (RFC 9110, section 7.6.1).
/// Transfer-Encoding stays: it tells Pingora how the body is framed.
pub fn drop_hop_by_hop(head: &mut ResponseHeader) {
    let named = head.headers.get_all(CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let named = named.flat_map(|list| list.split(',')).filter_map(|name| name.trim().parse::<HeaderName>().ok());
    let named: Vec<HeaderName> = named.filter(|name| *name != TRANSFER_ENCODING).collect();
    for name in named.iter().chain(&[CONNECTION, UPGRADE, PROXY_AUTHENTICATE, TRAILER]) {
        head.remove_header(name);
    }
    head.remove_header("keep-alive");
}

/// Removes what a caller must not see from a provider's head, the target's key wherever it is quoted, and adds ours.
///
/// # Errors
/// Never in practice: every value is our own.
pub fn answer_head(head: &mut ResponseHeader, exchange: &mut Exchange) -> Result<()> {
    let ours = |name: &str| name.starts_with("x-keeptrusts-") || name == "x-request-id";
    let key = exchange.admitted().and_then(|a| a.plan.current()).and_then(|target| match &target.key {
        Key::Present(secret) => Some(secret.expose()).filter(|key| !key.is_empty()),
        Key::NotNeeded | Key::Missing(_) => None,
    });
    let quotes = |value: &HeaderValue| key.is_some_and(|key| memchr::memmem::find(value.as_bytes(), key.as_bytes()).is_some());
    let withheld =
        |(name, value): &(&HeaderName, &HeaderValue)| ours(name.as_str()) || WITHHELD.contains(&name.as_str()) || quotes(value);
    let names: Vec<HeaderName> = head.headers.iter().filter(withheld).map(|(name, _)| name.clone()).collect();
    for name in names {
        head.remove_header(&name);
    }
    stamp(head, &exchange.facts, exchange.phase.attempts())
}

/// Our headers on every answer.
///
/// # Errors
/// Never in practice: every value is our own.
pub fn stamp(head: &mut ResponseHeader, facts: &Facts, attempts: &[Attempt]) -> Result<()> {
    head.insert_header("x-request-id", facts.request_id.as_str())?;
    if facts.endpoint.is_none() {
        return Ok(());
    }
    head.insert_header("x-keeptrusts-event-id", facts.event_id.as_str())?;
    head.insert_header("x-keeptrusts-verdict", facts.verdict)?;
    if facts.redactions > 0 {
        head.insert_header("x-keeptrusts-redactions", facts.redactions)?;
    }
    if !attempts.is_empty() {
        head.insert_header("x-keeptrusts-attempts", attempts.len())?;
    }
    if let Some(failed) = failed_attempts(attempts) {
        head.insert_header("x-keeptrusts-failed-attempts", failed)?;
    }
    if !facts.dropped.is_empty()
        && let Ok(dropped) = HeaderValue::from_str(&facts.dropped.join(", "))
    {
        head.insert_header("x-keeptrusts-dropped", dropped)?;
    }
    if let Some(served) = &facts.served {
        head.insert_header("x-keeptrusts-target", &*served.target)?;
        if let Ok(model) = HeaderValue::from_str(&served.model) {
            head.insert_header("x-keeptrusts-model", model)?;
        }
    }
    Ok(())
}

/// `target=reason`, in order, for those that failed before the caller saw anything of them.
fn failed_attempts(attempts: &[Attempt]) -> Option<HeaderValue> {
    let failed = attempts.iter().filter_map(|a| Some(format!("{}={}", a.target, a.failure?.as_str())));
    let failed: Vec<String> = failed.collect();
    (!failed.is_empty()).then(|| HeaderValue::from_str(&failed.join(", ")).ok())?
}

fn endpoint_path(endpoint: Option<Endpoint>) -> &'static str {
    match endpoint {
        Some(Endpoint::Completions) => "completions",
        Some(Endpoint::Embeddings) => "embeddings",
        Some(Endpoint::ChatCompletions) | None => "chat/completions",
    }
}

/// How to ask a target whether it is there: the connection and the head of a `GET` of its probe endpoint.
///
/// # Errors
/// As for [`peer`] and [`request_head`].
pub fn probe(target: &Target, address: SocketAddr) -> Result<(Box<HttpPeer>, RequestHeader)> {
    let mut peer = peer(target, address)?;
    peer.options.read_timeout = Some(target.probe.timeout);
    let mut head = RequestHeader::build("GET", target.probe_path().as_bytes(), Some(4))?;
    head.insert_header(HOST, target.url.authority())?;
    head.insert_header("user-agent", concat!("kt/", env!("CARGO_PKG_VERSION")))?;
    head.insert_header(ACCEPT_ENCODING, "identity")?;
    authenticate(&mut head, target)?;
    Ok((peer, head))
}
