//! One connection: reads a request, delivers its reply on time, and fails as asked.

use super::fault::Fault;
use super::ledger::{Outcome, Seen};
use super::model::Style;
use super::refusal::Refusal;
use super::reply::{Content, Reply, Script};
use super::socket::ResetSwitch;
use super::{MAX_BODY, Shared};
use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::Version;
use pingora::http::ResponseHeader;
use pingora_core::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora_core::protocols::http::ServerSession;
use pingora_core::server::ShutdownWatch;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Serves the requests of one connection.
pub struct Connection {
    pub shared: Arc<Shared>,
    pub reset: ResetSwitch,
}

/// Where a delivery stands when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The answer is complete; the connection may serve the next request.
    Complete,
    /// The caller went away.
    Gone,
    /// The connection is to be closed in order, whatever is missing.
    Cut,
    /// The connection is to be reset.
    Reset,
}

/// A write that failed: the caller has gone.
type Delivery = Result<End, Box<pingora_core::Error>>;

#[async_trait]
impl HttpServerApp for Connection {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        if !session.read_request().await.unwrap_or(false) {
            return None;
        }
        // A session begins without keep-alive; it stays on for whoever did not ask to close.
        let closes = session.get_header_bytes("connection").eq_ignore_ascii_case(b"close");
        let keeps = !closes && !*shutdown.borrow() && session.req_header().version != Version::HTTP_10;
        session.set_keepalive(keeps.then_some(KEEPALIVE_SECONDS));
        let end = self.exchange(&mut session).await.unwrap_or(End::Gone);
        self.shared.ledger.ended(match end {
            End::Complete => Outcome::Completed,
            End::Gone => Outcome::Abandoned,
            End::Cut | End::Reset => Outcome::Failed,
        });
        match end {
            End::Complete => {
                let settings = HttpPersistentSettings::for_session(&session);
                let reusable = session.finish().await.ok()??;
                return Some(ReusedHttpStream::from_reusable_stream(reusable, settings));
            }
            End::Gone => session.shutdown().await,
            End::Cut | End::Reset if session.is_http2() => {
                // The stream is reset and the connection lives on. A reset overtakes what is queued, so that is let out first.
                sleep(Duration::from_millis(20)).await;
                session.shutdown().await;
            }
            End::Cut => session.shutdown().await,
            End::Reset => self.reset.throw(),
        }
        None
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.shared.options)
    }
}

impl Connection {
    async fn exchange(&self, session: &mut ServerSession) -> Delivery {
        let seen = match read_whole(session).await? {
            Ok(seen) => seen,
            Err(refusal) => {
                session.set_keepalive(None);
                return deliver(session, Reply::refused(&refusal), Instant::now()).await;
            }
        };
        let started = Instant::now();
        let number = self.shared.ledger.arrived();
        let reply = Reply::to(&seen, &self.shared.settings, &self.shared.ledger, number);
        if seen.method == http::Method::POST {
            self.shared.ledger.remember(seen);
        }
        deliver(session, reply, started).await
    }
}

/// The request with its body, or why it is not read.
async fn read_whole(session: &mut ServerSession) -> Result<Result<Seen, Refusal>, Box<pingora_core::Error>> {
    if session.get_header_bytes("expect").eq_ignore_ascii_case(b"100-continue") {
        session.write_continue_response().await?;
    }
    let mut body = BytesMut::new();
    while let Some(part) = session.read_request_body().await? {
        if body.len() + part.len() > MAX_BODY {
            return Ok(Err(Refusal::too_large(MAX_BODY)));
        }
        body.extend_from_slice(&part);
    }
    let head = session.req_header();
    for (name, plain) in [("content-encoding", "identity"), ("content-type", "json")] {
        let value = head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let packed = if name == "content-type" { value.contains("msgpack") } else { !value.is_empty() && value != plain };
        if packed {
            return Ok(Err(Refusal::encoded(value)));
        }
    }
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok(Ok(Seen { method: head.method.clone(), path, headers: head.headers.clone(), body: body.freeze() }))
}

async fn deliver(session: &mut ServerSession, reply: Reply, started: Instant) -> Delivery {
    match reply.fault {
        Some(Fault::Hang) => return Ok(gone(session).await),
        Some(Fault::Close) => return Ok(End::Cut),
        Some(Fault::SlowFirstByte(delay)) if !wait(session, started + delay).await => return Ok(End::Gone),
        _ => {}
    }
    let head = head(session, &reply)?;
    match reply.content {
        Content::Whole { body, at } => whole(session, head, body, started + at, reply.fault).await,
        Content::Stream(script) => stream(session, head, &script, started, reply.fault).await,
    }
}

async fn whole(session: &mut ServerSession, head: ResponseHeader, body: Bytes, at: Instant, fault: Option<Fault>) -> Delivery {
    if !wait(session, at).await {
        return Ok(End::Gone);
    }
    let half = body.slice(..body.len() / 2);
    let (sent, end) = match fault {
        Some(Fault::Reset) => (half, End::Reset),
        Some(Fault::Truncated) => (half, End::Cut),
        Some(Fault::Stall) => (half, End::Gone),
        Some(Fault::Malformed) => (half, End::Complete),
        _ => (body.clone(), End::Complete),
    };
    let mut head = head;
    let announced = if end == End::Complete { sent.len() } else { body.len() };
    head.insert_header("content-length", announced)?;
    session.write_response_header(Box::new(head)).await?;
    if !sent.is_empty() {
        session.write_response_body(sent, end == End::Complete).await?;
    }
    if end == End::Gone { Ok(gone(session).await) } else { Ok(end) }
}

async fn stream(
    session: &mut ServerSession,
    mut head: ResponseHeader,
    script: &Script,
    started: Instant,
    fault: Option<Fault>,
) -> Delivery {
    if !session.is_http2() && session.req_header().version == Version::HTTP_11 {
        head.insert_header("transfer-encoding", "chunked")?;
    }
    let pieces = script.pieces();
    let last = pieces.iter().map(Vec::len).max().unwrap_or(0);
    // Where the telling pauses for its fault, or, without one, ends.
    let stop = if breaks_off(fault) { script.fault_after.min(last) } else { last };
    if !wait(session, started + script.timeline.at(0)).await {
        return Ok(End::Gone);
    }
    session.write_response_header(Box::new(head)).await?;
    let mut out = Vec::new();
    script.open(&mut out);
    let mut told = 0_usize;
    loop {
        let due = script.timeline.due(started.elapsed()).min(stop).min(told.saturating_add(BATCH));
        while told < due {
            script.tell(&pieces, told, &mut out);
            told += 1;
        }
        if told >= stop {
            break;
        }
        send(session, &mut out, false).await?;
        if !wait(session, started + script.timeline.at(told)).await {
            return Ok(End::Gone);
        }
    }
    match fault {
        Some(Fault::Malformed) => out.extend_from_slice(b"data: {\"id\":\"chatcmpl-\n\n"),
        Some(Fault::ErrorEvent) => out.extend(Refusal::of_status(500, Style::Cerebras).event()),
        _ => {}
    }
    send(session, &mut out, false).await?;
    match fault {
        Some(Fault::Stall) => return Ok(gone(session).await),
        Some(Fault::Reset) => return Ok(End::Reset),
        Some(Fault::Truncated) => return Ok(End::Cut),
        Some(Fault::ErrorEvent | Fault::NoFinish) => {}
        _ => {
            (told..last).for_each(|nth| script.tell(&pieces, nth, &mut out));
            script.close(&mut out);
            if fault != Some(Fault::NoDone) {
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
        }
    }
    send(session, &mut out, true).await?;
    Ok(End::Complete)
}

/// Whether a fault strikes in the middle of a stream.
fn breaks_off(fault: Option<Fault>) -> bool {
    use Fault::{ErrorEvent, Malformed, Reset, Stall, Truncated};
    matches!(fault, Some(Stall | Reset | Truncated | Malformed | ErrorEvent))
}

fn head(session: &ServerSession, reply: &Reply) -> Result<ResponseHeader, Box<pingora_core::Error>> {
    let mut head = ResponseHeader::build(reply.status, Some(reply.headers.len() + 4))?;
    head.insert_header("content-type", reply.media)?;
    head.insert_header("server", "kt-simulator")?;
    if let Some(id) = session.get_header("x-request-id") {
        head.insert_header("x-request-id", id)?;
    }
    for (name, value) in &reply.headers {
        head.insert_header(*name, value)?;
    }
    Ok(head)
}

async fn send(session: &mut ServerSession, out: &mut Vec<u8>, end: bool) -> Result<(), Box<pingora_core::Error>> {
    if !out.is_empty() || end {
        session.write_response_body(Bytes::from(std::mem::take(out)), end).await?;
    }
    Ok(())
}

/// Waits until `at`; false if the caller goes away first.
async fn wait(session: &mut ServerSession, at: Instant) -> bool {
    if at <= Instant::now() {
        return true;
    }
    tokio::select! {
        () = sleep_until(at) => true,
        _ = session.read_body_or_idle(true) => false,
    }
}

/// Waits for the caller to go away.
async fn gone(session: &mut ServerSession) -> End {
    let forever = Duration::from_secs(24 * 60 * 60);
    wait(session, Instant::now() + forever).await;
    End::Gone
}

const KEEPALIVE_SECONDS: u64 = 300;

/// Moments told in one write at most, so that an unpaced answer does not gather in memory.
const BATCH: usize = 512;
