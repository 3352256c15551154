//! A `kt gateway run` process on free ports, with its own config and audit log in a temporary directory.

use super::Origin;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

/// How long anything may take before a test gives up on it.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where [`Run::with_certificate`] puts the certificate, in the gateway's directory.
const CERTIFICATE: &str = "gateway.pem";

/// A gateway about to run.
pub struct Run {
    config: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    scheme: &'static str,
    /// Authorities its targets are trusted by, in PEM; empty: those of the system.
    authorities: String,
    /// A certificate and its key, in PEM, made for it.
    identity: Option<(String, String)>,
}

/// A running gateway. Dropping it kills it.
pub struct Gateway {
    /// Such as `http://127.0.0.1:4711`, without `/v1`.
    pub url: String,
    /// Admin listener, likewise.
    pub admin: String,
    /// For requests that need nothing special; each on a connection of its own.
    pub client: reqwest::Client,
    dir: TempDir,
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Run {
    /// With this config, as written.
    pub fn config(yaml: impl Into<String>) -> Self {
        Self {
            config: yaml.into(),
            args: Vec::new(),
            env: Vec::new(),
            scheme: "http",
            authorities: String::new(),
            identity: None,
        }
    }

    /// With this chain (as YAML, without brackets) in front of these base URLs; each target is `t0`, `t1`, ... with model `m0`,
    /// `m1`, ... and key `key-0`, `key-1`, ...
    pub fn chain(chain: &str, urls: &[String]) -> Self {
        let mut targets = String::new();
        let mut run = Self::config("");
        for (n, url) in urls.iter().enumerate() {
            targets += &format!(
                "    - id: t{n}\n      provider: upstream:chat:m{n}\n      base_url: {url}\n      secret_key_ref: {{env: KT_TEST_KEY_{n}}}\n      \
                 timeout_seconds: 2\n      stream_timeout_seconds: 2\n      health_probe: {{interval_seconds: 3600}}\n"
            );
            run = run.env(&format!("KT_TEST_KEY_{n}"), &format!("key-{n}"));
        }
        run.config = format!(
            "pack: {{name: test, version: 1.0.0, enabled: true}}\npolicies:\n  chain: [{chain}]\nproviders:\n  targets:\n{targets}  \
             retry_policy: {{max_retries: 0}}\n"
        );
        run
    }

    /// Asks a target that failed again, so often; by itself a run of [`Run::chain`] moves on at once.
    pub fn retries(mut self, times: u32) -> Self {
        self.config = self.config.replace("max_retries: 0", &format!("max_retries: {times}"));
        self
    }

    /// Gives the targets of [`Run::chain`] so many seconds, to their first byte and between two, instead of 2: where a test holds an
    /// answer back.
    pub fn timeouts(mut self, seconds: u32) -> Self {
        self.config = self.config.replace("timeout_seconds: 2\n", &format!("timeout_seconds: {seconds}\n"));
        self
    }

    /// Probes the targets of [`Run::chain`] every second; by itself once.
    pub fn probes(mut self) -> Self {
        self.config = self.config.replace("interval_seconds: 3600", "interval_seconds: 1");
        self
    }

    /// Another key of a target of [`Run::chain`].
    pub fn of_target(mut self, n: usize, key: &str) -> Self {
        let id = format!("    - id: t{n}\n");
        self.config = self.config.replace(&id, &format!("{id}      {key}\n"));
        self
    }

    /// More YAML at the end of the config.
    pub fn with(mut self, yaml: &str) -> Self {
        self.config += yaml;
        self
    }

    /// Another command-line argument.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.into());
        self
    }

    /// An environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// Behind TLS: `https` in the URL. The certificate comes by arguments.
    pub fn https(mut self) -> Self {
        self.scheme = "https";
        self
    }

    /// Behind TLS with a certificate of its own: [`Gateway::certificate`].
    pub fn with_certificate(mut self) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        self.identity = Some((made.cert.pem(), made.signing_key.serialize_pem()));
        self.arg("--tls-cert").arg(CERTIFICATE).arg("--tls-key").arg("gateway-key.pem").https()
    }

    /// Trusts the authority of this origin; of several when called for each.
    pub fn trusts(mut self, origin: &Origin) -> Self {
        self.authorities += origin.authority();
        self
    }

    /// Starts it and waits until it answers.
    pub async fn start(mut self) -> Gateway {
        if !self.config.contains("\npolicy:") {
            // Many gateways share this machine's disk: a sync may take longer than an operator would want to wait.
            // And tests look at the log all the time.
            self.config += "policy: {audit-logger: {max_wait_ms: 15000, log_all_access: false}}\n";
        }
        let dir = TempDir::new().expect("a temporary directory");
        std::fs::write(dir.path().join("policy-config.yaml"), &self.config).expect("the config");
        self.start_in(dir).await
    }

    /// `kt doctor` on its config: the exit code and the report.
    pub async fn doctor(self) -> (i32, Value) {
        let dir = TempDir::new().expect("a temporary directory");
        std::fs::write(dir.path().join("policy-config.yaml"), &self.config).expect("the config");
        let mut doctor = Command::new(env!("CARGO_BIN_EXE_kt"));
        doctor.args(["doctor", "--json"]).envs(self.env).env_remove("STATE_DIRECTORY").current_dir(dir.path());
        // The origins it asks live in this very thread.
        let output = tokio::task::spawn_blocking(move || doctor.output().expect("kt runs")).await.expect("it ends");
        (output.status.code().expect("an exit code"), serde_json::from_slice(&output.stdout).expect("a report"))
    }

    /// Starts it in a directory that holds its config, and perhaps an audit log.
    pub async fn start_in(self, dir: TempDir) -> Gateway {
        let (port, admin) = (free_port(), free_port());
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file of the test");
            path
        };
        if let Some((certificate, key)) = &self.identity {
            file(CERTIFICATE, certificate);
            file("gateway-key.pem", key);
        }
        let trusted = (!self.authorities.is_empty()).then(|| ("SSL_CERT_FILE", file("authorities.pem", &self.authorities)));
        let mut child = Command::new(env!("CARGO_BIN_EXE_kt"))
            .args(["gateway", "run", "--policy-config", "policy-config.yaml", "--audit-dir", "audit"])
            .args(["--listen", &format!("127.0.0.1:{port}"), "--admin-listen", &format!("127.0.0.1:{admin}")])
            .args(&self.args)
            .envs(self.env.iter().cloned())
            .envs(trusted)
            .env_remove("STATE_DIRECTORY")
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kt starts");
        let log = Arc::new(Mutex::new(String::new()));
        let stderr = child.stderr.take().expect("stderr is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        for stream in [Box::new(stderr) as Box<dyn Read + Send>, Box::new(stdout)] {
            let sink = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut log = sink.lock().expect("the log");
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        let client = reqwest::Client::builder()
            .no_proxy()
            .pool_max_idle_per_host(0)
            .danger_accept_invalid_certs(true)
            .build()
            .expect("a client");
        let url = format!("{}://127.0.0.1:{port}", self.scheme);
        let mut gateway = Gateway { url, admin: format!("http://127.0.0.1:{admin}"), client, dir, child, log };
        gateway.wait_until_it_answers().await;
        gateway
    }
}

impl Gateway {
    /// A chat request with one user message.
    pub fn chat(&self, text: &str) -> reqwest::RequestBuilder {
        self.post(&json!({"model": "m0", "messages": [{"role": "user", "content": text}]}))
    }

    /// The same, streamed.
    pub fn chat_stream(&self, text: &str) -> reqwest::RequestBuilder {
        self.post(&json!({"model": "m0", "stream": true, "messages": [{"role": "user", "content": text}]}))
    }

    /// Any body to `/v1/chat/completions`.
    pub fn post(&self, body: &Value) -> reqwest::RequestBuilder {
        self.client.post(format!("{}/v1/chat/completions", self.url)).json(body)
    }

    /// A page.
    pub async fn get(&self, path: &str) -> reqwest::Response {
        self.client.get(format!("{}{path}", self.url)).send().await.expect("an answer")
    }

    /// `host:port` of the public listener, for raw sockets.
    pub fn address(&self) -> &str {
        self.url.split_once("://").expect("a URL").1
    }

    /// Every audit record so far, oldest first, once there are at least `n` whose type is `kind`.
    pub async fn audit(&self, kind: &str, n: usize) -> Vec<Value> {
        let began = Instant::now();
        loop {
            let records = self.audit_now();
            let found: Vec<Value> = records.iter().filter(|r| r["type"] == kind).cloned().collect();
            if found.len() >= n {
                return found;
            }
            assert!(began.elapsed() < PATIENCE, "only {} of {n} {kind} records:\n{records:#?}\n{}", found.len(), self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The `completed` record of the only exchange.
    pub async fn completed(&self) -> Value {
        let mut records = self.audit("llm.request.completed", 1).await;
        assert_eq!(records.len(), 1, "{records:#?}");
        records.remove(0)
    }

    /// Every record in the log now.
    pub fn audit_now(&self) -> Vec<Value> {
        let out = self.kt(&["audit", "tail", "--json", "-n", "1000000", "--audit-dir", "audit"]);
        String::from_utf8_lossy(&out.stdout).lines().map(|l| serde_json::from_str(l).expect("a record is JSON")).collect()
    }

    /// Runs another `kt` command in the gateway's directory.
    pub fn kt(&self, args: &[&str]) -> std::process::Output {
        Command::new(env!("CARGO_BIN_EXE_kt")).args(args).current_dir(self.dir.path()).output().expect("kt runs")
    }

    /// What it wrote to stderr and stdout so far.
    pub fn log(&self) -> String {
        self.log.lock().expect("the log").clone()
    }

    /// The directory it runs in.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// The certificate of [`Run::with_certificate`].
    pub fn certificate(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.dir().join(CERTIFICATE)).expect("a certificate in PEM")
    }

    /// The sum of a metric over the series whose labels contain all of these, such as `target="t0"`.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let page =
            self.client.get(format!("{}/metrics", self.admin)).send().await.expect("an answer").text().await.expect("text");
        let series = page.lines().filter(|line| line.split(['{', ' ']).next() == Some(name));
        let chosen = series.filter(|line| labels.iter().all(|label| line.contains(label)));
        chosen.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by name, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.pid().to_string()]).status().expect("kill runs");
        assert!(status.success());
    }

    /// Waits for the process to end and returns its exit code and its directory.
    pub async fn ended(mut self) -> (Option<i32>, TempDir) {
        let began = Instant::now();
        let code = loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                break status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let dir = std::mem::replace(&mut self.dir, TempDir::new().expect("a temporary directory"));
        (code, dir)
    }

    async fn wait_until_it_answers(&mut self) {
        let began = Instant::now();
        while self.client.get(format!("{}/healthz", self.url)).send().await.is_err() {
            if let Some(status) = self.child.try_wait().expect("its status") {
                panic!("kt ended with {status}:\n{}", self.log());
            }
            assert!(began.elapsed() < PATIENCE, "kt does not answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Below the range the kernel hands ports out of, so that neither an origin nor a connection takes it before the gateway does.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let next = (std::process::id() as u16).wrapping_mul(97).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + next % 20_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
