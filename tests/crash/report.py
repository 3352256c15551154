"""What the lab says: a line for each trial as it ends, and a page of the whole."""

import collections
import contextlib
import datetime
import os
import platform
import time
import traceback

from gateway import Broken


class Report:
    """All trials of a run. `limits` are the reasons of those that are known to fail, by name."""

    def __init__(self, limits):
        self.trials, self.began, self.limits = [], time.monotonic(), limits

    @contextlib.contextmanager
    def trial(self, name, promise):
        """One experiment; whatever it raises is its failure and nobody else's."""
        trial = Trial(name, promise, self.limits.get(name))
        self.trials.append(trial)
        try:
            yield trial
        except Skipped as why:
            trial.skipped = str(why)
        except Broken as why:
            trial.fail(str(why))
        except Exception:
            trial.fail(f"the lab itself failed:\n{traceback.format_exc()}")
        trial.close()

    @contextlib.contextmanager
    def control(self, name, promise):
        """A trial that must lose records, or what it controls sees nothing."""
        with self.trial(name, promise) as trial:
            trial.is_control = True
            yield trial
            if not trial.noticed:
                trial.fail("no sync was made and nothing was lost: these power cuts are none")

    def close(self):
        """Says the sum; true when nothing failed and something ran."""
        states = collections.Counter(trial.state() for trial in self.trials)
        lost = sum(trial.lost for trial in self.trials if not trial.is_control and not trial.limit)
        said = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        print(f"\n{said}; {lost} acknowledged requests lost; {time.monotonic() - self.began:.0f} s", flush=True)
        return not states["FAILED"] and states["passed"] > 0

    def page(self, kt_version, command):
        """The run as Markdown."""
        now = datetime.datetime.now(datetime.UTC)
        lines = [
            "# Crashes of the audit log", "",
            f"`{command}`, {now:%Y-%m-%d %H:%M} UTC, {kt_version}, {platform.system()} {platform.release()}, "
            f"{os.cpu_count()} cores, {time.monotonic() - self.began:.0f} s.", "",
            "| trial | crashes and faults | acknowledged | reached the provider | lost | seconds | |",
            "|---|---|---|---|---|---|---|",
        ]
        for trial in self.trials:
            numbers = f"{trial.acknowledged} | {trial.forwarded} | {trial.lost}"
            lines.append(f"| {trial.name} | {sum(trial.counts.values())} | {numbers} | {trial.seconds:.0f} | {trial.state()} |")
        for trial in self.trials:
            lines += ["", f"## {trial.name}", "", trial.promise, ""]
            lines += [f"* {what}: {count}" for what, count in trial.counts.items()]
            lines += [f"* answers `{said}`: {count}" for said, count in trial.answers.most_common()]
            lines += [f"* {note}" for note in trial.notes]
            lines += [f"* SKIPPED: {trial.skipped}"] if trial.skipped else []
            lines += [f"* {'known limit' if trial.limit else 'FAILED'}: {problem}" for problem in trial.problems]
        return "\n".join(lines) + "\n"


class Trial:
    """One experiment and what came of it."""

    def __init__(self, name, promise, limit=None):
        self.name, self.promise, self.limit = name, promise, limit
        self.began, self.seconds = time.monotonic(), 0.0
        self.counts, self.answers = collections.Counter(), collections.Counter()
        self.acknowledged = self.forwarded = self.lost = 0
        self.problems, self.notes, self.skipped = [], [], None
        # A control is there to lose; what it lost was noticed.
        self.is_control = self.noticed = False

    def count(self, what, more=1):
        self.counts[what] += more

    def note(self, sentence):
        if sentence not in self.notes:
            self.notes.append(sentence)

    def fail(self, problem):
        self.problems.append(problem)
        if not self.limit:
            print(f"FAIL {self.name}: {problem}", flush=True)

    def take(self, ledger, book):
        """Enters what callers and provider saw."""
        ledger.add(book)
        self.acknowledged += len(book.acknowledged)
        self.forwarded += len(book.forwarded)
        self.answers += book.answers
        if book.no_retry_after:
            self.fail(f"{book.no_retry_after} answers of 503 had no Retry-After")

    def judge(self, ledger, gateway, when):
        """Holds the log against the books; what was lost once is not counted again."""
        judgement = ledger.judge(gateway)
        self.lost += len(judgement.lost)
        for name in judgement.lost:
            ledger.acknowledged.pop(name, None)
            ledger.forwarded.discard(name)
        self.noticed |= self.is_control and bool(judgement.problems)
        for problem in judgement.problems:
            if self.is_control:
                self.note(f"noticed: {problem}")
            else:
                self.fail(f"{when}: {problem}")
        return judgement

    def state(self):
        if self.skipped and not self.problems:
            return "skipped"
        if self.limit:
            return "known limit" if self.problems else "FAILED"
        return "FAILED" if self.problems else "passed"

    def close(self):
        self.seconds = time.monotonic() - self.began
        if not self.skipped and not self.problems and not self.counts:
            self.fail("nothing was tried")
        what = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        about = self.skipped or f"{what}; {self.acknowledged} acknowledged, {self.lost} lost"
        if self.limit and not self.skipped:
            about += f"; known limit: {self.limit}" if self.problems else "; a known limit no longer: take it out of the table"
        print(f"{self.state():12}{self.name:42} {about} ({self.seconds:.1f} s)", flush=True)


class Skipped(Exception):
    """This machine does not let the trial run, and why."""
