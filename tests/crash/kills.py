"""kill -9, again and again: under load, during start-up and recovery, and during a graceful stop."""

import random
import time

from gateway import Gateway
from ledger import Ledger
from load import HEAVY, USUAL, Load

# Kills of one log before a new one is begun: what is read of it again and again stays small.
KILLS_PER_LOG = 25
MOMENTS = {"under load": 5, "during start-up": 3, "during a stop": 2}


def kill_loops(lab, trial, kills, look_every):
    """As many kills as asked for; the log is judged after every `look_every`."""
    for first in range(0, kills, KILLS_PER_LOG):
        here = min(KILLS_PER_LOG, kills - first)
        # Every other log gets records so large that segments fill up while it is killed.
        KillLoop(lab, trial, f"kills-{first}", HEAVY if first // KILLS_PER_LOG % 2 else USUAL).run(here, look_every)


class KillLoop:
    """The kills of one log."""

    def __init__(self, lab, trial, name, kinds):
        self.lab, self.trial, self.name, self.kinds = lab, trial, name, kinds
        self.random = random.Random(f"{lab.seed} {name}")
        self.ledger = Ledger()
        self.start_takes = 0.5

    def run(self, kills, look_every):
        with self.lab.place(self.name) as place, Load(f"{self.lab.seed}-{self.name}") as load:
            gateway = Gateway(self.lab.kt, place, load.url)
            try:
                for kill in range(1, kills + 1):
                    self.once(gateway, load)
                    if kill % look_every == 0 or kill == kills:
                        self.look(gateway, kill)
            finally:
                gateway.kill()

    def once(self, gateway, load):
        moment = self.random.choices(*zip(*MOMENTS.items()))[0]
        self.trial.count(moment)
        gateway.launch()
        load.begin(gateway.port, self.kinds)
        if moment == "during start-up":
            # A little past the usual, so that the first requests are hit too.
            time.sleep(self.random.random() * 1.2 * self.start_takes)
        else:
            self.up(gateway)
            time.sleep(self.random.random() * 0.4)
        if moment == "during a stop":
            gateway.ask_to_stop()
            time.sleep(self.random.random() * 0.8)
        gateway.kill()
        load.end()
        self.trial.take(self.ledger, load.new_book())

    def up(self, gateway):
        began = time.monotonic()
        if not gateway.is_up():
            self.trial.fail(f"the gateway does not start after a kill:\n{gateway.said()}")
        self.start_takes = time.monotonic() - began

    def look(self, gateway, kill):
        gateway.start()
        self.trial.judge(self.ledger, gateway, f"{self.name} after {kill} kills")
        gateway.kill()
