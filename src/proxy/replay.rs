//! The caller's session with its body already read: replayed in full to every target, its answer's head held until the body begins.
//!
//! pingora-proxy 0.9.1 forwards a body that a filter has read only from a retry buffer of at most 64 KiB, and loses the rest
//! without an error. `ServerSession::Custom` is a trait object, so [`Replay`] wraps the real session in one: to the proxy loop it
//! looks like a client that has just begun to send its body. Three things follow from sitting there:
//!
//! * every attempt gets the whole body, of any size, without copying ([`Handle::set_body`]);
//! * phase deadlines (first byte, idle gap) that Pingora does not have ([`Handle::deadline_in`]), and races ([`Handle::race`]);
//! * the head of an answer leaves with its first body byte, so a target that dies in between can still be replaced, and an answer
//!   judged whole can still become a refusal ([`Handle::replace_head`]); a stream that another target goes on with has one head.
//!
//! Who owns the locks: the mutexes are touched only by the task of this one exchange, never across an await.

mod session;

use super::race::Stage;
use bytes::Bytes;
use pingora_core::ErrorType;
use pingora_core::protocols::http::ServerSession;
use pingora_http::ResponseHeader;
use pingora_proxy::Session;
use session::Replay;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The error of a phase that outlasted its deadline.
pub const DEADLINE: ErrorType = ErrorType::Custom("phase_deadline");

/// The error of an answer we end ourselves.
pub const STOPPED: ErrorType = ErrorType::Custom("answer_stopped");

/// The error of an attempt that another one overtook.
pub const OVERTAKEN: ErrorType = ErrorType::Custom("overtaken");

/// The error of an answer that broke off and that another target goes on with.
pub const INTERRUPTED: ErrorType = ErrorType::Custom("answer_interrupted");

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
    /// What is about to be written is the last of the answer, and the upstream is given up.
    stopping: AtomicBool,
    /// What is about to be written is the last of the upstream, and the answer goes on with another one.
    interrupted: AtomicBool,
    /// An attempt beside the current one.
    race: Mutex<Option<watch::Receiver<Stage>>>,
    /// Whether there is one: looked at on every turn of the proxy loop.
    racing: AtomicBool,
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
            stopping: AtomicBool::new(false),
            interrupted: AtomicBool::new(false),
            race: Mutex::default(),
            racing: AtomicBool::new(false),
        }));
        let placeholder = Box::new(ServerSession::new_custom(Box::new(())));
        let inner = std::mem::replace(&mut session.downstream_session, placeholder);
        let wrapped = Replay::new(inner, handle.0.clone());
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

    /// The caller has the whole answer with what is written next: the answer ends there for it, its leaving is not an error, and
    /// the upstream is read to its end so that its connection stays warm (Python SDKs close right after `[DONE]`).
    pub fn answered(&self) {
        self.0.answered.store(true, Ordering::Relaxed);
    }

    /// What is written next ends the answer, and then the upstream is given up by an error of type [`STOPPED`]. A filter that
    /// returned an error instead would lose the pieces that wait to be written with its own.
    pub fn stop(&self) {
        self.0.stopping.store(true, Ordering::Relaxed);
    }

    /// What is written next is the last of this upstream, which is given up by an error of type [`INTERRUPTED`]; the answer stays
    /// open for another one.
    pub fn interrupt(&self) {
        self.0.interrupted.store(true, Ordering::Relaxed);
    }

    /// An attempt runs beside the current one: when it has its first byte, the current one ends with an error of type
    /// [`OVERTAKEN`], unless it has its own by then.
    pub fn race(&self, stage: Option<watch::Receiver<Stage>>) {
        self.0.racing.store(stage.is_some(), Ordering::Relaxed);
        *lock(&self.0.race) = stage;
    }

    /// Whether the rest of what came with the current piece is nobody's any more.
    pub fn is_cut(&self) -> bool {
        self.is_stopping() || self.0.interrupted.load(Ordering::Relaxed)
    }

    /// Whether [`Handle::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.0.stopping.load(Ordering::Relaxed)
    }

    /// Whether [`Handle::answered`] was called.
    pub fn is_answered(&self) -> bool {
        self.0.answered.load(Ordering::Relaxed)
    }
}

/// Closes a connection right behind an answer that ended early, before its caller thinks of using it again: Pingora keeps none
/// after an error, and the head that said so has left. An HTTP/2 connection outlives its streams.
pub async fn close(real: &mut ServerSession) {
    if let ServerSession::H1(http1) = real {
        http1.shutdown().await;
    }
}

/// A poisoned lock holds nothing half-done here: each critical section is one assignment.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
