//! First-token hedging: when the target asked first is slow to its first byte, the next one is asked beside it, and whoever has
//! the first byte answers. The other one is given up; both are recorded.
//!
//! Pingora drives one upstream an exchange, so the second one is asked here, over a connection of its own (HTTP/1.1), up to the
//! first byte of its answer's body. If that comes first, the connection is handed over: Pingora finds its request written and the
//! answer waiting, and everything from there on is the ordinary way of an answer. A won connection ends with its answer.

use super::exchange::{Ask, Exchange};
use super::failing::connect_failure;
use super::forward;
use crate::metrics::METRICS;
use crate::upstream::parking::retry_after;
use crate::upstream::pass::Pass;
use crate::upstream::{Failure, Moment, Plan, Target};
use async_trait::async_trait;
use bytes::{Buf, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH};
use http::{HeaderMap, HeaderName, HeaderValue, Version};
use once_cell::sync::Lazy;
use pingora_core::connectors::{L4Connect, TransportConnector};
use pingora_core::protocols::Stream;
use pingora_core::protocols::http::v1::client::http_req_header_to_wire;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::upstreams::peer::HttpPeer;
use pingora_core::{Error, ErrorType, Result};
use pingora_http::RequestHeader;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Heads of answers beyond this are refused, in bytes; Pingora's own bound on headers is the number of them.
const MAX_HEAD: usize = 64 * 1024;
const MAX_HEADERS: usize = 256;

static CONNECTOR: Lazy<TransportConnector> = Lazy::new(|| TransportConnector::new(None));

/// Where a race stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The first target still has time.
    Waiting,
    /// The rival is asked.
    Running,
    /// It has its first byte.
    Won,
    /// It failed.
    Lost,
}

/// How a race ended for the rival.
pub enum Outcome {
    /// It has its first byte.
    Won(Won),
    /// It failed.
    Lost(Lost),
}

/// An attempt that overtook another one.
pub struct Won {
    /// Its step of the plan.
    pub step: usize,
    /// Its leave.
    pub pass: Pass,
    /// When it began.
    pub since: Instant,
    /// What its answer arrives on.
    pub connection: Connection,
}

/// A rival that failed.
pub struct Lost {
    step: usize,
    model: Arc<str>,
    failure: Failure,
    took: Duration,
}

/// The attempt beside the current one. Dropped, it is given up.
pub struct Race {
    step: usize,
    model: Arc<str>,
    began: Instant,
    stage: watch::Receiver<Stage>,
    outcome: Arc<Mutex<Option<Outcome>>>,
    task: JoinHandle<()>,
}

/// Prepares to race the first attempt of an exchange, where the config asks for it and another target may be asked.
pub fn prepare(caller: &RequestHeader, exchange: &mut Exchange) {
    let gateway = exchange.gateway.clone();
    let Some(hedging) = &gateway.router.hedging else { return };
    let facts = &exchange.facts;
    let Some(admitted) = exchange.phase.admitted() else { return };
    if admitted.race.is_some() || admitted.resuming.is_some() || !admitted.plan.attempts().is_empty() {
        return;
    }
    hedging.budget.saw_request();
    let Some((step, target)) = admitted.plan.rival(Instant::now()) else { return };
    let model: Arc<str> = admitted.plan.model_of(&target).into();
    let mut head = Box::new(caller.clone());
    head.set_version(Version::HTTP_11);
    let head =
        forward::request_head(&mut head, &target, facts, 0).and_then(|()| head.insert_header(CONNECTION, "close")).map(|()| head);
    let (Ok(head), Some(address)) = (head, target.address()) else { return };
    let Ok(peer) = forward::rival(&target, address) else { return };
    let draft = admitted.draft.clone();
    let (tell, stage) = watch::channel(Stage::Waiting);
    let outcome = Arc::new(Mutex::new(None));
    let rival = Rival { step, model: model.clone(), target, peer, head };
    let slot = outcome.clone();
    let task = tokio::spawn(async move {
        let Some(hedging) = &gateway.router.hedging else { return };
        pingora::time::sleep(hedging.after).await;
        let since = Instant::now();
        let Ok(pass) = Pass::ask(&rival.target, Moment::at(since)) else { return };
        if !hedging.budget.take() {
            METRICS.hedges.with_label_values(&["over_budget"]).inc();
            return;
        }
        METRICS.hedges.with_label_values(&["started"]).inc();
        let _ = tell.send(Stage::Running);
        let Some((body, _)) = draft.body_for(&Ask::of(&rival.target, &rival.model, None)) else { return };
        let ended = rival.run(body, pass, since).await;
        let stage = if matches!(ended, Outcome::Won(_)) { Stage::Won } else { Stage::Lost };
        *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        let _ = tell.send(stage);
    });
    admitted.replay.race(Some(stage.clone()));
    admitted.race = Some(Race { step, model, began: Instant::now(), stage, outcome, task });
}

impl Race {
    /// Whether the rival was asked.
    pub fn is_running(&self) -> bool {
        *self.stage.borrow() != Stage::Waiting
    }

    /// Waits for the end.
    pub async fn outcome(mut self) -> Outcome {
        let _ = self.stage.wait_for(|stage| matches!(stage, Stage::Won | Stage::Lost)).await;
        let outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        outcome.unwrap_or_else(|| Outcome::Lost(self.lost(Failure::Broken)))
    }

    /// The current attempt was first: the rival is given up, and noted if it was asked.
    pub fn give_up(self, plan: &mut Plan) {
        let ended = self.outcome.lock().unwrap_or_else(PoisonError::into_inner).take();
        match ended {
            Some(Outcome::Lost(lost)) => lost.note(plan),
            Some(Outcome::Won(_)) => self.lost(Failure::Superseded).note(plan),
            None if self.is_running() => self.lost(Failure::Superseded).note(plan),
            None => {}
        }
    }

    /// For a connection under way that would rather not be, once the rival has its first byte.
    pub fn stage(&self) -> watch::Receiver<Stage> {
        self.stage.clone()
    }

    fn lost(&self, failure: Failure) -> Lost {
        Lost { step: self.step, model: self.model.clone(), failure, took: self.began.elapsed() }
    }
}

impl Drop for Race {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Lost {
    /// Notes the attempt; its target is not asked again.
    pub fn note(self, plan: &mut Plan) {
        METRICS.hedges.with_label_values(&[if self.failure == Failure::Superseded { "superseded" } else { "failed" }]).inc();
        plan.rival_ended(self.step, &self.model, self.failure, self.took);
    }
}

/// Waits until a rival has its first byte; for ever when it will not.
pub async fn overtaken(stage: &mut watch::Receiver<Stage>) {
    if stage.wait_for(|stage| *stage == Stage::Won).await.is_err() {
        std::future::pending().await
    }
}

struct Rival {
    step: usize,
    model: Arc<str>,
    target: Arc<Target>,
    peer: Box<HttpPeer>,
    head: Box<RequestHeader>,
}

impl Rival {
    async fn run(mut self, body: Bytes, mut pass: Pass, since: Instant) -> Outcome {
        let asked = pingora::time::timeout(self.target.timeout, self.ask(body)).await;
        let (failure, pause) = match asked {
            Ok(Ok(connection)) => return Outcome::Won(Won { step: self.step, pass, since, connection }),
            Ok(Err(failed)) => failed,
            Err(_) => (Failure::Timeout, None),
        };
        log::warn!("target {}: {}, asked beside another one", self.target.id, failure.as_str());
        pass.failed(failure, pause, Moment::now());
        Outcome::Lost(Lost { step: self.step, model: self.model, failure, took: since.elapsed() })
    }

    /// Sends the request and reads up to the first byte of the answer's body.
    async fn ask(&mut self, body: Bytes) -> Result<Connection, (Failure, Option<Duration>)> {
        let broken = |_| (Failure::Broken, None);
        let connected = CONNECTOR.get_stream(&*self.peer).await;
        let (mut stream, _) = connected.map_err(|error| (connect_failure(&error), None))?;
        self.head.insert_header(CONTENT_LENGTH, body.len()).map_err(|_| (Failure::Broken, None))?;
        let head = http_req_header_to_wire(&self.head).ok_or((Failure::Broken, None))?;
        stream.write_all(&head).await.map_err(broken)?;
        stream.write_all(&body).await.map_err(broken)?;
        stream.flush().await.map_err(broken)?;
        let mut read = BytesMut::with_capacity(4096);
        loop {
            let ended = stream.read_buf(&mut read).await.map_err(broken)? == 0;
            match Head::find(&read)? {
                Some(head) if head.is_interim() => read.advance(head.length),
                Some(head) if ended || read.len() > head.length => {
                    head.failure()?;
                    let last_words = head.marked_last(&read);
                    return Ok(Connection { unread: last_words, stream });
                }
                _ if ended => return Err((Failure::Broken, None)),
                _ => {}
            }
        }
    }
}

/// The head of an answer.
struct Head {
    status: u16,
    headers: HeaderMap,
    length: usize,
}

impl Head {
    /// The head at the beginning of `read`, once it is whole.
    fn find(read: &[u8]) -> Result<Option<Self>, (Failure, Option<Duration>)> {
        let mut fields = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Response::new(&mut fields);
        match parsed.parse(read) {
            Ok(httparse::Status::Complete(length)) => {
                let field = |f: &httparse::Header<'_>| {
                    Some((HeaderName::from_bytes(f.name.as_bytes()).ok()?, HeaderValue::from_bytes(f.value).ok()?))
                };
                let headers = parsed.headers.iter().filter_map(field).collect();
                Ok(Some(Self { status: parsed.code.unwrap_or(0), headers, length }))
            }
            Ok(httparse::Status::Partial) if read.len() <= MAX_HEAD => Ok(None),
            _ => Err((Failure::Unreadable, None)),
        }
    }

    fn is_interim(&self) -> bool {
        (100..200).contains(&self.status)
    }

    /// Only an answer wins. What the caller got wrong, the first target will tell as well.
    fn failure(&self) -> Result<(), (Failure, Option<Duration>)> {
        match self.status {
            200..300 => Ok(()),
            status => {
                let failure = Failure::of_status(status).unwrap_or(Failure::Superseded);
                Err((failure, retry_after(&self.headers, SystemTime::now())))
            }
        }
    }

    /// What was read, its head saying that the connection ends with this answer: nobody may find a request swallowed by it.
    fn marked_last(&self, read: &[u8]) -> Bytes {
        let line = memchr::memchr(b'\n', read).map_or(0, |end| end + 1);
        [&read[..line], b"connection: close\r\n", &read[line..]].concat().into()
    }
}

/// A connection whose request is written and whose answer has begun.
#[derive(Debug)]
pub struct Connection {
    unread: Bytes,
    stream: Stream,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread.split_to(length));
        Poll::Ready(Ok(()))
    }
}

/// The request is written already: what Pingora writes of it goes nowhere.
impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl VirtualSocket for Connection {
    /// The socket beneath has its options since it was connected.
    fn set_socket_option(&self, _: VirtualSockOpt) -> io::Result<()> {
        Ok(())
    }
}

/// "Connects" by handing a won connection over, once.
#[derive(Debug)]
pub struct HandOver(Mutex<Option<Connection>>);

impl HandOver {
    /// Hands `connection` to the next one who connects.
    pub fn new(connection: Connection) -> Self {
        Self(Mutex::new(Some(connection)))
    }
}

#[async_trait]
impl L4Connect for HandOver {
    async fn connect(&self, _: &SocketAddr) -> Result<L4Stream> {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            Some(connection) => Ok(VirtualSocketStream::new(Box::new(connection)).into()),
            None => Error::e_explain(ErrorType::ConnectError, "the connection was handed over before"),
        }
    }
}
