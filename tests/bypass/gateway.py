"""Starts kt in front of the suite's own provider, for a run that needs no gateway of one's own."""

import http.client
import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# Requests of this size are refused; small, so that a large request is quickly made.
BODY_LIMIT = 1 << 20

CONFIG = """\
pack: {{name: bypass, version: 1.0.0, enabled: true}}
policies:
  chain: [prompt-injection, pii-detector, audit-logger]
policy:
  audit-logger: {{max_wait_ms: 10000}}
providers:
  targets:
    - {{id: scripted, provider: scripted, base_url: "{url}", secret_key_ref: {{env: SCRIPTED_KEY}}, timeout_seconds: 30}}
  fallback: {{enabled: false}}
  circuit_breaker: {{enabled: false}}
  retry_policy: {{max_retries: 0}}
size_limits: {{max_body_bytes: {limit}}}
"""


def config(upstream_url):
    """The policy-config.yaml of the gateway under test."""
    return CONFIG.format(url=upstream_url, limit=BODY_LIMIT)


class Gateway:
    """kt, running inside a `with`."""

    def __init__(self, binary, upstream_url):
        self.binary = Path(binary).resolve()
        self.upstream_url = upstream_url

    def __enter__(self):
        self.place = tempfile.TemporaryDirectory(prefix="kt-bypass-")
        place, port = Path(self.place.name), free_port()
        (place / "gateway.yaml").write_text(config(self.upstream_url))
        options = ["--policy-config", "gateway.yaml", "--audit-dir", "audit", "--admin-listen", f"127.0.0.1:{free_port()}"]
        command = [self.binary, "gateway", "run", *options, "--listen", f"127.0.0.1:{port}"]
        self.log = open(place / "log", "w+b")
        environment = os.environ | {"SCRIPTED_KEY": "scripted-key", "RUST_LOG": os.environ.get("RUST_LOG", "warn")}
        self.process = subprocess.Popen(command, cwd=place, env=environment, stdout=self.log, stderr=self.log)
        self.url = f"http://127.0.0.1:{port}/v1"
        try:
            self.wait_until_ready(port)
        except BaseException:
            self.__exit__()
            raise
        return self

    def wait_until_ready(self, port):
        deadline = time.monotonic() + 30
        while not is_ready(port):
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"the gateway did not start:\n{self.said()}")
            time.sleep(0.05)

    def said(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        self.place.cleanup()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
