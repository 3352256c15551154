//! The scripted origin: a provider that does, byte for byte, what a test tells it to, and remembers what it was sent.
//!
//! ```ignore
//! let origin = Origin::start().await
//!     .replies(429).with_header("retry-after", "1")
//!     .then().streams_text(&["Hel", "lo"]).gated()
//!     .then().chat("Hello");
//! ```
//!
//! Each request takes the next step of the script; the last step repeats. Nothing here sleeps to synchronise: a gated stream
//! sends an event when the test says [`Origin::next_event`], and every `wait_for_...` ends with the event it is named after, or
//! panics after ten seconds.

mod http1;
mod http2;
mod script;
#[cfg(test)]
mod tests;
mod tls;

use script::Step;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_rustls::rustls::HandshakeKind;

/// A loopback address on which nobody listens: a connection to it is refused. Below the range the kernel hands ports out of, so
/// that it stays vacant until it is asked for.
pub fn vacant() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], super::gateway::free_port()))
}

/// A running origin. Dropping it closes its port and its connections.
pub struct Origin {
    address: SocketAddr,
    shared: Arc<Shared>,
    released: tokio::sync::Mutex<mpsc::UnboundedReceiver<()>>,
    closes: tokio::sync::Mutex<mpsc::UnboundedReceiver<Closed>>,
    authority: Option<String>,
    acceptor: JoinHandle<()>,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    /// With the query.
    pub path: String,
    /// In order; names in lower case over HTTP/2, as sent over HTTP/1.1.
    pub headers: Vec<(String, String)>,
    /// Without its framing. Empty where the script did not read it.
    pub body: Vec<u8>,
    /// Number of its connection, from zero.
    pub connection: usize,
    pub http2: bool,
}

/// A connection (over HTTP/2 a stream) that the other side closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Number of the connection, from zero.
    pub connection: usize,
    /// Events of the answer written before, where one was under way.
    pub abandoned_after: Option<usize>,
}

impl Request {
    /// The value of a header, whatever the case of its name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether its body asks for a stream.
    fn asks_for_a_stream(&self) -> bool {
        serde_json::from_slice::<serde_json::Value>(&self.body).is_ok_and(|body| body["stream"] == true)
    }

    /// A health probe: answered beside the script, and not remembered.
    fn is_probe(&self) -> bool {
        self.method == "GET" && self.path.ends_with("/models")
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body of a request is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("the body of a request is JSON")
    }
}

impl Origin {
    /// An origin on a free port, with an empty script: until it is given a step it answers 500 and says so.
    pub async fn start() -> Origin {
        Origin::serve(None).await
    }

    /// The same behind TLS, with a certificate for `localhost` by an authority of its own ([`Origin::authority`]); HTTP/2 or
    /// HTTP/1.1 by ALPN.
    pub async fn start_tls() -> Origin {
        Origin::serve(Some(tls::Identity::new(&[b"h2", b"http/1.1"]))).await
    }

    /// Behind TLS, HTTP/1.1 only.
    pub async fn start_tls_http1() -> Origin {
        Origin::serve(Some(tls::Identity::new(&[b"http/1.1"]))).await
    }

    /// An origin where there was none: on an address that [`vacant`] gave.
    pub async fn start_at(address: SocketAddr) -> Origin {
        Origin::on(TcpListener::bind(address).await.expect("a vacant address"), None)
    }

    async fn serve(identity: Option<tls::Identity>) -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").await.expect("a free port"), identity)
    }

    fn on(listener: TcpListener, identity: Option<tls::Identity>) -> Origin {
        let address = listener.local_addr().expect("an address");
        let (release, released) = mpsc::unbounded_channel();
        let (close, closes) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            log: Mutex::default(),
            gate: Semaphore::new(0),
            release,
            close,
            seen: watch::channel(0).0,
            probed: watch::channel(0).0,
        });
        let authority = identity.as_ref().map(|identity| identity.authority.clone());
        let acceptor = tokio::spawn(accept(listener, identity, shared.clone()));
        Origin {
            address,
            shared,
            released: tokio::sync::Mutex::new(released),
            closes: tokio::sync::Mutex::new(closes),
            authority,
            acceptor,
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its base URL, such as `http://127.0.0.1:4711/v1`; by name behind TLS, for the certificate's sake.
    pub fn url(&self) -> String {
        match self.authority {
            None => format!("http://{}/v1", self.address),
            Some(_) => format!("https://localhost:{}/v1", self.address.port()),
        }
    }

    /// The certificate, in PEM, of the authority a client must trust; only behind TLS.
    pub fn authority(&self) -> &str {
        self.authority.as_deref().expect("an origin started with TLS")
    }

    /// From now on its probe is answered with a list of these models (HTTP/1.1). Until then the answer is no list.
    pub fn lists(&self, ids: &[&str]) {
        let data: Vec<_> = ids.iter().map(|id| serde_json::json!({"id": id, "object": "model"})).collect();
        self.shared.log().models = serde_json::json!({"object": "list", "data": data}).to_string();
    }

    /// Every request so far, in the order in which they were read whole.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().requests.clone()
    }

    /// The only request; panics if there were none or more.
    pub fn only_request(&self) -> Request {
        let mut requests = self.requests();
        assert_eq!(requests.len(), 1, "the origin should have seen one request: {requests:#?}");
        requests.remove(0)
    }

    /// Connections over which requests came.
    pub fn connections(&self) -> usize {
        let requests = self.requests();
        requests.iter().map(|request| request.connection).collect::<BTreeSet<_>>().len()
    }

    /// How the TLS handshake of each connection over which a request came went, in the order of the connections.
    pub fn handshakes(&self) -> Vec<HandshakeKind> {
        let used: BTreeSet<usize> = self.requests().iter().map(|request| request.connection).collect();
        let log = self.shared.log();
        used.iter().filter_map(|number| log.handshakes.get(number).copied()).collect()
    }

    /// Waits for so many probes more (HTTP/1.1).
    pub async fn wait_for_probes(&self, count: usize) {
        let mut probed = self.shared.probed.subscribe();
        let enough = *probed.borrow() + count;
        let _ = soon("probes", probed.wait_for(|probed| *probed >= enough)).await.expect("the origin runs");
    }

    /// Opens the gate of a gated stream for one event, and returns when that event was written.
    pub async fn next_event(&self) {
        self.shared.gate.add_permits(1);
        let mut released = self.released.lock().await;
        soon("a gated event to be written", released.recv()).await;
    }

    /// Waits until so many requests have arrived in all.
    pub async fn wait_for_requests(&self, count: usize) {
        let mut seen = self.shared.seen.subscribe();
        let _ = soon("requests to arrive", seen.wait_for(|seen| *seen >= count)).await.expect("the origin runs");
    }

    /// Waits until the other side closes a connection that no earlier call reported.
    pub async fn wait_for_close(&self) -> Closed {
        let mut closes = self.closes.lock().await;
        soon("the other side to close", closes.recv()).await.expect("the origin runs")
    }

    /// Waits until the other side gives up an answer under way, and returns how many of its events had been written.
    pub async fn wait_for_abandonment(&self) -> usize {
        loop {
            if let Some(events) = self.wait_for_close().await.abandoned_after {
                return events;
            }
        }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// What the connections share with the test.
struct Shared {
    /// Never held across an await.
    log: Mutex<Log>,
    /// One permit for each event of a gated stream that may leave.
    gate: Semaphore,
    release: mpsc::UnboundedSender<()>,
    close: mpsc::UnboundedSender<Closed>,
    /// How many requests arrived.
    seen: watch::Sender<usize>,
    /// How many probes were answered.
    probed: watch::Sender<usize>,
}

struct Log {
    script: Vec<Step>,
    /// The body of the answer to a probe.
    models: String,
    taken: usize,
    requests: Vec<Request>,
    connections: usize,
    /// Of each TLS connection, by its number.
    handshakes: BTreeMap<usize, HandshakeKind>,
}

impl Default for Log {
    fn default() -> Self {
        let models = "{}".to_owned();
        Self { script: Vec::new(), models, taken: 0, requests: Vec::new(), connections: 0, handshakes: BTreeMap::new() }
    }
}

impl Shared {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no thread panicked with the log")
    }

    /// The step for the next request.
    fn next_step(&self) -> Step {
        let mut log = self.log();
        let step = log.script.get(log.taken).or(log.script.last()).cloned().unwrap_or_else(Step::unscripted);
        log.taken += 1;
        step
    }

    fn record(&self, request: Request) {
        self.log().requests.push(request);
        self.seen.send_modify(|seen| *seen += 1);
    }

    fn record_close(&self, connection: usize, abandoned_after: Option<usize>) {
        let _ = self.close.send(Closed { connection, abandoned_after });
    }

    /// Waits for the gate to open for one event.
    async fn pass_gate(&self) {
        self.gate.acquire().await.expect("the gate is never closed").forget();
    }

    fn released(&self) {
        let _ = self.release.send(());
    }
}

async fn accept(listener: TcpListener, identity: Option<tls::Identity>, shared: Arc<Shared>) {
    // Dropped with this task, and with it every connection.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        stream.set_nodelay(true).expect("TCP_NODELAY");
        let number = {
            let mut log = shared.log();
            log.connections += 1;
            log.connections - 1
        };
        connections.spawn(converse(stream, identity.as_ref().map(|identity| identity.acceptor.clone()), number, shared.clone()));
    }
}

async fn converse(stream: TcpStream, acceptor: Option<tokio_rustls::TlsAcceptor>, number: usize, shared: Arc<Shared>) {
    let Some(acceptor) = acceptor else { return http1::converse(stream, number, &shared).await };
    // A client that does not trust us is a thing to test: it is no failure of the origin.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let handshake = stream.get_ref().1.handshake_kind().expect("a handshake that has ended");
    shared.log().handshakes.insert(number, handshake);
    if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
        http2::converse(stream, number, shared).await;
    } else {
        http1::converse(stream, number, &shared).await;
    }
}

/// The outcome of what should happen soon.
async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(10), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited ten seconds for {what}"),
    }
}
