"""Power cuts of a disk that keeps nothing but what was synced, and of what was not an arbitrary part."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from crashes import Crashes, Moment, in_logs
from disk import need_root, unmount
from report import Skipped

CRASHES_PER_LOG = 20
# A disk may write all by itself what nobody synced; not so often.
CONTROLS = 5
# How long the gateway may take to write elsewhere what one sync did not.
RECOVER_WITHIN = 20
SERVER = Path(__file__).with_name("fuse.py")


def forgetful_cuts(lab, report, crashes):
    """So many power cuts and kills, with syncs that fail before some; then, with syncs that do nothing, those that must lose."""
    with lab.stack() as stack:
        log = None
        with report.trial("a disk that forgets", "What was synced is enough, and every sync that matters is made.") as trial:
            def new(number, heavy):
                return Forgetting(lab, trial, f"forgetful-{number}", heavy)

            for log in in_logs(stack, new, crashes, CRASHES_PER_LOG):
                log.crash()
        with report.control("control of a disk that forgets", "Without syncs it loses acknowledged records.") as trial:
            if log is None:
                raise Skipped("there were no power cuts")
            log.trial = trial
            for _ in range(CONTROLS):
                log.strike(log.power_cut, Moment.LOAD, prepare=log.lie, look=False)
                log.look()
                if trial.noticed:
                    break


def first_cut(lab, report):
    """A gateway makes its audit directory itself, and the first power cut leaves nothing that it did not sync."""
    with report.trial("a new log on a disk that forgets", "Its directories last as long as what is in them.") as trial:
        with Forgetting(lab, trial, "forgetful-new", makes_directory=False) as log:
            log.strike(log.worst_power_cut, Moment.LOAD)
            log.look()


class Forgetting(Crashes):
    """One log on one forgetful disk, inside a `with`."""

    def __init__(self, lab, trial, name, heavy=False, makes_directory=True):
        super().__init__(lab, trial, name, heavy)
        self.makes_directory = makes_directory

    def root(self, place):
        self.disk = self.stack.enter_context(ForgetfulDisk(place / "disk"))
        if self.makes_directory:
            (self.disk.root / "audit").mkdir(mode=0o700)
            self.disk.sync_names()
        return self.disk.root

    def crash(self):
        """Some disks fail before they forget: a sync fails and has forgotten what it was to write, or syncs are slow."""
        bad = self.random.choices([None, self.fail_a_sync, self.slow_syncs], [6, 2, 1])[0]
        if bad == self.fail_a_sync:
            self.strike(self.power_cut, Moment.LOAD, prepare=bad)
        else:
            self.strike(self.power_cut if self.random.random() < 0.8 else self.gateway.kill, prepare=bad)

    def power_cut(self):
        self.cut_power(self.random.randrange(1 << 30))

    def worst_power_cut(self):
        self.cut_power(None)

    def cut_power(self, seed):
        unsynced = self.disk.order("cut", seed=seed)["unsynced"]
        if unsynced:
            self.trial.note("some power cuts found unsynced bytes or names")
        # A disk that is gone acknowledges nothing.
        time.sleep(self.random.random() * 0.05)
        self.gateway.kill()
        self.disk.unmount()
        self.disk.mount()

    def fail_a_sync(self):
        self.trial.count("failed syncs")
        self.disk.order("set", fail=1)
        deadline = time.monotonic() + RECOVER_WITHIN
        while self.disk.order("look")["fail"] and time.monotonic() < deadline:
            time.sleep(0.01)
        while (said := self.load.one(self.gateway.port)) != "200" and time.monotonic() < deadline:
            time.sleep(0.1)
        if said != "200":
            self.trial.fail(f"one sync failed, and afterwards the gateway says {said}:\n{self.gateway.said()}")

    def slow_syncs(self):
        self.trial.count("slow disks")
        self.disk.order("set", delay=0.05)

    def lie(self):
        self.disk.order("set", lie=True)


class ForgetfulDisk:
    """The disk of `fuse.py`, mounted inside a `with`."""

    def __init__(self, root):
        self.root, self.server = root, None

    def __enter__(self):
        need_root()
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Skipped("there is no /dev/fuse here")
        self.root.mkdir()
        command = [sys.executable, SERVER, self.root]
        self.server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            self.mount()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.root.is_mount():
            self.unmount()
        self.server.stdin.close()
        self.server.wait()

    def mount(self):
        self.order("mount")

    def sync_names(self):
        """Makes the names in the root last."""
        root = os.open(self.root, os.O_RDONLY)
        os.fsync(root)
        os.close(root)

    def unmount(self):
        unmount(self.root)

    def order(self, what, **more):
        """Tells the disk something; its answer."""
        self.server.stdin.write(json.dumps({"do": what, **more}) + "\n")
        self.server.stdin.flush()
        line = self.server.stdout.readline()
        if not line:
            raise OSError("the forgetful disk has died")
        answer = json.loads(line)
        if "skipped" in answer:
            raise Skipped(answer["skipped"])
        return answer
