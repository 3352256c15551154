"""A file system that is really full: nobody is admitted before it is, and everybody is once there is room again."""

import contextlib
import os
import time

from disk import Tmpfs
from gateway import Gateway
from ledger import Ledger
from load import HEAVY, Load

SMALL_MEGABYTES = 40
# Room for a segment, the next one, and some to fill up.
ENOUGH_MEGABYTES = 320
KEEP_FREE_MEGABYTES = 96
REFUSED = "503 audit_unavailable"
# How long the gateway may take to notice that room came or went.
NOTICE_WITHIN = 10
# How long callers may take to fill what room there is.
FILL_WITHIN = 60


def too_small(lab, report):
    """On a disk too small for a segment the gateway says why it does not start, or it starts."""
    promise = "It says why it does not start."
    with report.trial("a disk too small", promise) as trial, small(lab, SMALL_MEGABYTES) as (place, disk, load):
        gateway = Gateway(lab.kt, place / "kt", load.url, audit=disk.root / "audit")
        trial.count(f"start on {SMALL_MEGABYTES} MB")
        gateway.launch()
        try:
            if gateway.is_up():
                trial.note(f"it runs on {SMALL_MEGABYTES} MB")
                trial.take(Ledger(), load.new_book())
            elif "No space left" not in gateway.said():
                code = gateway.process.returncode
                trial.fail(f"it ends with {code} and does not say that there is no space:\n{gateway.said()}")
            else:
                trial.note(f"it does not start on {SMALL_MEGABYTES} MB and says why: {gateway.said().splitlines()[-1]}")
        finally:
            gateway.kill()


def nearly_full(lab, report):
    """Admission stops at `min_free`; exchanges under way finish their records; room brings it back."""
    promise = "Refused with 503 and Retry-After before it is full; those under way end well; back with room."
    with report.trial("a disk nearly full", promise) as trial, small(lab, ENOUGH_MEGABYTES) as (place, disk, load):
        gateway = Gateway(lab.kt, place / "kt", load.url, audit=disk.root / "audit", min_free=f"{KEEP_FREE_MEGABYTES}MiB")
        ledger, ballast = Ledger(), Ballast(disk.root)
        try:
            gateway.start()
            load.hold()
            load.begin(gateway.port, {"stream": 1})
            until(trial, lambda: len(load.book.acknowledged) == load.connections, "not every stream began")
            ballast.leave(KEEP_FREE_MEGABYTES // 2)
            trial.count("full disk")
            until(trial, lambda: load.one(gateway.port) == REFUSED, "a full disk stops nobody")
            load.hold(False)
            load.finish()
            book = load.new_book()
            trial.take(ledger, book)
            if book.whole != book.acknowledged.keys() - {name for name, kind in book.acknowledged.items() if kind == "completed"}:
                trial.fail(f"{len(book.acknowledged) - len(book.whole)} answers under way broke off")
            judgement = trial.judge(ledger, gateway, "while the disk is full")
            if judgement.log and judgement.log.count("interrupted"):
                trial.fail(f"{judgement.log.count('interrupted')} exchanges under way could not finish their record")
            ballast.drop()
            until(trial, lambda: load.one(gateway.port) == "200", "room does not bring it back")
            trial.take(ledger, load.new_book())
            gateway.kill()
            gateway.start()
            trial.judge(ledger, gateway, "after the next start")
        finally:
            gateway.kill()


def quite_full(lab, report):
    """With nothing kept free, the disk itself says no, in the middle of anything."""
    promise = "Refused clearly; nothing acknowledged is lost."
    with report.trial("a disk filled to the brim", promise) as trial, small(lab, ENOUGH_MEGABYTES) as (place, disk, load):
        gateway = Gateway(lab.kt, place / "kt", load.url, audit=disk.root / "audit", min_free=1)
        ledger, ballast = Ledger(), Ballast(disk.root)
        try:
            gateway.start()
            ballast.leave(1)
            trial.count("disk filled to the brim")
            load.begin(gateway.port, HEAVY)
            until(trial, lambda: load.book.answers[REFUSED], "the gateway never found the disk full", FILL_WITHIN)
            load.end()
            ballast.drop()
            time.sleep(1.5)
            trial.note(f"with room again, before a new start: {load.one(gateway.port)}")
            trial.take(ledger, load.new_book())
            if odd := trial.answers.keys() - {"200", "409 input_blocked", REFUSED, "none"}:
                trial.fail(f"answers that are neither an answer nor a clear refusal: {odd}")
            gateway.kill()
            gateway.start()
            trial.judge(ledger, gateway, "after the next start")
        finally:
            gateway.kill()


@contextlib.contextmanager
def small(lab, megabytes):
    """A place, a small disk in it, and callers."""
    with lab.place("full") as place, Tmpfs(place, megabytes) as disk, Load(f"{lab.seed}-{place.name}") as load:
        yield place, disk, load


class Ballast:
    """Somebody else's file on the same disk."""

    def __init__(self, root):
        self.root, self.path = root, root / "ballast"

    def leave(self, megabytes):
        """Takes all but so much, however much the gateway takes meanwhile."""
        block = bytes(1 << 20)
        with open(self.path, "wb", buffering=0) as file, contextlib.suppress(OSError):
            while free_bytes(self.root) > megabytes << 20:
                file.write(block)

    def drop(self):
        self.path.unlink()


def free_bytes(root):
    fs = os.statvfs(root)
    return fs.f_bavail * fs.f_frsize


def until(trial, holds, otherwise, seconds=NOTICE_WITHIN):
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            trial.fail(otherwise)
            return
        time.sleep(0.05)
