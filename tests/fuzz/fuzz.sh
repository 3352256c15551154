#!/bin/sh
# Fuzzes TARGET for SECONDS with the compiler at hand: libFuzzer needs coverage instrumentation, which any compiler can insert, and
# nothing of a nightly one. More arguments go to libFuzzer.
set -eu
cd "$(dirname "$0")"
target=$1 seconds=$2
shift 2
host=$(rustc -vV | sed -n 's/^host: //p')
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares'
# Instruments what is built for the host by name, not the build scripts.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 $(echo $coverage)" \
    cargo build --release --quiet --target "$host" --bin "$target"
mkdir -p "corpus/$target" "artifacts/$target"
# The cases of the tests are where it begins.
awk 'NF && !/^# /' ../../src/policy/pii/cases.txt ../../src/policy/prompt_injection/cases.txt 2>/dev/null |
    awk -v into="corpus/$target" '{ file = into "/case-" NR; printf "%s", $0 > file; close(file) }'
exec "target/$host/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" -dict=words.dict \
    -max_len=1024 -timeout=20 -rss_limit_mb=2048 -max_total_time="$seconds" "$@"
