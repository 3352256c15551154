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
from changes import PROOF, TREE, forge_leaf
from verify import Directory, Flaw, open_note, parse_key, slurp

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
