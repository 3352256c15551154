"""Power cuts of a real file system, and the control that shows they would be noticed."""

import random
import sys
import time
from pathlib import Path

from disk import LOG_FLUSH, NO_LOG_FLUSH, Disk
from gateway import Gateway
from ledger import Ledger
from load import HEAVY, USUAL, Load

# A segment being written, the next one, what was cut off, and room.
DISK_MEGABYTES = 512
CUTS_PER_LOG = 20
NOSYNC = [sys.executable, Path(__file__).with_name("nosync.py")]


def power_cuts(lab, trial, kind, cuts):
    """So many cuts of a file system; each loses nothing."""
    for first in range(0, cuts, CUTS_PER_LOG):
        kinds = HEAVY if first // CUTS_PER_LOG % 2 else USUAL
        with PowerCuts(lab, trial, kind, f"{kind}-{first}", kinds) as log:
            for _ in range(min(CUTS_PER_LOG, cuts - first)):
                log.cut()


def control(lab, trial, kind, cuts):
    """The same with syncs that do nothing: a lab that loses nothing then is blind."""
    trial.is_control = True
    with PowerCuts(lab, trial, kind, f"{kind}-control", USUAL) as log:
        # The log itself is begun honestly: only what is acknowledged later is at stake.
        log.cut()
        if trial.lost:
            trial.fail("something was lost before a sync was left out")
        for _ in range(cuts):
            log.cut(before=NOSYNC, under_load=True)
    if not trial.lost:
        trial.fail("no sync reached the disk and nothing was lost: these power cuts are none")


class PowerCuts:
    """One log on one file system, inside a `with`."""

    def __init__(self, lab, trial, kind, name, kinds):
        self.lab, self.trial, self.kind, self.name, self.kinds = lab, trial, kind, name, kinds
        self.random = random.Random(f"{lab.seed} {name}")
        self.ledger, self.cuts = Ledger(), 0
        self.start_takes = 0.5

    def __enter__(self):
        self.stack = self.lab.stack()
        place = self.stack.enter_context(self.lab.place(self.name))
        self.load = self.stack.enter_context(Load(f"{self.lab.seed}-{self.name}"))
        self.disk = self.stack.enter_context(Disk(place, self.kind, DISK_MEGABYTES))
        self.gateway = Gateway(self.lab.kt, place / "kt", self.load.url, audit=self.disk.root / "audit")
        self.stack.callback(self.gateway.kill)
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def cut(self, before=(), under_load=False):
        """Load, a power cut, power again, and a look at what is left."""
        began = time.monotonic()
        self.gateway.launch(before)
        self.load.begin(self.gateway.port, self.kinds)
        if not under_load and self.random.random() < 0.2:
            self.trial.count("during start-up")
            time.sleep(self.random.random() * 1.2 * self.start_takes)
        elif self.gateway.is_up():
            self.start_takes = time.monotonic() - began
            self.trial.count("under load")
            time.sleep(0.05 + self.random.random() * 0.3)
        else:
            self.trial.fail(f"the gateway does not start after {self.cuts} power cuts:\n{self.gateway.said()}")
        self.disk.cut_power(self.random.choice([LOG_FLUSH, NO_LOG_FLUSH, NO_LOG_FLUSH]))
        # A disk that is gone acknowledges nothing: whoever still gets an answer must find its record.
        time.sleep(self.random.random() * 0.1)
        self.gateway.kill()
        self.load.end()
        self.trial.take(self.ledger, self.load.new_book())
        self.disk.power_on()
        self.cuts += 1
        self.gateway.start()
        self.trial.judge(self.ledger, self.gateway, f"{self.name} after {self.cuts} power cuts")
        self.gateway.kill()
