#!/usr/bin/env python3
"""What the audit log costs, as ratios within one run: beside the same pipeline without hashes, and beside SQLite.

    cargo build --profile profiling --no-default-features --example audit
    python3 loadtest/audit.py target/profiling/examples/audit [--dir DIR] [--quick]

DIR is on the file system to be measured (default: target/). SQLite runs in WAL mode with synchronous=FULL, in transactions of 256
records, which is what its group commit would be.
"""

import argparse
import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time


def run(program, *args):
    done = subprocess.run([program, *map(str, args)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def sqlite(path, n, size):
    """n records of size bytes, as rows of a table whose key is the index."""
    records = [os.urandom(size // 2).hex().encode() for _ in range(64)]
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute("CREATE TABLE log (i INTEGER PRIMARY KEY, entry BLOB)")
    for first in range(0, n, 256):
        db.execute("BEGIN")
        rows = ((i, records[i % 64]) for i in range(first, min(first + 256, n)))
        db.executemany("INSERT INTO log VALUES (?, ?)", rows)
        db.execute("COMMIT")
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    db.close()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"mode": "sqlite", "n": n, "records_per_second": n / took, "cpu_us": cpu * 1e6 / n}


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("program")
    options.add_argument("--dir", default="target")
    options.add_argument("--quick", action="store_true", help="a tenth of the records")
    args = options.parse_args()
    scale = 10 if args.quick else 1
    place = tempfile.mkdtemp(prefix="audit-bench-", dir=args.dir)
    try:
        throughput(args.program, place, scale)
        waits(args.program, place, scale)
    finally:
        shutil.rmtree(place)


def throughput(program, place, scale):
    print("| record | | records/s | CPU us a record | of plain | of SQLite |")
    print("|---|---|---:|---:|---:|---:|")
    for size, n in ((1024, 1_000_000 // scale), (16384, 100_000 // scale)):
        logs = os.path.join(place, f"log-{size}")
        plain = run(program, "plain", os.path.join(place, f"plain-{size}"), n, size)
        ours = run(program, "log", logs, n, size)
        other = sqlite(os.path.join(place, f"sqlite-{size}"), n // 5, size)
        for row in (plain, ours, other):
            rate = row["records_per_second"]
            of_plain, of_sqlite = rate / plain["records_per_second"], rate / other["records_per_second"]
            print(f"| {size} B | {row['mode']} | {rate:,.0f} | {row['cpu_us']:.2f} | {of_plain:.2f} | {of_sqlite:.2f} |")
        read = run(program, "read", logs)
        print(f"\nread back and checked, {size} B: {read['bytes'] / read['seconds'] / 2**30:.2f} GiB/s\n")


def waits(program, place, scale):
    print("| what a caller waits for | a second | p50 us | p99 us | p99.9 us |")
    print("|---|---:|---:|---:|---:|")
    for mode, rate in (("paced", 1_000), ("paced", 10_000), ("enqueue", 10_000), ("enqueue", 50_000)):
        row = run(program, mode, os.path.join(place, f"{mode}-{rate}"), rate, max(1, 5 // (scale // 2 or 1)))
        what = "a durable record" if mode == "paced" else "handing a record over"
        print(f"| {what} | {rate:,} | {row['p50_us']:.0f} | {row['p99_us']:.0f} | {row['p999_us']:.0f} |")


if __name__ == "__main__":
    sys.exit(main())
