#!/usr/bin/env python3
"""Changes a log at random, thousands of times, and sees that `verify.py` refuses every one of the changed logs.

    mutate.py tree DIR --key VKEY [--from N] [--older CHECKPOINT ...] [--count N] [--seed N]
    mutate.py proof FILE --record FILE --key VKEY [--older CHECKPOINT ...] [--count N] [--seed N]

The log is read once and changed in memory. `--older` are true checkpoints of the same log at other sizes: signed, and wrong here.
Exits with 1 when a changed log is believed, or when the log itself is not.
"""

import argparse
import base64
import collections
import os
import random
import subprocess
import sys
import tempfile
from functools import lru_cache

import verify
from verify import Directory, Flaw, WIDTH, leaf_hash, open_note, parse_key, slurp, tile_name

# What a file's bytes are worth does not change between runs.
for pure in ("split_tile", "tile_root", "bundle_leaves"):
    setattr(verify, pure, lru_cache(maxsize=1 << 14)(getattr(verify, pure).__wrapped__))


class Memory(dict):
    """A tree in memory, as `verify.Directory` is one on disk."""

    def read(self, name, most):
        content = self.get(name)
        return None if content is None else content[:most + 1]

    def names(self):
        return [name for name in self if name.startswith("tile/")]


class Forger:
    """Someone with a key of their own under the log's name."""

    def __init__(self):
        self.scratch = tempfile.TemporaryDirectory()
        self.pem = os.path.join(self.scratch.name, "key.pem")
        subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", self.pem], check=True, capture_output=True)
        command = ["openssl", "pkey", "-in", self.pem, "-pubout", "-outform", "DER"]
        self.public = subprocess.run(command, check=True, capture_output=True).stdout[-32:]

    def sign(self, name, text):
        """A note with a good signature of another key."""
        digest = verify.hashlib.sha256(name.encode() + b"\n\x01" + self.public).digest()
        return self.note(name, digest[:4], text)

    def forge(self, key, text):
        """The same under the id of the true key, which whoever verifies must not fall for."""
        return self.note(key.name, key.id, text)

    @lru_cache(maxsize=256)
    def note(self, name, key_id, text):
        path = os.path.join(self.scratch.name, "text")
        with open(path, "wb") as file:
            file.write(text)
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", self.pem, "-in", path]
        signature = subprocess.run(command, check=True, capture_output=True).stdout
        return text + f"\n— {name} {base64.b64encode(key_id + signature).decode()}\n".encode()


def text_of(note):
    return note[:note.rindex(b"\n\n") + 1]


# Bytes


def flip(rng, data):
    at = rng.randrange(8 * len(data))
    changed = bytearray(data)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def truncate(rng, data):
    return data[:rng.randrange(len(data))]


def extend(rng, data):
    return data + rng.randbytes(rng.randrange(1, 64))


def overwrite(rng, data):
    """A run of other bytes, aligned as hashes are."""
    at = rng.randrange(len(data)) // 32 * 32
    return data[:at] + rng.randbytes(len(data[at:at + 32])) + data[at + 32:]


# Files. Each takes the setting and a copy of the tree and changes the copy.


def some_file(setting, files):
    return setting.rng.choice(sorted(files))


def byte_change(change):
    def changed(setting, files):
        name = some_file(setting, files)
        if files[name]:
            files[name] = change(setting.rng, files[name])
    changed.__name__ = change.__name__
    return changed


def swap_files(setting, files):
    a, b = some_file(setting, files), some_file(setting, files)
    files[a], files[b] = files[b], files[a]


def swap_tiles(setting, files):
    """Two tiles of the same length, which only their hashes tell apart."""
    a = setting.rng.choice(files.names())
    b = setting.rng.choice([name for name in files.names() if len(files[name]) == len(files[a])])
    files[a], files[b] = files[b], files[a]


def copy_file(setting, files):
    files[some_file(setting, files)] = files[some_file(setting, files)]


def remove_file(setting, files):
    # Without `key.pub` a tree is whole: trust comes from elsewhere.
    del files[setting.rng.choice([name for name in sorted(files) if name != "key.pub"])]


def stray_file(setting, files):
    """A partial tile beside the one that counts: who fetches it would believe it."""
    name = setting.rng.choice(files.names())
    stray = name.split(".p/")[0] + f".p/{setting.rng.randrange(1, WIDTH)}"
    if stray not in files:
        files[stray] = files[name]


def swap_hashes(setting, files):
    name = setting.rng.choice([name for name in files.names() if "entries" not in name])
    hashes = [files[name][at:at + 32] for at in range(0, len(files[name]), 32)]
    a, b = setting.rng.randrange(len(hashes)), setting.rng.randrange(len(hashes))
    hashes[a], hashes[b] = hashes[b], hashes[a]
    files[name] = b"".join(hashes)


def forge_leaf(setting, files, index=None):
    """CVE-2026-56865: another leaf hash in a tile of level 0, and another record where it points to."""
    rng = setting.rng
    index = rng.randrange(setting.minimum, setting.size) if index is None else index
    tile, item = index // WIDTH, index % WIDTH
    width = min(WIDTH, setting.size - tile * WIDTH)
    record = rng.randbytes(rng.randrange(40))
    name = tile_name(0, tile, width)
    files[name] = files[name][:32 * item] + leaf_hash(record) + files[name][32 * item + 32:]
    if rng.random() < 0.5:
        edit_bundle(files, tile_name("entries", tile, width), lambda records: records.__setitem__(item, record))


# Records


def records_of(bundle):
    records, at = [], 0
    while at < len(bundle):
        end = at + 2 + int.from_bytes(bundle[at:at + 2], "big")
        records.append(bundle[at + 2:end])
        at = end
    return records


def bundle_of(records):
    return b"".join(len(record).to_bytes(2, "big") + record for record in records)


def edit_bundle(files, name, edit):
    records = records_of(files[name])
    edit(records)
    files[name] = bundle_of(records)


def record_change(edit):
    def changed(setting, files):
        name = setting.rng.choice([name for name in files.names() if "entries" in name])
        edit_bundle(files, name, lambda records: edit(setting.rng, records))
    changed.__name__ = edit.__name__
    return changed


def drop_record(rng, records):
    del records[rng.randrange(len(records))]


def double_record(rng, records):
    at = rng.randrange(len(records))
    records.insert(at, records[at])


def swap_records(rng, records):
    a, b = rng.randrange(len(records)), rng.randrange(len(records))
    records[a], records[b] = records[b], records[a]


def change_record(rng, records):
    at = rng.randrange(len(records))
    records[at] = flip(rng, records[at]) if records[at] else b"\0"


def rebuild(setting, files):
    """All records from one on are moved or changed, and every tile is computed again; only the checkpoint stays."""
    if setting.minimum or setting.size > 2000:
        return
    names = sorted(name for name in files.names() if "entries" in name)
    records = [record for name in names for record in records_of(files[name])]
    edit = setting.rng.choice([drop_record, double_record, swap_records, change_record])
    edit(setting.rng, records)
    for name in files.names():
        del files[name]
    files.update(tree_of(records))


def tree_of(records):
    """Every tile and bundle of a tree."""
    files = {}
    for index in range(0, len(records), WIDTH):
        part = records[index:index + WIDTH]
        files[tile_name("entries", index // WIDTH, len(part))] = bundle_of(part)
    level, hashes = 0, [leaf_hash(record) for record in records]
    while hashes:
        above = []
        for index in range(0, len(hashes), WIDTH):
            part = hashes[index:index + WIDTH]
            files[tile_name(level, index // WIDTH, len(part))] = b"".join(part)
            if len(part) == WIDTH:
                above.append(verify.root_of(part))
        level, hashes = level + 1, above
    return files


# Checkpoints


def resign(setting, files):
    """The log as it is, or changed alike everywhere, under a key that is not the log's."""
    if setting.rng.random() < 0.5:
        rebuild(setting, files)
    sign = setting.rng.choice([lambda text: setting.forger.sign(setting.key.name, text), lambda text: setting.forger.forge(setting.key, text)])
    files["checkpoint"] = sign(text_of(files["checkpoint"]))


def rewrite_checkpoint(setting, files):
    """Another size, or another root, under the old signature."""
    origin, size, root, *rest = files["checkpoint"].split(b"\n")
    if setting.rng.random() < 0.5:
        size = str(setting.rng.randrange(2 * setting.size)).encode()
    else:
        root = base64.b64encode(setting.rng.randbytes(32))
    files["checkpoint"] = b"\n".join([origin, size, root, *rest])


def older_checkpoint(setting, files):
    """True, and of another size than the tree."""
    if setting.older:
        files["checkpoint"] = setting.rng.choice(setting.older)


TREE = [
    *map(byte_change, [flip, flip, flip, truncate, extend, overwrite]),
    swap_files, swap_tiles, copy_file, remove_file, stray_file, swap_hashes, forge_leaf,
    *map(record_change, [drop_record, double_record, swap_records, change_record]),
    rebuild, resign, rewrite_checkpoint, older_checkpoint,
]


# Proofs. Each takes the setting and gives another text.


def proof_flip(setting, text):
    return flip(setting.rng, text)


def proof_truncate(setting, text):
    return truncate(setting.rng, text)


def proof_lines(setting, text):
    """Lines dropped, doubled or swapped."""
    rng, lines = setting.rng, text.split(b"\n")
    rng.choice([drop_record, double_record, swap_records])(rng, lines)
    return b"\n".join(lines)


def proof_index(setting, text):
    lines = text.split(b"\n")
    at = next(at for at, line in enumerate(lines) if line.startswith(b"index "))
    lines[at] = f"index {setting.rng.randrange(2 * setting.size)}".encode()
    return b"\n".join(lines)


def proof_hash(setting, text):
    lines = text.split(b"\n")
    at = setting.rng.choice([at for at, line in enumerate(lines[:lines.index(b"")]) if len(line) == 44])
    lines[at] = base64.b64encode(setting.rng.randbytes(32))
    return b"\n".join(lines)


def proof_resign(setting, text):
    head, note = text.split(b"\n\n", 1)
    files = {"checkpoint": note}
    setting.rng.choice([rewrite_checkpoint, older_checkpoint, lambda setting, files: files.__setitem__(
        "checkpoint", setting.forger.sign(setting.key.name, text_of(files["checkpoint"])))])(setting, files)
    return head + b"\n\n" + files["checkpoint"]


PROOF = [proof_flip, proof_flip, proof_truncate, proof_lines, proof_index, proof_hash, proof_resign]


class Setting:
    """What the changes need to know."""

    def __init__(self, asked, checkpoint):
        self.rng = random.Random(asked.seed)
        self.key = asked.key
        self.size = checkpoint.size
        self.minimum = getattr(asked, "minimum", 0)
        self.older = asked.older
        self.forger = Forger()


def load(path):
    files = Memory()
    for where, _, names in os.walk(path):
        for name in names:
            full = os.path.join(where, name)
            files[os.path.relpath(full, path)] = slurp(full)
    return files


def mutate_tree(asked):
    original = load(asked.dir)
    checkpoint = verify.verify_tree(Directory(asked.dir), asked.key, asked.minimum)
    setting = Setting(asked, checkpoint)

    def attempt(change):
        files = Memory(original)
        change(setting, files)
        return files != original and (lambda: verify.verify_tree(files, asked.key, asked.minimum))

    if asked.minimum <= 19_969 < checkpoint.size:
        yield "cve_2026_56865", attempt(lambda setting, files: forge_leaf(setting, files, 19_969))
    while True:
        change = setting.rng.choice(TREE)
        yield change.__name__, attempt(change)


def mutate_proof(asked):
    text, record = slurp(asked.file), slurp(asked.record)
    checkpoint, index = verify.verify_proof(text, record, asked.key)
    setting = Setting(asked, checkpoint)
    yield "other_record", lambda: verify.verify_proof(text, record + b" ", asked.key)
    while True:
        change = setting.rng.choice(PROOF)
        changed = change(setting, text)
        yield change.__name__, changed != text and (lambda: verify.verify_proof(changed, record, asked.key))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    tree = kinds.add_parser("tree", help="a directory of tiles")
    tree.add_argument("dir")
    tree.add_argument("--from", dest="minimum", type=int, default=0, metavar="N")
    proof = kinds.add_parser("proof", help="a .tlog-proof file")
    proof.add_argument("file")
    proof.add_argument("--record", required=True, metavar="FILE")
    for kind in (tree, proof):
        kind.add_argument("--key", required=True, metavar="VKEY", type=parse_key)
        kind.add_argument("--older", nargs="*", default=[], metavar="CHECKPOINT", type=slurp)
        kind.add_argument("--count", type=int, default=10_000)
        kind.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    refused, believed = collections.Counter(), []
    try:
        for note in asked.older:
            open_note(note, asked.key)
        for name, judge in mutate_tree(asked) if asked.kind == "tree" else mutate_proof(asked):
            if refused.total() + len(believed) == asked.count:
                break
            if judge:
                try:
                    judge()
                    believed.append(name)
                except Flaw:
                    refused[name] += 1
    except (Flaw, OSError) as flaw:
        sys.exit(f"the log itself is refused: {flaw}")
    print(f"{refused.total()} changes refused: " + ", ".join(f"{name} {many}" for name, many in sorted(refused.items())))
    if believed:
        sys.exit(f"{len(believed)} changes believed: {collections.Counter(believed)}")


if __name__ == "__main__":
    main()
