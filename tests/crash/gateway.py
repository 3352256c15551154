"""The real kt under test: started, stopped and killed, and asked what its log holds."""

import collections
import functools
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

# The longest a start may take that reads a log of this lab, in seconds: only a hang is longer.
START_WITHIN = 60

# The time at the beginning of a line of its log.
STAMP = re.compile(r"^\[\S+ ")

CONFIG = """\
pack: {{name: crash, version: 1.0.0, enabled: true}}
policies:
  chain: [prompt-injection, audit-logger]
policy:
  audit-logger: {{immutable: {immutable}, max_wait_ms: {max_wait_ms}, min_free: {min_free}}}
providers:
  targets:
    - {{id: scripted, provider: scripted, base_url: "{url}", secret_key_ref: {{env: SCRIPTED_KEY}}, timeout_seconds: 30}}
  fallback: {{enabled: false}}
  circuit_breaker: {{enabled: false}}
  retry_policy: {{max_retries: 0}}
"""


class Gateway:
    """One kt on one audit directory, again and again."""

    def __init__(self, binary, place, provider, audit=None, immutable=True, max_wait_ms=2000, min_free=1):
        self.binary, self.place = binary, Path(place)
        self.place.mkdir(parents=True, exist_ok=True)
        self.audit = Path(audit or self.place / "audit")
        self.port, self.process = None, None
        config = CONFIG.format(url=provider, immutable=str(immutable).lower(), max_wait_ms=max_wait_ms, min_free=min_free)
        (self.place / "gateway.yaml").write_text(config)

    def launch(self, before=()):
        """Starts the process and does not wait. `before` is a command to run it under."""
        self.port, admin = free_ports(2)
        options = ["--policy-config", self.place / "gateway.yaml", "--audit-dir", self.audit, "--drain-seconds", "5"]
        listen = ["--listen", f"127.0.0.1:{self.port}", "--admin-listen", f"127.0.0.1:{admin}"]
        environment = os.environ | {"SCRIPTED_KEY": "scripted-key", "RUST_LOG": "warn", "NO_COLOR": "1"}
        with open(self.place / "log", "wb") as log:
            command = [*before, self.binary, "gateway", "run", *options, *listen]
            self.process = subprocess.Popen(command, cwd=self.place, env=environment, stdout=log, stderr=log)

    def is_up(self):
        """Waits until it answers; false when it ended instead."""
        deadline = time.monotonic() + START_WITHIN
        while not is_ready(self.port):
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise Broken(f"the gateway neither answers nor ends after {START_WITHIN} s:\n{self.said()}")
            time.sleep(0.01)
        return True

    def start(self, before=()):
        """Starts it; whatever state the log is in after a crash, it must."""
        self.launch(before)
        if not self.is_up():
            raise Broken(f"the gateway does not start again (exit code {self.process.returncode}):\n{self.said()}")

    def kill(self):
        """What a crash of the process is, and what ends it after a crash of the disk."""
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def ask_to_stop(self):
        self.process.send_signal(signal.SIGTERM)

    def stop(self):
        """Ends it as an operator would; its exit code."""
        self.ask_to_stop()
        try:
            return self.process.wait(START_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Broken(f"the gateway does not stop when told to:\n{self.said()}") from None

    def said(self):
        """What it said since it was last started; a sentence it says again and again stands once."""
        lines = (self.place / "log").read_text(errors="replace").splitlines()
        return "\n".join({STAMP.sub("", line): line for line in lines}.values())[-3000:]

    def verify(self):
        """What `kt audit verify --json` finds; None when there is no log."""
        command = [self.binary, "audit", "verify", "--json", "--audit-dir", self.audit]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 2:
            return None
        try:
            found = json.loads(done.stdout)
        except ValueError:
            raise Broken(f"kt audit verify exits with {done.returncode} and says {done.stdout!r} {done.stderr!r}") from None
        if found["intact"] != (done.returncode == 0):
            raise Broken(f"kt audit verify exits with {done.returncode} and says {done.stdout!r}")
        return found

    def records(self):
        """Every record of the log that can be read, in order."""
        how = ["export", "--jsonl"] if can_export(self.binary) else ["tail", "--json", "-n", "100000000"]
        done = subprocess.run([self.binary, "audit", *how, "--audit-dir", self.audit], capture_output=True)
        return [json.loads(line) for line in done.stdout.splitlines()]


class Broken(Exception):
    """The gateway does not do what any gateway must."""


@functools.cache
def can_export(binary):
    """Whether this kt prints all of a log; `tail` is the next best."""
    return subprocess.run([binary, "audit", "export", "--help"], capture_output=True).returncode == 0


# Given out lately, maybe to a gateway that does not listen yet.
lately = collections.deque(maxlen=64)
giving = threading.Lock()


def free_ports(count):
    """Ports nobody listens on, all different."""
    ports = []
    with giving:
        while len(ports) < count:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = probe.getsockname()[1]
            if port not in lately:
                lately.append(port)
                ports.append(port)
    return ports


def is_ready(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
