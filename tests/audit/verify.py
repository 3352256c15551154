#!/usr/bin/env python3
"""Verifies an audit log in the C2SP tlog-tiles form, and C2SP tlog-proof files, with nothing of the gateway's.

Python's standard library hashes; `openssl pkeyutl` checks signatures. A tree is read from the top down: the signed root vouches
for the tiles at the right edge, each hash in a tile for the tile below it, and those of level 0 for the records. A file that
nothing vouches for is a flaw too.

    verify.py tree DIR --key VKEY [--from N]
    verify.py proof FILE --record FILE --key VKEY

VKEY is the key of the log (`name+hash+base64`), or a file that holds it. Take it from elsewhere, not from the directory: what is
verified is worth what the key is worth. `--from N` is for a log that gave up the records before N.
"""

import argparse
import base64
import binascii
import hashlib
import os
import re
import subprocess
import sys
import tempfile
from functools import lru_cache
from typing import NamedTuple

WIDTH = 256
MAX_NOTE = 64 * 1024
MAX_BUNDLE = WIDTH * (2 + 65_535)
# An Ed25519 public key in DER, up to its 32 bytes (RFC 8410).
SPKI_HEAD = bytes.fromhex("302a300506032b6570032100")


class Flaw(Exception):
    """Why the log, or the proof, is not to be believed."""


# Hashes (RFC 6962, 2.1)


def leaf_hash(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def root_of(hashes):
    """The root over some hashes that stand side by side, at least one."""
    if len(hashes) == 1:
        return hashes[0]
    middle = 1 << ((len(hashes) - 1).bit_length() - 1)
    return node_hash(root_of(hashes[:middle]), root_of(hashes[middle:]))


def peaks_of(hashes):
    """The roots of the largest full subtrees over some hashes, left to right."""
    peaks = []
    while hashes:
        full = 1 << (len(hashes).bit_length() - 1)
        peaks.append(root_of(hashes[:full]))
        hashes = hashes[full:]
    return peaks


# Signed notes and checkpoints


class Key(NamedTuple):
    name: str
    id: bytes
    public: bytes
    vkey: str


class Checkpoint(NamedTuple):
    origin: str
    size: int
    root: bytes


def parse_key(vkey):
    try:
        name, digest, key = vkey.split("+", 2)
        key = unbase64(key)
    except ValueError:
        raise Flaw("not a verifier key") from None
    expected = hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]
    if not is_name(name) or len(key) != 33 or key[0] != 1 or digest != expected.hex():
        raise Flaw("not a verifier key of an Ed25519 key")
    return Key(name, expected, key[1:], vkey)


def is_name(name):
    return bool(name) and not re.search(r"[\s+\x00-\x1f\x7f]", name)


def open_note(note, key):
    """The checkpoint that a note holds, if the key signed it."""
    if len(note) > MAX_NOTE:
        raise Flaw("the checkpoint is too long")
    try:
        note = note.decode()
    except UnicodeDecodeError:
        raise Flaw("the checkpoint is not text") from None
    text, blank, signatures = note.removesuffix("\n").rpartition("\n\n")
    if re.search(r"[\x00-\x09\x0b-\x1f]", note) or not note.endswith("\n") or not blank:
        raise Flaw("the checkpoint is not a signed note")
    text += "\n"
    signed = False
    for line in signatures.split("\n"):
        dash, _, rest = line.partition(" ")
        name, _, signature = rest.partition(" ")
        try:
            signature = unbase64(signature)
        except ValueError:
            raise Flaw("the checkpoint has a malformed signature line") from None
        if dash != "—" or not name or len(signature) < 5:
            raise Flaw("the checkpoint has a malformed signature line")
        if (name, signature[:4]) == (key.name, key.id):
            if not openssl_verifies(key.public, text.encode(), signature[4:]):
                raise Flaw("the checkpoint's signature does not verify")
            if signed:
                raise Flaw("the checkpoint is signed twice")
            signed = True
    if not signed:
        raise Flaw("the checkpoint is not signed by this key")
    checkpoint = parse_checkpoint(text)
    if checkpoint.origin != key.name:
        raise Flaw("the checkpoint is of another log")
    return checkpoint


def parse_checkpoint(text):
    lines = text[:-1].split("\n")
    if len(lines) < 3 or not all(lines):
        raise Flaw("not a checkpoint")
    try:
        return Checkpoint(lines[0], decimal(lines[1]), unbase64_hash(lines[2]))
    except ValueError:
        raise Flaw("not a checkpoint") from None


@lru_cache(maxsize=1024)
def openssl_verifies(public, message, signature):
    with tempfile.TemporaryDirectory() as scratch:
        paths = [os.path.join(scratch, name) for name in ("key", "message", "signature")]
        for path, content in zip(paths, (SPKI_HEAD + public, message, signature)):
            with open(path, "wb") as file:
                file.write(content)
        command = ["openssl", "pkeyutl", "-verify", "-rawin", "-pubin", "-keyform", "DER", "-inkey", paths[0]]
        done = subprocess.run([*command, "-in", paths[1], "-sigfile", paths[2]], capture_output=True, check=False)
        return done.returncode == 0


def unbase64(text):
    """Base64 with padding, in the one form that encodes the bytes."""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise ValueError("not canonical base64")
    return data


def unbase64_hash(text):
    data = unbase64(text)
    if len(data) != 32:
        raise ValueError("not a hash")
    return data


def decimal(text):
    if not re.fullmatch(r"0|[1-9][0-9]*", text, re.ASCII) or int(text) >= 1 << 64:
        raise ValueError("not a number")
    return int(text)


# Trees


class Directory:
    """The files of a tree. Another one only needs these two."""

    def __init__(self, path):
        self.path = path

    def read(self, name, most):
        """At most one byte more than `most`; None when there is no such file."""
        try:
            with open(os.path.join(self.path, name), "rb") as file:
                return file.read(most + 1)
        except FileNotFoundError:
            return None

    def names(self):
        """All files below `tile/`."""
        for where, dirs, files in os.walk(os.path.join(self.path, "tile")):
            # A link to a directory is not walked into, and is no part of a tree.
            for name in files + [name for name in dirs if os.path.islink(os.path.join(where, name))]:
                yield os.path.relpath(os.path.join(where, name), self.path)


def tile_name(row, index, width):
    digits = str(index)
    digits = digits.zfill((len(digits) + 2) // 3 * 3)
    groups = [digits[at:at + 3] for at in range(0, len(digits), 3)]
    place = "/".join(["x" + group for group in groups[:-1]] + groups[-1:])
    return f"tile/{row}/{place}" + (f".p/{width}" if width < WIDTH else "")


@lru_cache(maxsize=4)
def split_tile(content):
    return tuple(content[at:at + 32] for at in range(0, len(content), 32))


@lru_cache(maxsize=4)
def tile_root(content):
    return root_of(split_tile(content))


@lru_cache(maxsize=4)
def bundle_leaves(content):
    """The leaf hashes of the records in a bundle; an empty one stands for the rest of a bundle that ends too early."""
    leaves, at = [], 0
    while at < len(content):
        end = at + 2 + int.from_bytes(content[at:at + 2], "big")
        if at + 2 > len(content) or end > len(content):
            return (*leaves, b"")
        leaves.append(leaf_hash(content[at + 2:end]))
        at = end
    return tuple(leaves)


class Tree:
    """One pass over a tree, from the top down."""

    def __init__(self, files, size, minimum):
        self.files, self.size, self.minimum = files, size, minimum
        self.vouched = set()

    def verify(self, root):
        rows, levels = [], max(1, (self.size.bit_length() + 7) // 8)
        for level in reversed(range(levels)):
            items = self.size >> 8 * level
            content = self.tile(level, items // WIDTH, items % WIDTH) if items % WIDTH else b""
            rows.append((level, items // WIDTH, content))
        peaks = [peak for _, _, content in rows for peak in peaks_of(split_tile(content))]
        computed = peaks.pop() if peaks else hashlib.sha256(b"").digest()
        while peaks:
            computed = node_hash(peaks.pop(), computed)
        if computed != root:
            raise Flaw("the tiles at the right edge do not lead to the signed root")
        for level, index, content in rows:
            self.below(level, index, content)
        for name in self.files.names():
            if name not in self.vouched:
                raise Flaw(f"{name}: nothing vouches for it")

    def below(self, level, index, content):
        """Checks what the hashes of a vouched tile stand for."""
        if level == 0:
            if content and self.kept(0, index):
                self.bundle(index, split_tile(content))
            return
        for item, expected in enumerate(split_tile(content), index * WIDTH):
            if self.kept(level - 1, item):
                tile = self.tile(level - 1, item, WIDTH)
                if tile_root(tile) != expected:
                    first = item << 8 * level
                    raise Flaw(f"{tile_name(level - 1, item, WIDTH)}: not what the level above holds (from record {first})")
                self.below(level - 1, item, tile)

    def bundle(self, index, hashes):
        name = tile_name("entries", index, len(hashes))
        leaves = bundle_leaves(self.read(name, MAX_BUNDLE))
        for item, (leaf, expected) in enumerate(zip(leaves, hashes)):
            if leaf != expected:
                raise Flaw(f"{name}: record {index * WIDTH + item} is not the one in the tree")
        if len(leaves) != len(hashes):
            raise Flaw(f"{name}: {len(leaves)} records and not {len(hashes)}")

    def tile(self, level, index, width):
        name = tile_name(level, index, width)
        content = self.read(name, 32 * width)
        if len(content) != 32 * width:
            raise Flaw(f"{name}: not {width} hashes long")
        return content

    def read(self, name, most):
        content = self.files.read(name, most)
        if content is None:
            raise Flaw(f"{name}: missing")
        if len(content) > most:
            raise Flaw(f"{name}: too long")
        self.vouched.add(name)
        return content

    def kept(self, level, index):
        """Whether a full tile must be there: all are but those that end at or before the minimum."""
        return (index + 1) << 8 * (level + 1) > self.minimum


def verify_tree(files, key, minimum=0):
    """The signed head of a tree of which everything from `minimum` on is there, and is as it was signed."""
    note = files.read("checkpoint", MAX_NOTE)
    if note is None:
        raise Flaw("checkpoint: missing")
    checkpoint = open_note(note, key)
    beside = files.read("key.pub", MAX_NOTE)
    if beside is not None and beside != key.vkey.encode() + b"\n":
        raise Flaw("key.pub: another key")
    if minimum > checkpoint.size:
        raise Flaw(f"the tree ends with {checkpoint.size} records, before record {minimum}")
    Tree(files, checkpoint.size, minimum).verify(checkpoint.root)
    return checkpoint


# Proofs


def verify_proof(text, record, key):
    """The signed head of the log that a record is in, and its place, as a tlog-proof shows."""
    head, blank, note = text.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
        if not blank or lines.pop(0) != "c2sp.org/tlog-proof@v1":
            raise ValueError
        if lines and lines[0].startswith("extra "):
            unbase64(lines.pop(0)[len("extra "):])
        if not lines or not lines[0].startswith("index "):
            raise ValueError
        index = decimal(lines.pop(0)[len("index "):])
        hashes = [unbase64_hash(line) for line in lines]
    except ValueError:
        raise Flaw("not a tlog-proof") from None
    checkpoint = open_note(note, key)
    if index >= checkpoint.size:
        raise Flaw(f"record {index} is beyond the {checkpoint.size} of the log")
    if climb(leaf_hash(record), index, checkpoint.size, hashes) != checkpoint.root:
        raise Flaw(f"record {index} is not the one in the log")
    return checkpoint, index


def climb(leaf, index, size, hashes):
    """The root that a path leads to, by the definition read backwards; None when it is not as long as the place needs."""
    if size == 1:
        return leaf if not hashes else None
    if not hashes:
        return None
    middle = 1 << ((size - 1).bit_length() - 1)
    *below, sibling = hashes
    if index < middle:
        inner = climb(leaf, index, middle, below)
        return inner and node_hash(inner, sibling)
    inner = climb(leaf, index - middle, size - middle, below)
    return inner and node_hash(sibling, inner)


# The program


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    tree = kinds.add_parser("tree", help="a directory of tiles")
    tree.add_argument("dir")
    tree.add_argument("--from", dest="minimum", type=int, default=0, metavar="N", help="the first record that must be there")
    proof = kinds.add_parser("proof", help="a .tlog-proof file")
    proof.add_argument("file")
    proof.add_argument("--record", required=True, metavar="FILE", help="the record it is about, byte by byte")
    for kind in (tree, proof):
        kind.add_argument("--key", required=True, metavar="VKEY", help="the log's key, or a file that holds it")
    asked = parser.parse_args()
    try:
        key = parse_key(slurp(asked.key).decode().strip() if os.path.exists(asked.key) else asked.key)
        if asked.kind == "tree":
            checkpoint = verify_tree(Directory(asked.dir), key, asked.minimum)
            print(f"{checkpoint.origin}: records {asked.minimum} to {checkpoint.size} are as they were signed")
        else:
            checkpoint, index = verify_proof(slurp(asked.file), slurp(asked.record), key)
            print(f"{checkpoint.origin}: this is record {index} of {checkpoint.size}")
    except (Flaw, OSError) as flaw:
        sys.exit(f"refused: {flaw}")


def slurp(path):
    with open(path, "rb") as file:
        return file.read()


if __name__ == "__main__":
    main()
