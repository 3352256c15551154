//! One HTTP/1.1 connection of the origin, byte by byte: no library decides what is written.

use super::script::{Act, End, Pace, Step};
use super::{Request, Shared};
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// A connection that can be told to end in a reset.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send {
    /// From now on, dropping the connection resets it.
    fn reset_on_drop(&self);
}

impl Transport for TcpStream {
    fn reset_on_drop(&self) {
        self.set_zero_linger().expect("SO_LINGER");
    }
}

impl Transport for TlsStream<TcpStream> {
    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

/// Serves requests until either side closes.
pub async fn converse<T: Transport>(stream: T, number: usize, shared: &Shared) {
    let mut wire = Wire { stream, unread: Vec::new(), number, written: 0 };
    loop {
        match wire.exchange(shared).await {
            Ok(Next::Request) => {}
            Ok(Next::Close) => {
                let _ = wire.stream.shutdown().await;
                return;
            }
            Ok(Next::Reset) => return wire.stream.reset_on_drop(),
            Ok(Next::Idle) => return shared.record_close(number, None),
            Err(_) => return shared.record_close(number, Some(wire.written)),
        }
    }
}

/// What comes after an exchange.
enum Next {
    Request,
    Close,
    Reset,
    /// The other side closed between two requests.
    Idle,
}

struct Wire<T> {
    stream: T,
    /// Read from the connection and not yet from here.
    unread: Vec<u8>,
    number: usize,
    /// Events of the answer under way.
    written: usize,
}

impl<T: Transport> Wire<T> {
    /// One request and its answer. An error is the other side's going away in the middle.
    async fn exchange(&mut self, shared: &Shared) -> io::Result<Next> {
        self.written = 0;
        let Some(head) = self.read_head().await else { return Ok(Next::Idle) };
        let mut request = parse_head(&head, self.number);
        if request.is_probe() {
            let models = shared.log().models.clone();
            let head = format!("HTTP/1.1 200 Scripted\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", models.len());
            self.write(&[head.as_bytes(), models.as_bytes()].concat()).await?;
            shared.probed.send_modify(|probed| *probed += 1);
            return Ok(Next::Close);
        }
        let step = shared.next_step();
        if !step.before_body {
            if request.header("expect").is_some_and(|value| value.eq_ignore_ascii_case("100-continue")) {
                self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            }
            request.body = self.read_body(&request).await?;
        }
        let act = step.act_for(&request);
        shared.record(request);
        if step.held {
            self.wait_for_turn(Pace::Gate, shared).await?;
            shared.released();
        }
        let next = self.answer(act, &step, shared).await?;
        if step.before_body && !step.closes && matches!(next, Next::Request) {
            // Neither reading nor closing is the point: the connection stays until the origin is dropped.
            std::future::pending::<()>().await;
        }
        Ok(if step.closes && matches!(next, Next::Request) { Next::Close } else { next })
    }

    async fn answer(&mut self, act: &Act, step: &Step, shared: &Shared) -> io::Result<Next> {
        match act {
            Act::Hang => self.until_gone().await,
            Act::Close => Ok(Next::Close),
            Act::Reset => Ok(Next::Reset),
            Act::HalfClose => {
                self.stream.shutdown().await?;
                self.until_gone().await
            }
            Act::Endless { head, filler, gap } => {
                self.write(head).await?;
                loop {
                    self.write(filler).await?;
                    self.wait_for_turn(Pace::Gap(*gap), shared).await?;
                    tokio::task::yield_now().await;
                }
            }
            Act::Raw { bytes, per_write } => {
                for part in bytes.chunks(*per_write) {
                    self.write(part).await?;
                    tokio::task::yield_now().await;
                }
                Ok(Next::Close)
            }
            Act::Whole(body) => {
                let mut bytes = head(step, "application/json", &format!("content-length: {}", body.len()));
                bytes.extend_from_slice(body);
                self.write(&bytes).await?;
                Ok(Next::Request)
            }
            Act::Stream { events, pace, end } => {
                self.write(&head(step, "text/event-stream", "transfer-encoding: chunked")).await?;
                for event in events {
                    self.wait_for_turn(*pace, shared).await?;
                    let mut chunk = format!("{:x}\r\n", event.len()).into_bytes();
                    chunk.extend_from_slice(event);
                    chunk.extend_from_slice(b"\r\n");
                    self.write(&chunk).await?;
                    self.written += 1;
                    if *pace == Pace::Gate {
                        shared.released();
                    }
                }
                match end {
                    End::Clean => self.write(b"0\r\n\r\n").await.map(|()| Next::Request),
                    End::Reset => Ok(Next::Reset),
                    End::Truncated => Ok(Next::Close),
                    End::Silence => self.until_gone().await,
                }
            }
        }
    }

    async fn wait_for_turn(&mut self, pace: Pace, shared: &Shared) -> io::Result<()> {
        let turn = async {
            match pace {
                Pace::Gate => shared.pass_gate().await,
                Pace::Gap(gap) if gap.is_zero() => {}
                Pace::Gap(gap) => tokio::time::sleep(gap).await,
            }
        };
        tokio::select! {
            biased;
            () = turn => Ok(()),
            gone = watch(&mut self.stream, &mut self.unread) => Err(gone),
        }
    }

    /// Waits until the other side goes away, which is an error like any other going away.
    async fn until_gone(&mut self) -> io::Result<Next> {
        Err(watch(&mut self.stream, &mut self.unread).await)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// The head of the next request, with its empty line; none if the other side closes first.
    async fn read_head(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(end) = self.unread.windows(4).position(|four| four == b"\r\n\r\n") {
                return Some(self.unread.drain(..end + 4).collect());
            }
            self.fill().await.ok()?;
        }
    }

    async fn read_body(&mut self, request: &Request) -> io::Result<Vec<u8>> {
        if request.header("transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
            let mut body = Vec::new();
            loop {
                let line = self.read_line().await?;
                let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16).expect("the size of a chunk");
                body.extend(self.take(size).await?);
                self.read_line().await?;
                if size == 0 {
                    return Ok(body);
                }
            }
        }
        let length = request.header("content-length").map_or(0, |value| value.parse().expect("a Content-Length"));
        self.take(length).await
    }

    async fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = self.unread.windows(2).position(|two| two == b"\r\n") {
                let line: Vec<u8> = self.unread.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.fill().await?;
        }
    }

    async fn take(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < length {
            self.fill().await?;
        }
        Ok(self.unread.drain(..length).collect())
    }

    async fn fill(&mut self) -> io::Result<()> {
        match self.stream.read_buf(&mut self.unread).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// Reads on until the other side goes away; what it sends meanwhile is kept for the next request.
async fn watch(stream: &mut (impl AsyncRead + Unpin), unread: &mut Vec<u8>) -> io::Error {
    loop {
        match stream.read_buf(unread).await {
            Ok(0) => return io::ErrorKind::UnexpectedEof.into(),
            Ok(_) => {}
            Err(error) => return error,
        }
    }
}

fn head(step: &Step, media: &str, framing: &str) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {} Scripted\r\n{framing}\r\n", step.status);
    if !step.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
        head.push_str(&format!("content-type: {media}\r\n"));
    }
    for (name, value) in &step.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.into_bytes()
}

fn parse_head(head: &[u8], connection: usize) -> Request {
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let header = |line: &str| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()));
    Request { method, path, headers: lines.filter_map(header).collect(), body: Vec::new(), connection, http2: false }
}
