#!/usr/bin/env python3
"""Tries every evasion of the table on a gateway and reports what got through; see README.md."""

import argparse
import collections
import contextlib
import json
import re
import sys
import time
import tomllib
import urllib.parse
from pathlib import Path

# The modules beside this one leave nothing behind.
sys.dont_write_bytecode = True

from gateway import BODY_LIMIT, Gateway, config
from trial import BYPASSED, ENFORCED, ERROR, REFUSED, Row, Trial
from upstream import Upstream

HERE = Path(__file__).resolve().parent
# What a line of the table below a heading names, when it does not say more.
AXES = {
    "disguise": lambda name: {"disguise": (name,)},
    "shape": lambda name: {"shape": name},
    "wire": lambda name: {"wire": name},
    "delivery": lambda name: {"delivery": name},
    "combined": lambda _: {},
}


def main():
    options = arguments()
    rows = [row for row in table() if options.only in row.name]
    if not rows:
        sys.exit(f"no row of the table has {options.only!r} in its name")
    limits = known_limits(options.limits) if options.limits else {}
    unknown = limits.keys() - {row.name for row in table()}
    if unknown:
        sys.exit(f"{options.limits} names what the table does not: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    with contextlib.ExitStack() as stack:
        upstream = stack.enter_context(Upstream(options.upstream_listen))
        url = options.url or stack.enter_context(Gateway(options.kt, upstream.url)).url
        if options.url:
            print(f"The gateway's provider is expected to be {upstream.url}; for kt:\n\n{config(upstream.url)}", file=sys.stderr)
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http":
            sys.exit(f"{url}: the framing of requests is tried over plain http only")
        trial = Trial((parts.hostname, parts.port or 80), parts.path.rstrip("/"), options.model, options.body_bytes, upstream)
        report = Report(limits, options.json)
        for row in rows:
            report.take(trial.judge(row))
    sys.exit(report.close(time.monotonic() - began))


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    subject = parser.add_mutually_exclusive_group(required=True)
    subject.add_argument("--url", help="the base URL of a running gateway, such as http://127.0.0.1:41002/v1")
    subject.add_argument("--kt", metavar="BINARY", help="start this kt, configured for the suite")
    parser.add_argument("--model", default="echo", help="the model to ask for (default: echo)")
    parser.add_argument("--upstream-listen", default="127.0.0.1:0", metavar="HOST:PORT", help="where the provider listens")
    parser.add_argument("--body-bytes", type=int, default=BODY_LIMIT, help="the largest body the gateway takes (default: 1 MiB)")
    parser.add_argument("--only", default="", metavar="NAME", help="only the rows with this in their name")
    parser.add_argument("--json", action="store_true", help="one JSON object a row")
    parser.add_argument("--limits", metavar="FILE", help="a page with a table of known limits (default with --kt: README.md)")
    options = parser.parse_args()
    if options.kt and not options.limits:
        options.limits = HERE / "README.md"
    return options


def table():
    """The rows of evasions.toml."""
    with open(HERE / "evasions.toml", "rb") as file:
        groups = tomllib.load(file)
    for group, axes in groups.items():
        for axis, lines in axes.items():
            for name, line in lines.items():
                line = {"tries": line} if isinstance(line, str) else line
                if "disguise" in line:
                    line["disguise"] = tuple(line["disguise"])
                yield Row(f"{group}/{name}", group, **AXES[axis](name) | line)


def known_limits(page):
    """The reasons of a table whose first column names rows."""
    lines = re.findall(r"^\| `([a-z]+/[a-z0-9-]+)` \| (.+) \|$", Path(page).read_text(encoding="utf-8"), re.MULTILINE)
    return dict(lines)


class Report:
    """Says each row as it comes, and the whole at the end."""

    def __init__(self, limits, as_json):
        self.limits, self.as_json = limits, as_json
        self.counts = collections.Counter()
        self.bad = []

    def take(self, verdict):
        row, limit = verdict.row, self.limits.get(verdict.row.name)
        holds = verdict.verdict in (ENFORCED, REFUSED)
        self.counts["known limit" if limit and not holds else verdict.verdict] += 1
        if holds == bool(limit):
            reason = "a known limit no longer: take it out of the table" if limit else verdict.reason
            self.bad.append(f"{row.name}: {reason}")
        if self.as_json:
            print(json.dumps({"name": row.name, "tries": row.tries, "verdict": verdict.verdict, "reason": verdict.reason,
                              "known_limit": limit}), flush=True)
        else:
            known = f"; known limit: {limit}" if limit else ""
            reason = f" ({verdict.reason}{known})" if not holds or limit else ""
            print(f"{verdict.verdict:16}{row.name:40} {row.tries}{reason}", flush=True)

    def close(self, seconds):
        """The exit code: 0 when every row is enforced, refused clearly, or a known limit."""
        out = sys.stderr if self.as_json else sys.stdout
        print(f"\n{', '.join(f'{count} {name}' for name, count in self.counts.most_common())} in {seconds:.1f} s", file=out)
        for line in self.bad:
            print(f"FAIL {line}", file=out)
        return 1 if self.bad else 0


if __name__ == "__main__":
    main()
