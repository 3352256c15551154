"""Disks to cut the power of: a file with a real file system in it, mounted through a loop device, and its shutdown ioctl."""

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import time
from pathlib import Path

from report import Skipped

# XFS_IOC_GOINGDOWN, and EXT4_IOC_SHUTDOWN is the same number: from then on nothing reaches the disk.
GOING_DOWN = 0x8004587D
# Whether the journal is written out first; a power cut asks nobody.
LOG_FLUSH, NO_LOG_FLUSH = 1, 2

MAKE = {
    "ext4": ["mkfs.ext4", "-q", "-F"],
    "xfs": ["mkfs.xfs", "-q", "-f"],
}
# Debian's packages of these commands.
PACKAGES = {"mkfs.ext4": "e2fsprogs", "mkfs.xfs": "xfsprogs", "strace": "strace"}

libc = ctypes.CDLL(None, use_errno=True)


class Disk:
    """A file system of its own, inside a `with`."""

    def __init__(self, place, kind, megabytes):
        need(MAKE[kind][0])
        self.kind, self.image, self.root = kind, Path(place) / f"{kind}.img", Path(place) / f"{kind}.mnt"
        self.megabytes = megabytes

    def __enter__(self):
        need_root()
        with open(self.image, "wb") as image:
            image.truncate(self.megabytes << 20)
        subprocess.run([*MAKE[self.kind], self.image], check=True, capture_output=True)
        self.root.mkdir()
        self.mount()
        return self

    def __exit__(self, *_):
        if self.root.is_mount():
            self.unmount()
        self.image.unlink()

    def mount(self):
        done = subprocess.run(["mount", "-o", "loop", self.image, self.root], capture_output=True, text=True)
        if done.returncode:
            raise Skipped(f"{self.kind} in a file cannot be mounted here: {done.stderr.strip()}")

    def cut_power(self, flush=NO_LOG_FLUSH):
        """What is not on the disk by now will never be."""
        root = os.open(self.root, os.O_RDONLY)
        try:
            fcntl.ioctl(root, GOING_DOWN, struct.pack("I", flush))
        finally:
            os.close(root)

    def unmount(self):
        unmount(self.root)

    def power_on(self):
        """Mounts what is left; the file system replays its journal."""
        self.unmount()
        self.mount()


class Tmpfs:
    """A small file system in memory, inside a `with`."""

    def __init__(self, place, megabytes):
        self.root, self.megabytes = Path(place) / "tmpfs", megabytes

    def __enter__(self):
        need_root()
        self.root.mkdir()
        mount("tmpfs", self.root, "tmpfs", f"size={self.megabytes}m,mode=700")
        return self

    def __exit__(self, *_):
        unmount(self.root)


def mount(source, root, kind, options):
    """mount(2)."""
    if libc.mount(source.encode(), os.fsencode(root), kind.encode(), 0, options.encode()):
        raise Skipped(f"{kind} cannot be mounted here: {os.strerror(ctypes.get_errno())}")


def unmount(root):
    """Whoever was killed a moment ago may still hold it."""
    deadline = time.monotonic() + 20
    while libc.umount2(os.fsencode(root), 0):
        if time.monotonic() > deadline:
            raise OSError(ctypes.get_errno(), f"{root} cannot be unmounted: {os.strerror(ctypes.get_errno())}")
        time.sleep(0.02)


def need_root():
    if os.geteuid():
        raise Skipped("mounting file systems needs root")


def need(command):
    """Makes sure of a command, installing it where that is possible."""
    if shutil.which(command):
        return
    if os.geteuid() == 0 and shutil.which("apt-get"):
        for step in (["update"], ["install", "--yes", "--no-install-recommends", PACKAGES[command]]):
            environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
            subprocess.run(["apt-get", "-qq", *step], env=environment, capture_output=True)
    if not shutil.which(command):
        raise Skipped(f"{command} is not there and could not be installed")
