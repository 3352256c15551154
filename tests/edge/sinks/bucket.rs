//! A real S3 server (moto) behind a gate, with one bucket.

use super::gate::Gate;
use super::{Archive, Identity, Receiver, installed};
use crate::support::gateway::free_port;
use kt::audit::Origin;
use kt::audit::sink::Bundle;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// moto checks who may, not who is: any well-formed signature will do.
const SIGNED: &str =
    "AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";

/// The server and the way to it. Dropping it ends it.
pub struct Bucket {
    server: Child,
    scheme: &'static str,
    url: String,
    gate: Gate,
    client: reqwest::Client,
}

impl Bucket {
    /// Starts the server, behind TLS if it has an identity; its gate is closed. `None` when it is not installed.
    pub async fn start(identity: Option<&Identity>) -> Option<Bucket> {
        let there = python().args(["-c", "import moto.server, flask"]).status().is_ok_and(|status| status.success());
        if !installed("moto (Python: moto[s3,server])", there) {
            return None;
        }
        let port = free_port();
        let mut server = python();
        server.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        if let Some(identity) = identity {
            server.arg("-c").arg(identity.certificate()).arg("-k").arg(identity.key());
        }
        let server = server.spawn().expect("moto");
        let scheme = if identity.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://localhost:{port}/records");
        let client = reqwest::Client::builder().no_proxy().danger_accept_invalid_certs(true).build().expect("a client");
        let bucket = Bucket { server, scheme, url, gate: Gate::before(port, free_port()), client };
        let began = Instant::now();
        while bucket.send(bucket.client.put(&bucket.url)).await.is_none() {
            assert!(began.elapsed() < Duration::from_secs(60), "moto does not answer");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(bucket)
    }

    /// The settings of a store, as YAML.
    pub fn store(&self) -> String {
        format!(
            "{{bucket: records, prefix: prod, endpoint: '{}://localhost:{}', \
             access_key_id_ref: {{env: STORE_KEY_ID}}, secret_key_ref: {{env: STORE_KEY}}}}",
            self.scheme,
            self.gate.port()
        )
    }

    /// Name behind the prefix, and content, of all objects.
    pub async fn objects(&self, prefix: &str) -> Vec<(String, Vec<u8>)> {
        let list = self.send(self.client.get(&self.url).query(&[("list-type", "2"), ("prefix", prefix)])).await.expect("a list");
        let list = String::from_utf8(list).expect("text");
        assert!(list.contains("<IsTruncated>false"), "{list}");
        let mut objects = Vec::new();
        for key in list.split("<Key>").skip(1).filter_map(|rest| rest.split_once("</Key>")) {
            let content = self.send(self.client.get(format!("{}/{}", self.url, key.0))).await.expect("an object");
            objects.push((key.0.trim_start_matches(prefix).to_owned(), content));
        }
        objects
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Option<Vec<u8>> {
        let answer = request.header("authorization", SIGNED).send().await.ok()?;
        assert!(answer.status().is_success(), "{answer:?}");
        Some(answer.bytes().await.ok()?.to_vec())
    }
}

impl Receiver for Bucket {
    fn config(&self) -> String {
        self.store().replacen('{', "{name: far, type: s3, flush_seconds: 1, ", 1)
    }

    async fn up(&mut self) {
        self.gate.open().await;
    }

    async fn down(&mut self) {
        self.gate.close().await;
    }

    async fn arrivals(&mut self) -> Vec<(u64, Vec<u8>)> {
        let origin = Origin::parse("kt/any").expect("a name");
        let mut entries = Vec::new();
        for ((first, last), (_, content)) in self.ranges().await.into_iter().zip(self.objects("prod/").await) {
            let content = zstd::bulk::decompress(&content, 16 << 20).expect("one frame");
            let bundle = Bundle::parse(&origin, first, content).expect("a bundle");
            assert_eq!(bundle.end(), last + 1);
            entries.extend((first..).zip(bundle.entries().map(<[u8]>::to_vec)));
        }
        entries
    }
}

impl Archive for Bucket {
    async fn ranges(&self) -> Vec<(u64, u64)> {
        let names = self.objects("prod/").await.into_iter();
        names.map(|(name, _)| Bundle::range(&name[name.len() - 52..name.len() - 11]).expect("a range")).collect()
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// Python, with what `.ci/run` installs.
fn python() -> Command {
    let mut python = Command::new("python3");
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/sinks");
    python.env("PYTHONPATH", modules).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    python
}
