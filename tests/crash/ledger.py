"""The books of one log: what was acknowledged, held against what the log holds."""

import collections
import time

# How long a gateway that runs may take to end, in its log, the exchanges a crash left open; only one that forgets takes longer.
SETTLE_WITHIN = 10


class Ledger:
    """Everything acknowledged on one log since its beginning."""

    def __init__(self):
        self.acknowledged, self.forwarded = {}, set()
        self.answers = collections.Counter()
        # The records at the last look.
        self.seen = []

    def add(self, book):
        self.acknowledged |= book.acknowledged
        self.forwarded |= book.forwarded
        self.answers += book.answers

    def judge(self, gateway):
        """What is wrong with the log of a gateway that has started again and is idle, or has been stopped."""
        found = gateway.verify()
        if found is None and (self.acknowledged or self.forwarded):
            return Judgement([f"there is no log, and {len(self.acknowledged)} requests were acknowledged"], self.lost(Log([])))
        if found is not None and not found["intact"]:
            return Judgement([f"kt audit verify: {found}"], [])
        log = self.settled(gateway)
        held = sum(one.get("records", 0) for one in found["logs"]) if found else 0
        if len(log.records) < held:
            return Judgement([f"the log holds {held} records, of which kt prints {len(log.records)}"], [])
        lost = self.lost(log)
        problems = log.problems()
        if found and len(found["logs"]) != 1:
            problems.append(f"a crash made it begin another log: {[one['origin'] for one in found['logs']]}")
        if lost:
            problems.append(f"{len(lost)} acknowledged requests have no record: {', '.join(lost[:5])}")
        return Judgement(problems, lost, log)

    def settled(self, gateway):
        deadline = time.monotonic() + SETTLE_WITHIN
        while (log := Log(self.whole(gateway.records()))).open() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.seen = log.records
        return log

    def whole(self, records):
        """Adds the records that only an earlier look could read: those of old may be out of the reach of `kt audit tail`."""
        if not records:
            return records
        before = next((place for place, record in enumerate(self.seen) if record["id"] == records[0]["id"]), 0)
        return self.seen[:before] + records

    def lost(self, log):
        """Request ids that were acknowledged and have no record."""
        wanted = self.acknowledged | dict.fromkeys(self.forwarded, "received")
        held = {"received": log.received.keys(), "completed": log.refused}
        return [name for name, kind in wanted.items() if name not in held[kind]]


class Judgement:
    """What a look at a log found."""

    def __init__(self, problems, lost, log=None):
        self.problems, self.lost, self.log = problems, lost, log


class Log:
    """The exchanges of a log."""

    def __init__(self, records):
        self.records = records
        # Request id -> id of the record; the ids of requests refused before they began.
        self.received, self.refused = {}, set()
        # Id of a `received` record -> how often it ended, by type.
        self.ends = collections.defaultdict(collections.Counter)
        self.begun, self.gaps, self.unknown_parents = set(), [], 0
        for record in records:
            self.take(record)

    def take(self, record):
        kind, parent = record["type"], record.get("parent")
        if kind == "llm.request.received":
            self.received[record["request_id"]] = record["id"]
            self.begun.add(record["id"])
        elif kind in ("llm.request.completed", "llm.request.interrupted") and parent:
            self.unknown_parents += parent not in self.begun
            self.ends[parent][kind] += 1
        elif kind == "llm.request.completed":
            self.refused.add(record["request_id"])
        elif kind == "audit.gap":
            self.gaps.append(record)

    def open(self):
        return self.begun - self.ends.keys()

    def count(self, kind):
        return sum(ends[f"llm.request.{kind}"] for ends in self.ends.values())

    def problems(self):
        """Whether received = completed + interrupted, each exchange by itself, and each record once."""
        found = []
        if still := self.open():
            found.append(f"{len(still)} exchanges of a crash were not ended by the next start")
        if twice := [parent for parent, ends in self.ends.items() if ends.total() != 1]:
            found.append(f"{len(twice)} exchanges ended more than once, such as {twice[0]}")
        if self.unknown_parents:
            found.append(f"{self.unknown_parents} records end an exchange that has not begun")
        ids = collections.Counter(record["id"] for record in self.records)
        if doubled := [name for name, count in ids.items() if count > 1]:
            found.append(f"{len(doubled)} records stand in the log twice, such as {doubled[0]}")
        return found
