"""Power cuts of a disk that keeps nothing but what was synced, and of what was not an arbitrary part."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from disk import need_root, unmount
from gateway import Gateway
from ledger import Ledger
from load import HEAVY, USUAL, Load
from report import Skipped

CUTS_PER_LOG = 20
SERVER = Path(__file__).with_name("fuse.py")


def forgetful_cuts(lab, trial, cuts):
    """So many power cuts, kills between them, and failing syncs before some."""
    for first in range(0, cuts, CUTS_PER_LOG):
        kinds = HEAVY if first // CUTS_PER_LOG % 2 else USUAL
        with Forgetting(lab, trial, f"forgetful-{first}", kinds) as log:
            for _ in range(min(CUTS_PER_LOG, cuts - first)):
                log.crash()


def control(lab, trial, cuts):
    """Syncs that do nothing must lose records here too."""
    trial.is_control = True
    with Forgetting(lab, trial, "forgetful-control", USUAL) as log:
        log.crash(moment="under load")
        if trial.lost:
            trial.fail("something was lost before a sync was left out")
        for _ in range(cuts):
            log.crash(moment="under load", faults={"lie": True})
    if not trial.lost:
        trial.fail("no sync was honoured and nothing was lost: these power cuts are none")


class Forgetting:
    """One log on one forgetful disk, inside a `with`."""

    def __init__(self, lab, trial, name, kinds):
        self.lab, self.trial, self.name, self.kinds = lab, trial, name, kinds
        self.random = random.Random(f"{lab.seed} {name}")
        self.ledger, self.crashes = Ledger(), 0
        self.start_takes = 0.5

    def __enter__(self):
        self.stack = self.lab.stack()
        place = self.stack.enter_context(self.lab.place(self.name))
        self.load = self.stack.enter_context(Load(f"{self.lab.seed}-{self.name}"))
        self.disk = self.stack.enter_context(ForgetfulDisk(place / "disk"))
        self.gateway = Gateway(self.lab.kt, place / "kt", self.load.url, audit=self.disk.root / "audit")
        self.stack.callback(self.gateway.kill)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def crash(self, moment=None, faults=None):
        """Load, a crash, and a look at what is left."""
        cuts_power = moment is not None or self.random.random() < 0.8
        moment = moment or self.random.choices(["under load", "during start-up", "during a stop"], [6, 3, 1])[0]
        self.gateway.launch()
        self.load.begin(self.gateway.port, self.kinds)
        began = time.monotonic()
        if moment == "during start-up":
            time.sleep(self.random.random() * 1.2 * self.start_takes)
        elif not self.gateway.is_up():
            self.trial.fail(f"the gateway does not start after {self.crashes} crashes:\n{self.gateway.said()}")
        else:
            self.start_takes = time.monotonic() - began
            faults = self.misbehave(faults)
            time.sleep(0.05 + self.random.random() * 0.3)
            if "fail" in faults and (said := self.load.one(self.gateway.port)) != "200":
                self.trial.fail(f"one sync failed, and afterwards the gateway says {said}:\n{self.gateway.said()}")
        if moment == "during a stop":
            self.gateway.ask_to_stop()
            time.sleep(self.random.random() * 0.8)
        if cuts_power:
            self.cut(moment)
        else:
            self.trial.count(f"kill {moment}")
            self.gateway.kill()
        self.load.end()
        self.trial.take(self.ledger, self.load.new_book())
        self.look(cuts_power)

    def misbehave(self, faults):
        """Some disks fail before they forget: a sync fails and has forgotten what it was to write, or syncs are slow."""
        if faults is None:
            faults = self.random.choices([{}, {"fail": 1}, {"delay": 0.05}], [6, 2, 1])[0]
            for what in faults:
                self.trial.count({"fail": "failed sync", "delay": "slow syncs"}[what])
        self.disk.order("set", **faults)
        return faults

    def cut(self, moment):
        self.trial.count(f"power cut {moment}")
        unsynced = self.disk.order("cut", seed=self.random.randrange(1 << 30))["unsynced"]
        if unsynced:
            self.trial.note("some power cuts found unsynced bytes or names")
        # A disk that is gone acknowledges nothing.
        time.sleep(self.random.random() * 0.05)
        self.gateway.kill()
        self.disk.unmount()
        self.disk.mount()

    def look(self, was_cut):
        self.crashes += 1
        self.disk.order("set")
        self.gateway.start()
        after = f"{self.name} after {self.crashes} crashes, the last a {'power cut' if was_cut else 'kill'}"
        self.trial.judge(self.ledger, self.gateway, after)
        self.gateway.kill()


class ForgetfulDisk:
    """The disk of `fuse.py`, mounted inside a `with`."""

    def __init__(self, root):
        self.root, self.server = root, None

    def __enter__(self):
        need_root()
        if not os.access("/dev/fuse", os.R_OK | os.W_OK):
            raise Skipped("there is no /dev/fuse here")
        self.root.mkdir()
        self.server = subprocess.Popen([sys.executable, SERVER, self.root], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
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
