//! A real NATS server with JetStream, killed and started again on the same store.

use super::{Archive, Identity, Receiver, installed};
use crate::support::gateway::free_port;
use async_nats::jetstream::{self, stream::Config};
use kt::audit::Origin;
use kt::audit::sink::Bundle;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The server. Dropping it ends it.
pub struct Stream {
    port: u16,
    store: TempDir,
    /// Certificate and key.
    tls: Option<(PathBuf, PathBuf)>,
    server: Option<Child>,
}

impl Stream {
    /// A server that is not started yet, behind TLS if it has an identity. `None` when it is not installed.
    pub async fn start(identity: Option<&Identity>) -> Option<Stream> {
        let there = server().arg("--version").status().is_ok_and(|status| status.success());
        let store = TempDir::new().expect("a directory");
        let tls = identity.map(|identity| (identity.certificate(), identity.key()));
        installed("nats-server", there).then(|| Stream { port: free_port(), store, tls, server: None })
    }

    /// A stream of the configured name whose messages anybody may delete.
    pub async fn create_unsafe(&self) {
        let config = Config { name: "kt-audit".into(), subjects: vec!["kt.audit.>".into()], ..Config::default() };
        self.context().await.create_stream(config).await.expect("a stream");
    }

    async fn messages(&self) -> Vec<Bundle> {
        let stream = self.context().await.get_stream("kt-audit").await.expect("the stream");
        let mut bundles = Vec::new();
        for sequence in 1..=stream.cached_info().state.last_sequence {
            let message = stream.get_raw_message(sequence).await.expect("a message");
            let id = message.headers.get("Nats-Msg-Id").expect("an id").to_string();
            let (origin, name) = id.rsplit_once('/').expect("an id of ours");
            let (first, last) = Bundle::range(name).expect("a range");
            let origin = Origin::parse(origin).expect("the name of a log");
            let bundle = Bundle::parse(&origin, first, message.payload.to_vec()).expect("a bundle");
            assert_eq!((bundle.id(), bundle.end()), (id, last + 1));
            bundles.push(bundle);
        }
        bundles
    }

    async fn context(&self) -> jetstream::Context {
        let options = async_nats::ConnectOptions::new();
        let options = match &self.tls {
            None => options,
            Some((certificate, _)) => options.require_tls(true).add_root_certificates(certificate.clone()),
        };
        jetstream::new(options.connect(format!("localhost:{}", self.port)).await.expect("a connection"))
    }
}

impl Receiver for Stream {
    fn config(&self) -> String {
        let scheme = if self.tls.is_some() { "tls" } else { "nats" };
        format!("{{name: far, type: nats, url: '{scheme}://localhost:{}'}}", self.port)
    }

    async fn up(&mut self) {
        let mut server = server();
        server.args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-js", "-sd"]).arg(self.store.path());
        if let Some((certificate, key)) = &self.tls {
            server.arg("--tls").arg("--tlscert").arg(certificate).arg("--tlskey").arg(key);
        }
        self.server = Some(server.spawn().expect("nats-server"));
        let began = Instant::now();
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(20), "nats-server does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn down(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().and_then(|()| server.wait()).expect("it ends");
        }
    }

    async fn arrivals(&mut self) -> Vec<(u64, Vec<u8>)> {
        let entries = |bundle: &Bundle| (bundle.first..).zip(bundle.entries().map(<[u8]>::to_vec)).collect::<Vec<_>>();
        self.messages().await.iter().flat_map(entries).collect()
    }
}

impl Archive for Stream {
    async fn ranges(&self) -> Vec<(u64, u64)> {
        self.messages().await.iter().map(|bundle| (bundle.first, bundle.end() - 1)).collect()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(server) = &mut self.server {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}

/// The server that `.ci/run` puts under target/, else that of the machine.
fn server() -> Command {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sinks/usr/sbin/nats-server");
    let mut server = if ours.is_file() { Command::new(ours) } else { Command::new("nats-server") };
    server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    server
}
