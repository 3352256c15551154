"""Damage of the log's files: at the end, where a crash may leave anything, and in the middle, where it may not."""

import random
import shutil
import subprocess
import time

from gateway import Gateway
from ledger import Ledger, Log
from load import HEAVY, USUAL, Load

SECTOR = 512
# Every record's bytes begin so.
RECORD = b'{"v":1,'
# Enough to fill a segment, in seconds.
FILL_WITHIN = 60
# How long a start may take to write down what it cut off.
TELL_WITHIN = 5


def torn_tails(lab, report, ways):
    """Whatever stands at the end, the next start cuts it off, says so, and keeps all before it."""
    promise = "Cut off, and told; all before is kept."
    with report.trial("torn tails", promise) as trial, Damaged(lab, trial, "tails", USUAL) as log:
        log.fill(0.5)
        for how in WAYS[:ways]:
            log.at_the_end(how)


def broken_middles(lab, report):
    """A record that was certainly written and is not what was written."""
    promise = "Damage before the end is never passed over: it stops the start, or is told; `kt audit verify` names the record."
    with report.trial("broken middles", promise) as trial, Damaged(lab, trial, "middles", USUAL) as log:
        log.fill(1.5)
        log.in_the_newest()


def broken_archives(lab, report):
    """The same in what was written long ago."""
    promise = "Damage in an older file is found by `kt audit verify`, which names a record."
    with report.trial("broken archives", promise) as trial, Damaged(lab, trial, "archives", HEAVY) as log:
        log.fill(0.5, files=True)
        log.in_the_oldest()


class Damaged:
    """A log to damage copies of, inside a `with`."""

    def __init__(self, lab, trial, name, kinds):
        self.lab, self.trial, self.name, self.kinds = lab, trial, name, kinds
        self.random = random.Random(f"{lab.seed} {name}")

    def __enter__(self):
        self.stack = self.lab.stack()
        self.place = self.stack.enter_context(self.lab.place(self.name))
        self.load = self.stack.enter_context(Load(f"{self.lab.seed}-{self.name}"))
        self.gateway = Gateway(self.lab.kt, self.place, self.load.url)
        self.stack.callback(self.gateway.kill)
        self.whole = self.place / "whole"
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def fill(self, seconds, files=False):
        """Makes the log, and kills its gateway; with `files`, once the first segment is full and done with."""
        self.gateway.start()
        self.load.begin(self.gateway.port, self.kinds)
        self.load.wait_for(20)
        deadline = time.monotonic() + FILL_WITHIN
        first = newest(self.gateway.audit)
        while files and newest(self.gateway.audit) == first and time.monotonic() < deadline:
            time.sleep(0.2)
        # Time for a checkpoint to cover what is there by now.
        time.sleep(seconds)
        self.load.end()
        self.gateway.kill()
        self.trial.take(Ledger(), self.load.new_book())
        self.records = self.gateway.records()
        self.gateway.audit.rename(self.whole)

    def copy(self):
        shutil.rmtree(self.gateway.audit, ignore_errors=True)
        subprocess.run(["cp", "-r", "--preserve=timestamps", "--sparse=always", self.whole, self.gateway.audit], check=True)

    def at_the_end(self, how):
        """Damages the end, and starts."""
        self.copy()
        self.trial.count(how.__name__.replace("_", " "))
        how(newest(self.gateway.audit), self.random)
        self.gateway.start()
        self.owned_up(how.__name__, lost=1)
        if (answer := self.load.one(self.gateway.port)) != "200":
            self.trial.fail(f"{how.__name__}: the gateway then says {answer}")
        self.gateway.kill()

    def in_the_newest(self):
        """Changes a record with many behind it, and starts."""
        self.copy()
        self.trial.count("flips in the newest file")
        index = self.flip(newest(self.gateway.audit))
        self.verify_names(lambda named: named == index, f"record {index}")
        self.gateway.launch()
        if not self.gateway.is_up():
            self.trial.note("damage in the newest file stops the start")
            if f"record {index} " not in self.gateway.said():
                self.trial.fail(f"the start does not say that record {index} is damaged:\n{self.gateway.said()}")
            return
        # A crash may leave whole records behind a torn one: who cannot tell them from damage may cut.
        self.owned_up("a flip in the middle", lost=len(self.records) - index)
        self.gateway.kill()

    def in_the_oldest(self):
        """Changes a bit in the middle of the largest file that is done with."""
        self.copy()
        self.trial.count("flips in an older file")
        last = newest(self.gateway.audit)
        older = [path for path in self.gateway.audit.rglob("*") if path.is_file() and path != last and not is_blank(path)]
        path = max(older, key=lambda path: path.stat().st_size)
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
        self.verify_names(lambda named: 0 <= named < len(self.records), "a record")
        self.gateway.launch()
        goes_on = self.gateway.is_up()
        self.trial.note(f"damage in an older file {'is left to `kt audit verify`' if goes_on else 'stops the start'}")
        self.gateway.kill()

    def verify_names(self, holds, what):
        found = self.gateway.verify()
        named = [log.get("index") for log in found["logs"] if not log["intact"]]
        if found["intact"] or not all(holds(index) for index in named):
            self.trial.fail(f"kt audit verify does not say that {what} is damaged: {found}")

    def flip(self, path):
        """Changes a bit in the id of a record a third of the way through the only file; the record's index."""
        content = bytearray(path.read_bytes())
        starts = list(positions(content, RECORD))
        index = len(starts) // 3
        content[content.index(b'"id":"', starts[index]) + 6 + 35] ^= 1
        path.write_bytes(content)
        return index

    def owned_up(self, how, lost):
        """What was cut off is told, and is no more than it must be; or a new log begins beside the damaged one."""
        logs = {log["origin"]: log["intact"] for log in self.gateway.verify()["logs"]}
        if len(logs) > 1:
            # More was signed than can be read: the damaged one is evidence, and what comes now is recorded beside it.
            self.trial.note(f"{how}: a new log begins beside the damaged one")
            if sorted(logs.values()) != [False, True]:
                self.trial.fail(f"{how}: of a damaged log and a new one beside it, these are intact: {logs}")
            return
        self.trial.note(f"{how}: cut off, and told")
        deadline = time.monotonic() + TELL_WITHIN
        while not (log := Log(self.gateway.records())).gaps and time.monotonic() < deadline:
            time.sleep(0.05)
        if not all(logs.values()):
            self.trial.fail(f"{how}: the log is not sound afterwards: {self.gateway.verify()}")
        if not any(gap.get("reason") == "torn_tail" and gap.get("bytes") for gap in log.gaps):
            self.trial.fail(f"{how}: no record tells of what was cut off")
        if "cut off" not in self.gateway.said():
            self.trial.fail(f"{how}: the start says nothing of what it cut off:\n{self.gateway.said()}")
        left = {record["id"] for record in log.records}
        gone = sum(record["id"] not in left for record in self.records)
        if gone > lost:
            self.trial.fail(f"{how}: {gone} records are gone, and {lost} were damaged or behind it")


def newest(audit):
    """The file that records are written to now."""
    files = [path for path in audit.rglob("*") if path.is_file() and holds_records(path)]
    return max(files, key=lambda path: (path.stat().st_mtime_ns, path.name))


def holds_records(path):
    with open(path, "rb") as file:
        return RECORD in file.read(1 << 16)


def is_blank(path):
    with open(path, "rb") as file:
        return not file.read(1 << 12).strip(b"\0")


# What a disk does to the end of a file.


def cut_short(path, chance):
    """The last record stops in the middle."""
    with Tail(path) as tail:
        at = tail.record + chance.randrange(20, tail.end - tail.record)
        tail.write(at, bytes(tail.end - at))


def flipped(path, chance):
    """A bit of the last record is another."""
    with Tail(path) as tail:
        at = chance.randrange(tail.record, tail.end)
        tail.write(at, bytes([tail.content[at] ^ 1 << chance.randrange(7)]))


def sector_lost(path, _):
    """The last sector was never written."""
    with Tail(path) as tail:
        at = max(tail.record, (tail.end - 1) // SECTOR * SECTOR)
        tail.write(at, bytes(tail.end - at))


def hole(path, chance):
    """A piece in the middle of the last record was never written, and what follows was."""
    with Tail(path) as tail:
        at = chance.randrange(tail.record + 1, tail.end - 60)
        tail.write(at, bytes(50))


def garbage(path, chance):
    """Behind the last record stands anything."""
    with Tail(path) as tail:
        tail.write(tail.end, chance.randbytes(chance.randrange(1, 5000)))


def truncated(path, chance):
    """The file ends in the middle of its last record."""
    with Tail(path) as tail:
        tail.file.truncate(chance.randrange(tail.record + 10, tail.end))


# A short run tries the first few.
WAYS = [cut_short, flipped, garbage, sector_lost, hole, truncated]


class Tail:
    """The end of a segment, inside a `with`."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.file = open(self.path, "r+b")
        self.content = self.file.read()
        # A record ends with its brace; zeros behind it were never written.
        self.end = len(self.content.rstrip(b"\0"))
        self.record = self.content.rindex(RECORD)
        return self

    def __exit__(self, *_):
        self.file.close()

    def write(self, at, data):
        self.file.seek(at)
        self.file.write(data)


def positions(content, wanted):
    at = content.find(wanted)
    while at >= 0:
        yield at
        at = content.find(wanted, at + 1)
