//! The trait object Pingora drives: the wrapped session as a client that has just begun to send its body.

use super::{DEADLINE, INTERRUPTED, OVERTAKEN, STOPPED, Shared, UNWRAP, close, lock};
use crate::proxy::race::{self, Stage};
use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora_core::protocols::http::custom::{CustomMessageWrite, server::Session as CustomSession};
use pingora_core::protocols::http::{HttpTask, ServerSession};
use pingora_core::protocols::{Digest, l4::socket::SocketAddr};
use pingora_core::{Error, Result};
use pingora_http::{RequestHeader, ResponseHeader};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How much of the body one turn of the proxy loop hands out, in bytes.
const SLICE: usize = 128 * 1024;

type Timer = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// Drives the real session from within.
pub(super) struct Replay {
    inner: Option<Box<ServerSession>>,
    /// A head the proxy loop wrote and the caller has not seen yet.
    head: Option<Box<ResponseHeader>>,
    /// The caller was sent the end of its answer.
    ended: bool,
    /// A running timer and when it goes off. Deadlines mostly move away, piece by piece of an answer: rather than a new timer for
    /// each, the one that runs goes off early and is set anew.
    alarm: Option<(u64, Timer)>,
    /// An attempt beside the current one.
    rival: Option<watch::Receiver<Stage>>,
    shared: Arc<Shared>,
}

/// What the wait for the caller ended with.
enum Idle {
    Left(Result<Option<Bytes>>),
    Alarm,
    Overtaken,
}

impl Replay {
    /// Wraps a session.
    pub(super) fn new(inner: Box<ServerSession>, shared: Arc<Shared>) -> Self {
        Self { inner: Some(inner), head: None, ended: false, alarm: None, rival: None, shared }
    }

    /// `inner` leaves only in `shutdown(UNWRAP)`, after which the wrapper is dropped by [`Handle::restore`](super::Handle::restore).
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

    /// Waits for the caller to leave, or, once it has its answer, for nothing: its next request is not ours to read yet. Waits no
    /// longer than to the alarm, or until a rival has its first byte.
    async fn idle(&mut self) -> Idle {
        let Self { inner, alarm, rival, shared, ended, .. } = self;
        let real = inner.as_mut().expect("the wrapper is dropped when the session is restored");
        let leaving = async {
            if *ended {
                return std::future::pending().await;
            }
            let left = real.read_body_or_idle(true).await;
            if shared.answered.load(Ordering::Relaxed) { std::future::pending().await } else { left }
        };
        match (alarm, rival) {
            (None, None) => Idle::Left(leaving.await),
            (Some((_, bell)), None) => tokio::select! {
                biased;
                left = leaving => Idle::Left(left),
                () = bell => Idle::Alarm,
            },
            (alarm, Some(rival)) => tokio::select! {
                biased;
                left = leaving => Idle::Left(left),
                () = race::overtaken(rival) => Idle::Overtaken,
                () = async { match alarm { Some((_, bell)) => bell.await, None => std::future::pending().await } } => Idle::Alarm,
            },
        }
    }

    /// Takes note of a race that began or is over.
    fn look_aside(&mut self) {
        match (self.shared.racing.load(Ordering::Relaxed), &self.rival) {
            (true, None) => self.rival = lock(&self.shared.race).clone(),
            (false, Some(_)) => self.rival = None,
            _ => {}
        }
    }

    /// The time a slow caller took to read is not the upstream's.
    fn prolong(&self, took: Duration) {
        if self.shared.deadline.load(Ordering::Relaxed) != 0 {
            self.shared.deadline.fetch_add(took.as_millis() as u64, Ordering::Relaxed);
        }
    }

    /// What the caller's session is to be given: heads wait for the first body byte, interim answers are dropped, and so is the head
    /// of an answer that goes on with another one.
    fn hold_head(&mut self, tasks: Vec<HttpTask>) -> Vec<HttpTask> {
        let begun = self.response_written().is_some_and(|head| !head.status.is_informational());
        let mut out = Vec::with_capacity(tasks.len() + 1);
        for task in tasks {
            match task {
                HttpTask::Header(head, _) if head.status.is_informational() => {}
                HttpTask::Header(..) if begun => {}
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
                (Some(at), Some((rings, _))) if *rings <= at => {}
                (Some(at), _) => {
                    let left = Duration::from_millis(at).saturating_sub(self.shared.epoch.elapsed());
                    self.alarm = Some((at, Box::pin(pingora::time::sleep(left))));
                }
            }
            self.look_aside();
            match self.idle().await {
                Idle::Left(left) => return left,
                Idle::Overtaken => return Error::e_explain(OVERTAKEN, "another target has its first byte"),
                Idle::Alarm => {}
            }
            // It rang: a timer that went off must not be polled again, not even by the next attempt.
            self.alarm = None;
            let now = self.shared.epoch.elapsed();
            if self.deadline().is_some_and(|at| Duration::from_millis(at) <= now) {
                return Error::e_explain(DEADLINE, "the phase outlasted its deadline");
            }
        }
    }

    /// pingora-proxy calls this at the start of every attempt: the moment to rewind.
    fn enable_retry_buffering(&mut self) {
        lock(&self.shared.body).1 = 0;
        self.head = None;
        self.rival = None;
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
        if self.ended {
            return Ok(end);
        }
        let mut tasks = self.hold_head(tasks);
        if self.shared.interrupted.swap(false, Ordering::Relaxed) {
            stay_open(&mut tasks);
            self.real_mut().response_duplex_vec(tasks).await?;
            return Error::e_explain(INTERRUPTED, "another target goes on with the answer");
        }
        if tasks.is_empty() {
            return Ok(false);
        }
        let (answered, stopping) = (self.shared.answered.load(Ordering::Relaxed), self.shared.stopping.load(Ordering::Relaxed));
        if answered || stopping {
            end_with_last_piece(&mut tasks);
            self.ended = true;
        }
        let began = Instant::now();
        let written = self.real_mut().response_duplex_vec(tasks).await;
        self.prolong(began.elapsed());
        match written {
            _ if answered => Ok(end),
            Ok(_) if stopping => {
                close(self.real_mut()).await;
                Error::e_explain(STOPPED, "the answer was stopped")
            }
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

/// What is written does not end the answer.
fn stay_open(tasks: &mut Vec<HttpTask>) {
    tasks.retain_mut(|task| match task {
        HttpTask::Body(data, end) => {
            *end = false;
            data.as_ref().is_some_and(|data| !data.is_empty())
        }
        _ => false,
    });
}

/// Ends the answer with the last piece of its body and drops what would follow.
fn end_with_last_piece(tasks: &mut Vec<HttpTask>) {
    let last = tasks.iter().rposition(|task| matches!(task, HttpTask::Body(Some(data), _) if !data.is_empty()));
    let Some(last) = last else { return };
    tasks.truncate(last + 1);
    if let Some(HttpTask::Body(_, end)) = tasks.last_mut() {
        *end = true;
    }
}
