"""Damage of the log's files, as disks do it: at the end, where a crash may leave anything, and in the middle, where nothing may."""

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


def torn_tails(lab, trial):
    """Whatever stands at the end, the next start cuts it off, says so, and keeps all before it."""
    with Damaged(lab, trial, "tails", USUAL) as log:
        log.fill(0.5)
        for how in (cut_short, flipped, sector_lost, hole, garbage, truncated):
            log.at_the_end(how)


def broken_middles(lab, trial, fills):
    """A record that was certainly written and is not what was written stops the start, which says at which index."""
    with Damaged(lab, trial, "middles", HEAVY if fills else USUAL) as log:
        log.fill(0.5, until_segments=2 if fills else 1)
        if fills:
            log.in_the_middle("an older segment", log.segments()[0], told_is_enough=False)
        # A crash may leave whole records behind a torn one: who cannot tell them from damage may cut, but not silently.
        log.in_the_middle("the newest segment", log.segments()[-1], told_is_enough=True)


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

    def fill(self, seconds, until_segments=1):
        """Makes the log, and kills its gateway."""
        self.gateway.start()
        self.load.begin(self.gateway.port, self.kinds)
        time.sleep(seconds)
        deadline = time.monotonic() + FILL_WITHIN
        while len(segments(self.gateway.audit)) < until_segments and time.monotonic() < deadline:
            time.sleep(0.1)
        if until_segments > 1:
            time.sleep(seconds)
        self.load.end()
        self.gateway.kill()
        self.trial.take(Ledger(), self.load.new_book())
        self.records = self.gateway.records()
        self.gateway.audit.rename(self.whole)

    def copy(self):
        shutil.rmtree(self.gateway.audit, ignore_errors=True)
        subprocess.run(["cp", "-r", "--sparse=always", self.whole, self.gateway.audit], check=True)

    def segments(self):
        return [path.relative_to(self.whole) for path in segments(self.whole)]

    def at_the_end(self, how):
        """Damages the end, and starts."""
        self.copy()
        self.trial.count(how.__name__.replace("_", " "))
        how(segments(self.gateway.audit)[-1], self.random)
        self.gateway.start()
        if "cut off" not in self.gateway.said():
            self.trial.fail(f"{how.__name__}: the start says nothing of what it cut off:\n{self.gateway.said()}")
        self.told(how.__name__)
        if (answer := self.load.one(self.gateway.port)) != "200":
            self.trial.fail(f"{how.__name__}: the gateway then says {answer}")
        self.gateway.kill()

    def in_the_middle(self, where, segment, told_is_enough):
        """Changes a letter of a record with many behind it, and starts."""
        self.copy()
        self.trial.count(f"a bit flipped in {where}")
        index = self.flip(self.gateway.audit / segment)
        found = self.gateway.verify()
        bad = [log.get("index") for log in found["logs"]]
        if found["intact"] or bad != [index]:
            self.trial.fail(f"kt audit verify does not say that record {index} is damaged: {found}")
        self.gateway.launch()
        if not self.gateway.is_up():
            if f"record {index} " not in self.gateway.said():
                self.trial.fail(f"the start does not say that record {index} is damaged:\n{self.gateway.said()}")
            self.trial.note(f"damage in {where} stops the start, which names the record")
        elif told_is_enough:
            self.trial.note(f"damage in {where} is cut off with all behind it, and told")
            self.told("flip in the middle", upto=index)
        else:
            self.trial.fail(f"the gateway starts on a log whose record {index} is damaged")
        self.gateway.kill()

    def flip(self, path):
        """Changes a bit in the id of a record half way through a file; the record's index."""
        content = bytearray(path.read_bytes())
        places = {record["id"].encode(): index for index, record in enumerate(self.records)}
        starts = [at for at in positions(content, RECORD)]
        id_at = content.index(b'"id":"', starts[len(starts) // 2]) + 6
        index = places[bytes(content[id_at : id_at + 36])]
        content[id_at + 35] ^= 1
        path.write_bytes(content)
        return index

    def told(self, how, upto=None):
        """The log is sound, tells of the cut, and holds what stood before it."""
        deadline = time.monotonic() + TELL_WITHIN
        while not (log := Log(self.gateway.records())).gaps and time.monotonic() < deadline:
            time.sleep(0.05)
        found = self.gateway.verify()
        if not found["intact"]:
            self.trial.fail(f"{how}: the log is not sound afterwards: {found}")
        if not any(gap.get("reason") == "torn_tail" and gap.get("bytes") for gap in log.gaps):
            self.trial.fail(f"{how}: no record tells of what was cut off")
        before = len(self.records) - 1 if upto is None else upto
        if [record["id"] for record in log.records[:before]] != [record["id"] for record in self.records[:before]]:
            self.trial.fail(f"{how}: the records before the damage are not those there were")


def segments(audit):
    """The files that hold records, in the order of their names."""
    found = [path for path in audit.rglob("*") if path.is_file() and RECORD in path.read_bytes() and "torn" not in path.parts]
    return sorted(found, key=lambda path: path.name)


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
