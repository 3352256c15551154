#!/usr/bin/env python3
"""Serves the forgetful disk of `storage.py` as a file system, through /dev/fuse: `fuse.py DIR`, told what to do on its input.

A process of its own: a program that waited for a file system it serves itself would wait for ever. Each line of input is a JSON
object, answered by a line of output:

    {"do": "mount"}                                    serves the disk as it is now
    {"do": "cut", "seed": 7}                           cuts the power: every call fails; the next mount shows what is left,
                                                       with the seed null nothing that was not synced
    {"do": "look"}                                     how many syncs are still to fail
    {"do": "set", "fail": 2, "delay": 0.5, "lie": 0}   the next 2 syncs fail; syncs take half a second; syncs do nothing
"""

import errno
import json
import os
import stat
import struct
import sys
import threading
import time

sys.dont_write_bytecode = True

from disk import mount
from report import Skipped
from storage import Directory, File, cut, dirty

ROOT = 1
# Longest write and read in bytes, and the buffer that holds one with its head.
LONGEST = 1 << 20
BUFFER = LONGEST + 8192
# The kernel may keep names and attributes: nobody else changes them.
KEEP = 3600
BIG_WRITES, MAX_PAGES = 1 << 5, 1 << 22
SIZE_GIVEN, MODE_GIVEN = 8, 1
# An open file: without a handle of ours, and what the kernel has cached of it is still good.
OPENED = struct.pack("=QII", 0, 2, 0)


class Failed(Exception):
    """An answer with an errno."""


def main():
    server = Server(sys.argv[1])
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = getattr(server, f"do_{order.pop('do')}")(**order)
        except Skipped as why:
            answer = {"skipped": str(why)}
        print(json.dumps(answer), flush=True)


class Server:
    """One disk, mounted and cut off again and again."""

    def __init__(self, place):
        self.place, self.lock = place, threading.Lock()
        self.disk, self.next_disk = Directory(0o700), None
        self.fail, self.delay, self.lie = 0, 0.0, False

    # Orders

    def do_mount(self):
        self.disk, self.next_disk = self.next_disk or self.disk, None
        self.nodes, self.ids = {ROOT: self.disk}, {self.disk: ROOT}
        self.fail, self.delay, self.lie = 0, 0.0, False
        self.device = os.open("/dev/fuse", os.O_RDWR)
        options = f"fd={self.device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
        mount("kt-crash", self.place, "fuse.kt-crash", options)
        threading.Thread(target=self.serve, args=(self.device,), daemon=True).start()
        return {}

    def do_cut(self, seed):
        with self.lock:
            unsynced = dirty(self.disk)
            self.next_disk = cut(self.disk, seed)
        return {"unsynced": unsynced}

    def do_set(self, fail=0, delay=0.0, lie=False):
        with self.lock:
            self.fail, self.delay, self.lie = fail, delay, lie
        return {}

    def do_look(self):
        return {"fail": self.fail}

    # The kernel's requests

    def serve(self, device):
        """Until the file system is unmounted."""
        while True:
            try:
                request = memoryview(os.read(device, BUFFER))
            except OSError as error:
                if error.errno in (errno.EINTR, errno.ENOENT, errno.EAGAIN):
                    continue
                os.close(device)
                return
            _, opcode, unique, node = struct.unpack_from("=IIQQ", request)
            call = CALLS.get(opcode, Server.missing)
            if call is Server.forget:
                continue  # The one request without an answer.
            try:
                if call in (Server.fsync, Server.fsyncdir):
                    time.sleep(self.delay)
                with self.lock:
                    if self.next_disk is not None:
                        raise Failed(errno.EIO)
                    answer = call(self, node, request[40:])
                head = struct.pack("=IiQ", 16 + len(answer), 0, unique)
            except Failed as why:
                head, answer = struct.pack("=IiQ", 16, -why.args[0], unique), b""
            try:
                os.write(device, head + answer)
            except OSError:
                pass  # Whoever asked was killed.

    def missing(self, *_):
        raise Failed(errno.ENOSYS)

    def init(self, _, request):
        major, _, ahead = struct.unpack_from("=III", request)
        flags = BIG_WRITES | MAX_PAGES
        return struct.pack("=IIIIHHIIHHI28x", major, 31, ahead, flags, 16, 12, LONGEST, 1, LONGEST // 4096, 0, 0)

    def forget(self, _, __):
        """Nodes stay known until the next mount."""

    def lookup(self, parent, request):
        node = self.directory(parent).live.get(name_in(request))
        if node is None:
            raise Failed(errno.ENOENT)
        return self.entry(node)

    def getattr(self, node, _):
        return struct.pack("=QII", KEEP, 0, 0) + self.attributes(self.nodes[node])

    def setattr(self, node, request):
        valid, _, _, size = struct.unpack_from("=IIQQ", request)
        (mode,) = struct.unpack_from("=I", request, 68)
        if valid & SIZE_GIVEN:
            self.file(node).resize(size)
        if valid & MODE_GIVEN:
            self.nodes[node].mode = stat.S_IMODE(mode)
        return self.getattr(node, None)

    def mkdir(self, parent, request):
        (mode,) = struct.unpack_from("=I", request)
        return self.entry(self.add(parent, name_in(request[8:]), Directory(stat.S_IMODE(mode))))

    def create(self, parent, request):
        _, mode = struct.unpack_from("=II", request)
        return self.entry(self.add(parent, name_in(request[16:]), File(stat.S_IMODE(mode)))) + OPENED

    def unlink(self, parent, request):
        self.directory(parent).change({name_in(request): None})
        return b""

    def rmdir(self, parent, request):
        if self.directory(parent).live[name_in(request)].live:
            raise Failed(errno.ENOTEMPTY)
        return self.unlink(parent, request)

    def rename(self, parent, request, skip=8):
        (target,) = struct.unpack_from("=Q", request)
        old, new = bytes(request[skip:]).split(b"\0")[:2]
        node = self.directory(parent).live.get(old)
        if node is None:
            raise Failed(errno.ENOENT)
        if target == parent:
            self.directory(parent).change({old: None, new: node})
        else:
            self.directory(target).change({new: node})
            self.directory(parent).change({old: None})
        return b""

    def rename2(self, parent, request):
        if struct.unpack_from("=QI", request)[1] & ~1:
            raise Failed(errno.EINVAL)
        return self.rename(parent, request, skip=16)

    def link(self, parent, request):
        (old,) = struct.unpack_from("=Q", request)
        return self.entry(self.add(parent, name_in(request[8:]), self.file(old)))

    def open(self, *_):
        return OPENED

    def read(self, node, request):
        _, offset, size = struct.unpack_from("=QQI", request)
        return bytes(self.file(node).live[offset : offset + size])

    def write(self, node, request):
        _, offset, size = struct.unpack_from("=QQI", request)
        self.file(node).write(offset, request[40 : 40 + size])
        return struct.pack("=II", size, 0)

    def fallocate(self, node, request):
        _, offset, length, mode = struct.unpack_from("=QQQI", request)
        if mode & ~1:
            raise Failed(errno.EOPNOTSUPP)
        file = self.file(node)
        if not mode and len(file.live) < offset + length:
            file.resize(offset + length)
        return b""

    def fsync(self, node, _):
        if self.fail:
            self.fail -= 1
            self.nodes[node].forget()
            raise Failed(errno.EIO)
        if not self.lie:
            self.nodes[node].sync()
        return b""

    fsyncdir = fsync

    def readdir(self, node, request):
        _, offset, size = struct.unpack_from("=QQI", request)
        out = b""
        for place, (name, child) in enumerate(sorted(self.directory(node).live.items())):
            kind = 4 if isinstance(child, Directory) else 8
            line = struct.pack("=QQII", self.id(child), place + 1, len(name), kind) + name
            line += bytes(-len(line) % 8)
            if place >= offset and len(out) + len(line) <= size:
                out += line
            elif place >= offset:
                break
        return out

    def statfs(self, _, __):
        blocks = 1 << 30
        return struct.pack("=QQQQQIIII24x", blocks, blocks, blocks, blocks, blocks, 4096, 255, 4096, 0)

    def nothing(self, _, __):
        return b""

    # Nodes

    def directory(self, node):
        found = self.nodes[node]
        if not isinstance(found, Directory):
            raise Failed(errno.ENOTDIR)
        return found

    def file(self, node):
        found = self.nodes[node]
        if not isinstance(found, File):
            raise Failed(errno.EISDIR)
        return found

    def add(self, parent, name, node):
        self.directory(parent).change({name: node})
        return node

    def id(self, node):
        if node not in self.ids:
            self.ids[node] = len(self.ids) + 1
            self.nodes[self.ids[node]] = node
        return self.ids[node]

    def entry(self, node):
        return struct.pack("=QQQQII", self.id(node), 0, KEEP, KEEP, 0, 0) + self.attributes(node)

    def attributes(self, node):
        kind, size, links = (stat.S_IFDIR, 4096, 2) if isinstance(node, Directory) else (stat.S_IFREG, len(node.live), 1)
        when = int(node.mtime)
        owner = (os.getuid(), os.getgid())
        return struct.pack("=QQQQQQIIIIIIIIII", self.id(node), size, (size + 511) // 512, when, when, when, 0, 0, 0,
                           kind | node.mode, links, *owner, 0, 4096, 0)


def name_in(request):
    return bytes(request).split(b"\0")[0]


# Opcodes of the protocol (linux/fuse.h); what is missing is answered ENOSYS, and the kernel does without.
CALLS = {
    1: Server.lookup, 2: Server.forget, 3: Server.getattr, 4: Server.setattr, 9: Server.mkdir, 10: Server.unlink,
    11: Server.rmdir, 12: Server.rename, 13: Server.link, 14: Server.open, 15: Server.read, 16: Server.write,
    17: Server.statfs, 18: Server.nothing, 20: Server.fsync, 25: Server.nothing, 26: Server.init, 27: Server.open,
    28: Server.readdir, 29: Server.nothing, 30: Server.fsyncdir, 35: Server.create, 36: Server.forget, 38: Server.nothing,
    42: Server.forget, 43: Server.fallocate, 45: Server.rename2,
}

if __name__ == "__main__":
    main()
