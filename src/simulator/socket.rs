//! A TCP connection that can end in a reset, the one way of failing an HTTP library cannot play by itself.

use pingora_core::protocols::l4::virt::{VirtualSockOpt, VirtualSocket};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;

/// The connection under Pingora's HTTP. Writes are gathered until they are flushed, so that a chunk is one segment.
#[derive(Debug)]
pub struct Socket {
    stream: BufWriter<TcpStream>,
    reset: ResetSwitch,
}

/// Makes the connection end with a reset instead of an orderly close.
#[derive(Debug, Clone, Default)]
pub struct ResetSwitch(Arc<AtomicBool>);

impl ResetSwitch {
    /// From now on, dropping the connection resets it.
    pub fn throw(&self) {
        self.0.store(true, Ordering::Release);
    }
}

impl Socket {
    /// Takes over an accepted connection.
    pub fn new(stream: TcpStream, reset: ResetSwitch) -> Self {
        Self { stream: BufWriter::with_capacity(WRITE_BUFFER, stream), reset }
    }
}

const WRITE_BUFFER: usize = 16 * 1024;

impl Drop for Socket {
    fn drop(&mut self) {
        if self.reset.0.load(Ordering::Acquire)
            && let Err(error) = self.stream.get_ref().set_zero_linger()
        {
            log::debug!("the connection will close in order instead of being reset: {error}");
        }
    }
}

impl VirtualSocket for Socket {
    fn set_socket_option(&self, option: VirtualSockOpt) -> io::Result<()> {
        match option {
            VirtualSockOpt::NoDelay => self.stream.get_ref().set_nodelay(true),
            _ => Ok(()),
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
