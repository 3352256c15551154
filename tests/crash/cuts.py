"""Power cuts of a real file system, and the control that shows they would be noticed."""

import sys
import time
from pathlib import Path

from crashes import Crashes, Moment, in_logs
from disk import LOG_FLUSH, NO_LOG_FLUSH, Disk
from report import Skipped

# A segment being written, the next one, what was cut off, and room.
DISK_MEGABYTES = 512
CUTS_PER_LOG = 20
# A disk may write all by itself what nobody synced; not so often.
CONTROLS = 5
NOSYNC = [sys.executable, Path(__file__).with_name("nosync.py")]


def power_cuts(lab, report, kind, cuts):
    """So many cuts of a file system, each of which loses nothing; then one with syncs that do nothing, which must."""
    with lab.stack() as stack:
        log = None
        with report.trial(f"power cuts of {kind}", "What was acknowledged is on the disk.") as trial:
            def new(number, heavy):
                return PowerCuts(lab, trial, kind, f"{kind}-{number}", heavy)

            for log in in_logs(stack, new, cuts, CUTS_PER_LOG):
                log.strike(log.power_cut)
        with report.control(f"control of {kind}", "Without syncs the same power cuts lose acknowledged records.") as trial:
            if log is None:
                raise Skipped("there were no power cuts")
            log.trial = trial
            for _ in range(CONTROLS):
                log.strike(log.power_cut, Moment.LOAD, before=NOSYNC, look=False)
                log.look()
                if trial.noticed:
                    break


class PowerCuts(Crashes):
    """One log on one file system, inside a `with`."""

    def __init__(self, lab, trial, kind, name, heavy=False):
        super().__init__(lab, trial, name, heavy)
        self.kind = kind

    def root(self, place):
        self.disk = self.stack.enter_context(Disk(place, self.kind, DISK_MEGABYTES))
        return self.disk.root

    def power_cut(self):
        self.disk.cut_power(self.random.choice([LOG_FLUSH, NO_LOG_FLUSH, NO_LOG_FLUSH]))
        # A disk that is gone acknowledges nothing: whoever still gets an answer must find its record.
        time.sleep(self.random.random() * 0.1)
        self.gateway.kill()
        self.disk.power_on()
