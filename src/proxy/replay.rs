//! The caller's session with its body already read: replayed in full to every target, its answer's head held until the body begins.
//!
//! pingora-proxy 0.9.1 forwards a body that a filter has read only from a retry buffer of at most 64 KiB, and loses the rest
//! without an error. `ServerSession::Custom` is a trait object, so [`Replay`] wraps the real session in one: to the proxy loop it
//! looks like a client that has just begun to send its body. Three things follow from sitting there:
//!
//! * every attempt gets the whole body, of any size, without copying ([`Handle::set_body`]);
//! * phase deadlines (first byte, idle gap) that Pingora does not have ([`Handle::deadline_in`]);
//! * the head of an answer leaves with its first body byte, so a target that dies in between can still be replaced, and an answer
//!   judged whole can still become a refusal ([`Handle::replace_head`]).
//!
//! Who owns the locks: the mutexes are touched only by the task of this one exchange, never across an await.

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server::Session as CustomSession};
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::{Digest, l4::socket::SocketAddr};
use pingora_core::{Error, ErrorType, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use pingora_proxy::Session;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// The error of a phase that outlasted its deadline.
pub const DEADLINE: ErrorType = ErrorType::Custom("phase_deadline");

/// How much of the body one turn of the proxy loop hands out, in bytes.
const SLICE: usize = 128 * 1024;
/// The `shutdown` code by which [`Handle::restore`] asks for the real session.
const UNWRAP: u32 = u32::MAX - 7;

/// The gateway's side of a wrapped session.
#[derive(Clone)]
pub struct Handle(Arc<Shared>);

struct Shared {
    epoch: Instant,
    /// The body of the current attempt and how much of it was handed out.
    body: Mutex<(Bytes, usize)>,
    /// Takes the place of the head the proxy loop is about to write.
    head: Mutex<Option<Box<ResponseHeader>>>,
    parked: Mutex<Option<Box<ServerSession>>>,
    /// Milliseconds after `epoch`; 0 is none. Re-read on every turn of the proxy loop, so a filter may move it at any time.
    deadline: AtomicU64,
    /// The caller has everything: whether it stays or leaves is no longer of interest.
    answered: AtomicBool,
}

impl Handle {
    /// Wraps the session's downstream.
    pub fn install(session: &mut Session) -> Self {
        let handle = Self(Arc::new(Shared {
            epoch: Instant::now(),
            body: Mutex::default(),
            head: Mutex::default(),
            parked: Mutex::default(),
            deadline: AtomicU64::new(0),
            answered: AtomicBool::new(false),
        }));
        let placeholder = Box::new(ServerSession::new_custom(Box::new(())));
        let inner = std::mem::replace(&mut session.downstream_session, placeholder);
        let wrapped = Replay { inner: Some(inner), head: None, alarm: None, shared: handle.0.clone() };
        *session.downstream_session = ServerSession::new_custom(Box::new(wrapped));
        handle
    }

    /// Puts the real session back, so that keep-alive reuse is that of a plain session. Harmless when done twice.
    pub async fn restore(&self, session: &mut Session) {
        if let Some(custom) = session.downstream_session.as_custom_mut() {
            custom.shutdown(UNWRAP, "restore").await;
        }
        if let Some(real) = lock(&self.0.parked).take() {
            session.downstream_session = real;
        }
    }

    /// The body of the next attempt.
    pub fn set_body(&self, body: Bytes) {
        *lock(&self.0.body) = (body, 0);
    }

    /// Its length in bytes.
    pub fn body_len(&self) -> usize {
        lock(&self.0.body).0.len()
    }

    /// Arms the deadline of the current phase, or disarms it.
    pub fn deadline_in(&self, limit: Option<Duration>) {
        let at = limit.map_or(0, |d| (self.0.epoch.elapsed() + d).as_millis().max(1) as u64);
        self.0.deadline.store(at, Ordering::Relaxed);
    }

    /// Replaces the head of the answer; only before its first body byte left.
    pub fn replace_head(&self, head: Box<ResponseHeader>) {
        *lock(&self.0.head) = Some(head);
    }

    /// The caller has the whole answer: from now on its leaving is not an error, and the upstream is read to its end so that its
    /// connection stays warm (Python SDKs close right after `[DONE]`).
    pub fn answered(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// Whether [`Handle::answered`] was called.
    pub fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }
}

/// The trait object Pingora drives.
struct Replay {
    inner: Option<Box<ServerSession>>,
    /// A head the proxy loop wrote and the caller has not seen yet.
    head: Option<Box<ResponseHeader>>,
    alarm: Option<Alarm>,
    shared: Arc<Shared>,
}

/// A running timer. Deadlines mostly move away, piece by piece of an answer: rather than a new timer for each, the one that runs
/// goes off early and is set anew.
struct Alarm {
    /// When it goes off, in the terms of [`Shared::deadline`].
    rings: u64,
    bell: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
}

impl Replay {
    /// `inner` leaves only in `shutdown(UNWRAP)`, after which the wrapper is dropped by [`Handle::restore`].
    fn real(&self) -> &ServerSession {
        self.inner.as_ref().expect("the wrapper is dropped when the session is restored")
    }

    fn real_mut(&mut self) -> &mut ServerSession {
        self.inner.as_mut().expect("the wrapper is dropped when the session is restored")
    }

    fn next_slice(&self) -> Option<Bytes> {
        let mut body = lock(&self.shared.body);
        let (len, at) = (body.0.len(), body.1);
        if at >= len {
            return None;
        }
        let end = (at + SLICE).min(len);
        body.1 = end;
        Some(body.0.slice(at..end))
    }

    /// The deadline of the phase; `None` while there is none.
    fn deadline(&self) -> Option<u64> {
        Some(self.shared.deadline.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }

    /// Waits for the caller to leave, or, once it has its answer, for nothing; no longer than to the alarm.
    async fn idle(&mut self) -> Option<Result<Option<Bytes>>> {
        let Self { inner, alarm, shared, .. } = self;
        let real = inner.as_mut().expect("the wrapper is dropped when the session is restored");
        let leaving = async {
            let left = real.read_body_or_idle(true).await;
            if shared.answered.load(Ordering::Relaxed) { std::future::pending().await } else { left }
        };
        let Some(Alarm { bell, .. }) = alarm else { return Some(leaving.await) };
        tokio::select! {
            biased;
            left = leaving => Some(left),
            () = bell => None,
        }
    }

    /// What the caller's session is to be given: heads wait for the first body byte, interim answers are dropped.
    fn hold_head(&mut self, tasks: Vec<HttpTask>) -> Vec<HttpTask> {
        let mut out = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            match task {
                HttpTask::Header(head, _) if head.status.is_informational() => {}
                HttpTask::Header(head, false) => self.head = Some(head),
                HttpTask::Body(data, false) if data.as_ref().is_none_or(Bytes::is_empty) => {}
                HttpTask::Failed(_) => out.push(task),
                task => {
                    if let Some(head) = self.head.take() {
                        out.push(HttpTask::Header(lock(&self.shared.head).take().unwrap_or(head), false));
                    }
                    out.push(task);
                }
            }
        }
        out
    }
}

#[async_trait]
impl CustomSession for Replay {
    fn req_header(&self) -> &RequestHeader {
        self.real().req_header()
    }
    fn req_header_mut(&mut self) -> &mut RequestHeader {
        self.real_mut().req_header_mut()
    }

    async fn read_body_bytes(&mut self) -> Result<Option<Bytes>> {
        Ok(self.next_slice())
    }
    async fn drain_request_body(&mut self) -> Result<()> {
        Ok(())
    }
    fn is_body_done(&mut self) -> bool {
        let body = lock(&self.shared.body);
        body.1 >= body.0.len()
    }
    fn is_body_empty(&mut self) -> bool {
        lock(&self.shared.body).0.is_empty()
    }
    async fn read_body_or_idle(&mut self, no_body_expected: bool) -> Result<Option<Bytes>> {
        // Polled inside `select!`: nothing is awaited before a slice is returned, so cancellation cannot lose one.
        if !no_body_expected && let Some(slice) = self.next_slice() {
            return Ok(Some(slice));
        }
        loop {
            match (self.deadline(), &self.alarm) {
                (None, _) => self.alarm = None,
                (Some(at), Some(alarm)) if alarm.rings <= at => {}
                (Some(at), _) => {
                    let left = Duration::from_millis(at).saturating_sub(self.shared.epoch.elapsed());
                    self.alarm = Some(Alarm { rings: at, bell: Box::pin(pingora::time::sleep(left)) });
                }
            }
            if let Some(left) = self.idle().await {
                return left;
            }
            let now = self.shared.epoch.elapsed();
            if self.deadline().is_some_and(|at| Duration::from_millis(at) <= now) {
                return Error::e_explain(DEADLINE, "the phase outlasted its deadline");
            }
            self.alarm = None;
        }
    }

    /// pingora-proxy calls this at the start of every attempt: the moment to rewind.
    fn enable_retry_buffering(&mut self) {
        lock(&self.shared.body).1 = 0;
        self.head = None;
    }
    fn retry_buffer_truncated(&self) -> bool {
        false
    }
    fn get_retry_buffer(&self) -> Option<Bytes> {
        None
    }

    async fn write_response_header(&mut self, head: Box<ResponseHeader>, _end: bool) -> Result<()> {
        self.real_mut().write_response_header(head).await
    }
    async fn write_response_header_ref(&mut self, head: &ResponseHeader, _end: bool) -> Result<()> {
        self.real_mut().write_response_header_ref(head).await
    }
    async fn write_body(&mut self, data: Bytes, end: bool) -> Result<()> {
        self.real_mut().write_response_body(data, end).await
    }
    async fn write_trailers(&mut self, trailers: HeaderMap) -> Result<()> {
        self.real_mut().write_response_trailers(trailers).await
    }
    async fn response_duplex_vec(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let end = tasks.iter().any(HttpTask::is_end);
        let tasks = self.hold_head(tasks);
        if tasks.is_empty() {
            return Ok(false);
        }
        match self.real_mut().response_duplex_vec(tasks).await {
            Err(_) if self.shared.answered.load(Ordering::Relaxed) => Ok(end),
            result => result,
        }
    }
    fn response_written(&self) -> Option<&ResponseHeader> {
        self.real().response_written()
    }
    async fn finish(&mut self) -> Result<()> {
        match self.inner.as_mut() {
            Some(real) => real.finish_body().await,
            None => Ok(()),
        }
    }
    async fn shutdown(&mut self, code: u32, _ctx: &str) {
        match code {
            UNWRAP => *lock(&self.shared.parked) = self.inner.take(),
            _ => self.real_mut().shutdown().await,
        }
    }
    async fn abandon(&mut self, _ctx: &str) {
        self.real_mut().shutdown().await;
    }

    fn set_read_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_read_timeout(timeout)
    }
    fn get_read_timeout(&self) -> Option<Duration> {
        self.real().get_read_timeout()
    }
    fn set_write_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_write_timeout(timeout)
    }
    fn get_write_timeout(&self) -> Option<Duration> {
        self.real().get_write_timeout()
    }
    fn set_total_drain_timeout(&mut self, timeout: Option<Duration>) {
        self.real_mut().set_total_drain_timeout(timeout)
    }
    fn get_total_drain_timeout(&self) -> Option<Duration> {
        self.real().get_total_drain_timeout()
    }
    fn request_summary(&self) -> String {
        self.real().request_summary()
    }
    fn body_bytes_sent(&self) -> usize {
        self.real().body_bytes_sent()
    }
    fn body_bytes_read(&self) -> usize {
        self.real().body_bytes_read()
    }
    fn digest(&self) -> Option<&Digest> {
        self.real().digest()
    }
    fn digest_mut(&mut self) -> Option<&mut Digest> {
        self.real_mut().digest_mut()
    }
    fn client_addr(&self) -> Option<&SocketAddr> {
        self.real().client_addr()
    }
    fn server_addr(&self) -> Option<&SocketAddr> {
        self.real().server_addr()
    }
    fn pseudo_raw_h1_request_header(&self) -> Bytes {
        self.real().to_h1_raw()
    }

    // Custom messages do not exist between these peers.
    async fn finish_custom(&mut self) -> Result<()> {
        Ok(())
    }
    fn take_custom_message_reader(&mut self) -> Option<Box<dyn futures::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>> {
        None
    }
    fn restore_custom_message_reader(
        &mut self,
        _reader: Box<dyn futures::Stream<Item = Result<Bytes>> + Unpin + Send + Sync>,
    ) -> Result<()> {
        Ok(())
    }
    fn take_custom_message_writer(&mut self) -> Option<Box<dyn CustomMessageWrite>> {
        None
    }
    fn restore_custom_message_writer(&mut self, _writer: Box<dyn CustomMessageWrite>) -> Result<()> {
        Ok(())
    }
}

/// A poisoned lock holds nothing half-done here: each critical section is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
