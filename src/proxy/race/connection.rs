//! The two odd connections of a race: one that is given up while it is being made, and one that is handed over with its answer
//! under way.

use super::{Stage, overtaken};
use crate::proxy::replay::OVERTAKEN;
use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora_core::connectors::L4Connect;
use pingora_core::protocols::Stream;
use pingora_core::protocols::l4::socket::SocketAddr;
use pingora_core::protocols::l4::stream::Stream as L4Stream;
use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket, VirtualSocketStream};
use pingora_core::{Error, ErrorType, Result};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::AbortHandle;

/// Connects over TCP as Pingora would, but gives up with an error of type [`OVERTAKEN`] as soon as a rival's answer has begun:
/// Pingora's own way waits out the connect timeout, whatever happens meanwhile. A connection made so is pooled like any other.
#[derive(Debug)]
pub struct Interruptible {
    stage: watch::Receiver<Stage>,
    limit: Duration,
    guard: Guard,
}

/// Cuts a TLS handshake off, for which Pingora has no hook, by shutting its socket down; until told that the connection stands.
#[derive(Debug, Clone, Default)]
pub struct Guard(Arc<Mutex<Option<AbortHandle>>>);

impl Interruptible {
    /// Gives up when `stage` says that the race is won, or after the `limit`, which Pingora does not watch over here.
    pub fn new(stage: watch::Receiver<Stage>, limit: Duration, guard: Guard) -> Self {
        Self { stage, limit, guard }
    }
}

impl Guard {
    fn watch(&self, stream: &TcpStream, mut stage: watch::Receiver<Stage>) {
        let Ok(twin) = stream.as_fd().try_clone_to_owned() else { return };
        let watching = tokio::spawn(async move {
            overtaken(&mut stage).await;
            // Nobody is left to tell: who reads from it learns that it is over.
            let _ = std::net::TcpStream::from(twin).shutdown(Shutdown::Both);
        });
        self.replace(Some(watching.abort_handle()));
    }

    /// The connection stands, or is of no interest any more.
    pub fn stand_down(&self) {
        self.replace(None);
    }

    fn replace(&self, watching: Option<AbortHandle>) {
        let before = std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), watching);
        before.inspect(AbortHandle::abort);
    }
}

#[async_trait]
impl L4Connect for Interruptible {
    async fn connect(&self, address: &SocketAddr) -> Result<L4Stream> {
        let Some(address) = address.as_inet() else { return Error::e_explain(ErrorType::InternalError, "no IP address") };
        let (stage, mut meanwhile) = (self.stage.clone(), self.stage.clone());
        tokio::select! {
            biased;
            connected = pingora::time::timeout(self.limit, TcpStream::connect(address)) => match connected {
                Ok(Ok(stream)) => {
                    self.guard.watch(&stream, stage);
                    Ok(stream.into())
                }
                Ok(Err(error)) => Error::e_because(ErrorType::ConnectError, "no connection", error),
                Err(_) => Error::e_explain(ErrorType::ConnectTimedout, "no connection in time"),
            },
            () = overtaken(&mut meanwhile) => Error::e_explain(OVERTAKEN, "another target's answer has begun"),
        }
    }
}

/// A connection whose request is written and whose answer has begun.
#[derive(Debug)]
pub struct Connection {
    unread: Bytes,
    stream: Stream,
}

impl Connection {
    /// `unread` was read from `stream` and comes first.
    pub fn new(unread: Bytes, stream: Stream) -> Self {
        Self { unread, stream }
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unread.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, buf);
        }
        let length = self.unread.len().min(buf.remaining());
        buf.put_slice(&self.unread[..length]);
        self.unread.advance(length);
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
