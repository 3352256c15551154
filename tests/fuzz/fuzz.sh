#!/bin/sh
# fuzz.sh TARGET SECONDS [ARGUMENTS of libFuzzer]: fuzzes a target with the compiler at hand.
#
# libFuzzer needs coverage instrumentation, which any compiler can insert; nothing here needs a nightly one or cargo-fuzz.
set -eu
cd "$(dirname "$0")"
target=$1 seconds=$2
shift 2
host=$(rustc -vV | sed -n 's/^host: //p')
coverage='-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
    -Cllvm-args=-sanitizer-coverage-trace-compares'
# With the host named, build scripts are not instrumented.
RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 $(echo $coverage)" \
    cargo build --release --quiet --target "$host" --bin "$target"
# It begins with the cases of the tests, as texts; a stream has its cuts before them.
mkdir -p "corpus/$target" "artifacts/$target"
cuts=''
[ "$target" != pii_stream ] || cuts='\003\002\011\005'
policies=../../src/policy
sed -e '/^# /d;/^$/d' -e 's/⟦[a-z_]*|//g;s/⟧//g' $policies/pii/cases.txt $policies/prompt_injection/cases.txt |
    awk -v into="corpus/$target" -v cuts="$cuts" '{ file = into "/case-" NR; printf "%s%s", cuts, $0 > file; close(file) }'
exec "target/$host/release/$target" "corpus/$target" -artifact_prefix="artifacts/$target/" -dict=words.dict \
    -max_len=1024 -timeout=120 -rss_limit_mb=2048 -max_total_time="$seconds" "$@"
