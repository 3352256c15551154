"""What a disk without power remembers: a tree of files in which everything is either synced or at the mercy of the next cut.

More hostile than any one file system, within what POSIX and a disk allow: unsynced writes survive or not, one by one, out of
order, and torn where a sector ends; a name survives only when its directory was synced, or by luck; a sync that failed has
forgotten what it was to write, and the next one reports success (as Linux does).
"""

import random
import time

# What a disk writes whole, in bytes.
SECTOR = 512


class File:
    """Bytes now, bytes that a cut leaves for certain, and what was done since."""

    def __init__(self, mode, content=None):
        self.mode, self.mtime = mode, time.time()
        self.durable = bytearray() if content is None else content
        self.live, self.pending = bytearray(self.durable), []

    def write(self, offset, data):
        self.mtime = time.time()
        self.pending.append((offset, data))
        put(self.live, offset, data)

    def resize(self, size):
        self.mtime = time.time()
        self.pending.append((size, None))
        cut_to(self.live, size)

    def sync(self):
        for offset, data in self.pending:
            apply(self.durable, offset, data)
        self.pending.clear()

    def forget(self):
        """A sync failed: what was dirty counts as clean, and is nowhere but in memory."""
        self.pending.clear()

    def after_cut(self, chance):
        """The file a cut leaves behind; this one is no more."""
        for offset, data in survivors(self.pending, chance):
            apply(self.durable, offset, data)
        return File(self.mode, self.durable)


class Directory:
    """Names now, names that a cut leaves for certain, and what was done since: a list of changes, each of them atomic."""

    def __init__(self, mode, names=None):
        self.mode, self.mtime = mode, time.time()
        self.live, self.durable, self.pending = dict(names or {}), dict(names or {}), []

    def change(self, names):
        """Sets names, or with None removes them, all at once."""
        self.mtime = time.time()
        self.pending.append(names)
        merge(self.live, names)

    def sync(self):
        self.durable = dict(self.live)
        self.pending.clear()

    def forget(self):
        self.pending.clear()

    def after_cut(self, chance):
        """Changes of names come to the disk in their order: a journal sees to that."""
        left = dict(self.durable)
        for names in self.pending[: chance.randint(0, len(self.pending))]:
            merge(left, names)
        return Directory(self.mode, {name: node.after_cut(chance) for name, node in left.items()})


def survivors(pending, chance):
    """The part of unsynced changes that reached the disk, in one of the ways it may."""
    # The first is the least.
    style = chance.choice(["none", "all", "prefix", "some", "sectors"])
    if style == "none" or not pending:
        return
    if style == "all":
        yield from pending
        return
    if style == "prefix":
        whole = chance.randrange(len(pending))
        yield from pending[:whole]
        offset, data = pending[whole]
        if data is not None:
            sectors = list(split(offset, data))
            yield from sectors[: chance.randint(0, len(sectors))]
        return
    odds = chance.random()
    for offset, data in pending:
        if style == "some" or data is None:
            if chance.random() < odds:
                yield offset, data
        else:
            yield from (sector for sector in split(offset, data) if chance.random() < odds)


def split(offset, data):
    """A write in pieces that a disk writes whole."""
    at = 0
    while at < len(data):
        step = SECTOR - (offset + at) % SECTOR
        yield offset + at, data[at : at + step]
        at += step


def apply(content, offset, data):
    if data is None:
        cut_to(content, offset)
    else:
        put(content, offset, data)


def put(content, offset, data):
    if len(content) < offset:
        cut_to(content, offset)
    content[offset : offset + len(data)] = data


def cut_to(content, size):
    del content[size:]
    content.extend(bytes(size - len(content)))


def merge(names, changes):
    for name, node in changes.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


def dirty(node):
    """Bytes and names below a node that no sync has made durable."""
    if isinstance(node, File):
        return sum(len(data or b"") for _, data in node.pending)
    return len(node.pending) + sum(dirty(child) for child in node.live.values())


def cut(root, seed):
    """The tree after a power cut. Without a seed nothing unsynced is left."""
    return root.after_cut(Nothing() if seed is None else random.Random(seed))


class Nothing(random.Random):
    """The chance that always falls on the least."""

    def choice(self, among):
        return among[0]

    def randint(self, least, _):
        return least
