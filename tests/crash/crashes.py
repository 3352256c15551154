"""One log that is crashed again and again, and looked at after every crash."""

import random
import time
from enum import Enum

from gateway import Gateway
from ledger import Ledger
from load import HEAVY, USUAL, Load


# A crash under load strikes after up to so many acknowledgements.
MOST_ANSWERS = 80


class Moment(Enum):
    """When a crash strikes, and how often it is chosen."""

    LOAD = ("under load", 5)
    START = ("during start-up", 2)
    STOP = ("during a stop", 2)


class Crashes:
    """One log, its gateway and its callers, inside a `with`."""

    def __init__(self, lab, trial, name, heavy=False):
        self.lab, self.trial, self.name = lab, trial, name
        # Records so large that segments fill up while they are crashed.
        self.kinds = HEAVY if heavy else USUAL
        self.random = random.Random(f"{lab.seed} {name}")
        self.ledger, self.crashes = Ledger(), 0
        self.start_takes = 0.5

    def __enter__(self):
        self.stack = self.lab.stack()
        try:
            place = self.stack.enter_context(self.lab.place(self.name))
            self.load = self.stack.enter_context(Load(f"{self.lab.seed}-{self.name}"))
            self.gateway = Gateway(self.lab.kt, place / "kt", self.load.url, audit=self.root(place) / "audit")
            self.stack.callback(self.gateway.kill)
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(self, *exception):
        return self.stack.__exit__(*exception)

    def root(self, place):
        """The directory of the disk that the log is on."""
        return place

    def strike(self, what, moment=None, before=(), look=True, prepare=None):
        """Starts the gateway, looks at what the last crash left, puts load on it, and does `what` to it."""
        moment = moment or self.random.choices(list(Moment), [moment.value[1] for moment in Moment])[0]
        self.gateway.launch(before)
        if moment is Moment.START:
            self.load.begin(self.gateway.port, self.kinds)
            # A little past the usual, so that the first requests are hit too.
            time.sleep(self.random.random() * 1.2 * self.start_takes)
        else:
            self.come_up(look)
            self.load.begin(self.gateway.port, self.kinds)
            if prepare:
                prepare()
            self.load.wait_for(self.random.randint(1, MOST_ANSWERS))
            time.sleep(self.random.random() * 0.03)
        if moment is Moment.STOP:
            self.gateway.ask_to_stop()
            time.sleep(self.random.random() * 0.8)
        what()
        self.gateway.kill()
        self.load.end()
        self.trial.take(self.ledger, self.load.new_book())
        self.trial.count(f"{what.__name__.replace('_', ' ')} {moment.value[0]}")
        self.crashes += 1

    def come_up(self, look):
        began = time.monotonic()
        if not self.gateway.is_up():
            self.trial.fail(f"the gateway does not start after {self.crashes} crashes:\n{self.gateway.said()}")
        self.start_takes = time.monotonic() - began
        if look:
            self.trial.judge(self.ledger, self.gateway, f"{self.name} after {self.crashes} crashes")

    def look(self):
        """A last start, and a last look."""
        self.gateway.launch()
        self.come_up(look=True)
        self.gateway.kill()


def in_logs(stack, make, count, at_most):
    """A log for each of `count` crashes: a new one after `at_most`, each looked at when it is done; every other one is heavy."""
    log = None
    for number in range(count):
        if number % at_most == 0:
            if log:
                log.look()
            stack.close()
            log = stack.enter_context(make(number, number // at_most % 2 == 1))
        yield log
    log.look()
