"""System calls that fail while the gateway runs: injected with strace, so that it does not matter who makes them."""

import subprocess
import threading
import time
from dataclasses import dataclass

from disk import need
from gateway import Gateway, is_ready
from ledger import Ledger, Log
from load import HEAVY, USUAL, Load
from report import Skipped

SYNC = "fsync,fdatasync,sync_file_range"
WRITE = "pwrite64,pwritev,pwritev2"
NAME = "rename,renameat,renameat2"
# Enough for every caller to meet the fault, in seconds, and to be slow about it.
LASTS = 0.5
# Answers that show how the gateway takes it.
ENOUGH = 40
# Enough for a segment to fill up: that is when new files are made.
FILL_WITHIN = 30
# How long a log may keep a loss to itself once it can write again.
TELL_WITHIN = 5


@dataclass(frozen=True)
class Fault:
    """What fails how, and what the gateway may do about it."""

    name: str
    calls: str
    error: str
    # `1` is the next call of each thread (strace counts them apart), `1+` is every one.
    when: str
    immutable: bool = True
    # Only a segment that fills up makes these calls.
    rotation: bool = False
    # It fails while the log is made ready after a crash, not later.
    at_start: bool = False

    def options(self):
        """How strace is told."""
        # A name the kernel of this machine does not know stands with a `?`.
        calls = ",".join(f"?{call}" for call in self.calls.split(","))
        return ["-e", f"trace={calls}", "-e", f"inject={calls}:error={self.error}:when={self.when}"]


FAULTS = [
    Fault("a sync of each thread fails", SYNC, "EIO", "1"),
    Fault("every sync fails", SYNC, "EIO", "1+"),
    Fault("a sync of each thread fails, gaps allowed", SYNC, "EIO", "1", immutable=False),
    Fault("no write finds room", WRITE, "ENOSPC", "1+"),
    Fault("every sync fails, gaps allowed", SYNC, "EIO", "1+", immutable=False),
    Fault("one write finds no room", WRITE, "ENOSPC", "1"),
    Fault("no write finds room, gaps allowed", WRITE, "ENOSPC", "1+", immutable=False),
    Fault("one write fails", WRITE, "EIO", "1"),
    Fault("a new segment is not named, once", NAME, "ENOSPC", "1", rotation=True),
    Fault("no new segment can be named", NAME, "ENOSPC", "1+", rotation=True),
    Fault("a file cannot be made, once", "openat", "ENOSPC", "1", rotation=True),
    Fault("no file can be made", "openat", "ENOSPC", "1+", rotation=True),
    Fault("a sync of each thread fails at the start", SYNC, "EIO", "1", at_start=True),
    Fault("every sync fails at the start", SYNC, "EIO", "1+", at_start=True),
    Fault("no write finds room at the start", WRITE, "ENOSPC", "1+", at_start=True),
    Fault("no file can be named at the start", NAME, "ENOSPC", "1+", at_start=True),
    Fault("no file can be sized", "ftruncate,fallocate", "ENOSPC", "1+", rotation=True),
]
# Those of a short run.
FEW = 4


def try_fault(lab, report, fault):
    promise = "The gateway goes on, or refuses with 503, or passes and records the gap; nothing acknowledged is lost."
    with report.trial(f"fault: {fault.name}", promise) as trial:
        need("strace")
        with lab.place("fault") as place, Load(f"{lab.seed}-{place.name}") as load:
            gateway = Gateway(lab.kt, place, load.url, immutable=fault.immutable, max_wait_ms=500)
            try:
                how = start_with if fault.at_start else run_with
                how(trial, gateway, load, fault)
            finally:
                gateway.kill()


def start_with(trial, gateway, load, fault):
    """A crash, a start that meets the fault and may end by it, and one that does not."""
    ledger = Ledger()
    gateway.start()
    load.begin(gateway.port)
    load.wait_for(ENOUGH)
    gateway.kill()
    load.end()
    trial.take(ledger, load.new_book())
    # Apart from the gateway, which so stays our own child.
    gateway.launch(["strace", "-D", "-f", "-qq", "-o", gateway.place / "strace", *fault.options()])
    if gateway.is_up():
        trial.note(f"it starts, and says {load.one(gateway.port)}")
        trial.take(ledger, load.new_book())
        gateway.kill()
    else:
        trial.note(f"it does not start, and says: {gateway.said().splitlines()[-1]}")
        if not gateway.process.returncode:
            trial.fail("a start that failed ends with 0")
    trial.count("injected errors", (gateway.place / "strace").read_text(errors="replace").count("(INJECTED)"))
    gateway.start()
    trial.judge(ledger, gateway, "after the next start")


def run_with(trial, gateway, load, fault):
    """A gateway under load meets the fault, and later a disk that is well."""
    ledger = Ledger()
    gateway.start()
    load.begin(gateway.port, HEAVY if fault.rotation else USUAL)
    load.wait_for(ENOUGH)
    with Injection(gateway.process.pid, fault) as injection:
        if fault.rotation:
            injection.wait(FILL_WITHIN)
        time.sleep(LASTS)
        before = load.book.answers.copy()
        answered(load, before)
        during = load.book.answers - before
    trial.count("injected errors", injection.injected)
    if not injection.injected:
        raise Skipped(f"the gateway makes no such call ({fault.calls})")
    # The disk is well again.
    time.sleep(LASTS)
    load.end()
    trial.take(ledger, load.new_book())
    answers_are_allowed(trial, fault, during)
    after = load.one(gateway.port)
    ready = "ready" if is_ready(gateway.port) else "not ready"
    trial.note(f"while it lasted: {dict(during)}; afterwards, the disk being well: {after}, and it calls itself {ready}")
    trial.take(ledger, load.new_book())
    if fault.immutable:
        gateway.kill()
        gateway.start()
        trial.judge(ledger, gateway, "after the next start")
    else:
        gaps_tell(trial, ledger, gateway)


def answered(load, before):
    """Waits for a few answers more."""
    deadline = time.monotonic() + FILL_WITHIN
    while (load.book.answers - before).total() < ENOUGH and time.monotonic() < deadline:
        time.sleep(0.01)


def answers_are_allowed(trial, fault, during):
    refused = "503 audit_unavailable"
    allowed = {"200", "409 input_blocked"} | ({refused} if fault.immutable else set())
    if odd := {said: count for said, count in during.items() if said not in allowed}:
        trial.fail(f"answers that are neither an answer nor a clear refusal: {odd}")
    if not during:
        trial.fail("nobody got an answer while it lasted")


def gaps_tell(trial, ledger, gateway):
    """A log that lets requests pass unrecorded says how many they were, once the disk is well, or at the next start."""
    deadline = time.monotonic() + TELL_WITHIN
    while not Log(gateway.records()).gaps and time.monotonic() < deadline:
        time.sleep(0.1)
    gateway.stop()
    gateway.start()
    judgement = ledger.judge(gateway)
    told = sum(gap["count"] for gap in judgement.log.gaps) if judgement.log else 0
    trial.note(f"{len(judgement.lost)} requests passed unrecorded, and the log tells of {told}")
    if len(judgement.lost) > told:
        trial.lost += len(judgement.lost) - told
        trial.fail(f"{len(judgement.lost)} requests have no record and the gaps tell of {told}: {gateway.said()}")
    for problem in judgement.problems:
        if "have no record" not in problem:
            trial.fail(problem)


class Injection:
    """strace on a running process, inside a `with`."""

    def __init__(self, process, fault):
        self.process, self.fault = process, fault
        self.injected, self.listener = 0, None

    def __enter__(self):
        command = ["strace", "-f", "-p", str(self.process), *self.fault.options()]
        self.strace = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        # The first line is its word that it is attached; the threads follow before the process goes on.
        first = self.strace.stderr.readline()
        if "attached" not in first:
            self.__exit__()
            raise Skipped(f"strace cannot attach here: {first.strip()}")
        self.listener = threading.Thread(target=self.listen, daemon=True)
        self.listener.start()
        return self

    def __exit__(self, *_):
        if self.strace.poll() is None:
            self.strace.terminate()
        self.strace.wait()
        if self.listener:
            self.listener.join()

    def listen(self):
        for line in self.strace.stderr:
            self.injected += "(INJECTED)" in line

    def wait(self, seconds):
        deadline = time.monotonic() + seconds
        while not self.injected and time.monotonic() < deadline:
            time.sleep(0.05)
