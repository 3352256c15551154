#!/usr/bin/env bash
# Measures kt beside a Pingora that only forwards: loadtest/run.sh [compare] [hold] [drain] [soak]   (default: compare)
#
#   compare  requests and streams through raw Pingora, kt without a chain, kt with everything; rounds interleaved, medians, ratios
#   hold     1,000 streams at once, each at live speed
#   drain    SIGTERM while 200 streams are under way: none may break
#   soak     ten minutes of everything mixed, memory and descriptors sampled every ten seconds
#
# ROUNDS=3 SECONDS_EACH=8 SOAK_SECONDS=600 STREAMS=1000 SPEED=60 WORK=<directory> NO_BUILD=1 override. Needs bash, awk, curl; loopback only.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/.."
ROUNDS=${ROUNDS:-3} SECONDS_EACH=${SECONDS_EACH:-8} SOAK_SECONDS=${SOAK_SECONDS:-600} STREAMS=${STREAMS:-1000} SPEED=${SPEED:-60}
WORK=${WORK:-$(mktemp -d)}
bin=${CARGO_TARGET_DIR:-target}/release
ulimit -n "$(ulimit -Hn)"

declare -A port=([raw]=41190 [off]=41191 [full]=41192) pid=()
simulator=127.0.0.1:${SIMULATOR_PORT:-41199}

build() { cargo build --release --locked --bin kt --example passthrough --example driver; }

# start SPEED NAME...: a simulator of that many tokens a second and the named gateways before it.
start() {
    local speed=$1 name
    shift
    "$bin/kt" simulate --listen $simulator --tokens-per-second "$speed" --tokens-per-answer 4000 2>"$WORK/simulator.log" &
    pid[sim]=$!
    for name in "$@"; do
        case $name in
            raw) "$bin/examples/passthrough" 127.0.0.1:${port[raw]} $simulator 2>"$WORK/raw.log" & ;;
            off) gateway off "$here/off.yaml" & ;;
            full) gateway full "$here/gateway.yaml" & ;;
        esac
        pid[$name]=$!
    done
    for name in "$@"; do
        for _ in $(seq 100); do
            (exec 3<>/dev/tcp/127.0.0.1/${port[$name]}) 2>/dev/null && break
            sleep 0.1
        done
    done
}

gateway() {
    exec env RUST_LOG=warn LOADTEST_KEY=any "$bin/kt" gateway run --listen 127.0.0.1:${port[$1]} --admin-listen 127.0.0.1:$((port[$1] + 100)) \
        --policy-config "$2" --audit-dir "$WORK/audit-$1" 2>"$WORK/$1.log"
}

# Ends what was started, by its process id.
stop() {
    local p
    for p in "${pid[@]}"; do kill -TERM "$p" 2>/dev/null || true; done
    for p in "${pid[@]}"; do wait "$p" 2>/dev/null || true; done
    pid=()
}
trap stop EXIT

driver() { "$bin/examples/driver" "$@"; }
# User and system time of a process in microseconds, its resident memory in KiB, its open descriptors.
cpu_us() { awk -v hz="$(getconf CLK_TCK)" '{sub(/.*\) /, ""); printf "%d", ($12 + $13) * 1e6 / hz}' "/proc/$1/stat"; }
rss_kib() { awk '/VmRSS/ {print $2}' "/proc/$1/status"; }
descriptors() { ls "/proc/$1/fd" | wc -l; }

# measure PHASE NAME DRIVER-ARGUMENTS...: one run, as one line of $WORK/results.
measure() {
    local phase=$1 name=$2 before after line
    shift 2
    before=$(cpu_us "${pid[$name]}")
    line=$(driver "$@" --address 127.0.0.1:${port[$name]}) || true
    after=$(cpu_us "${pid[$name]}")
    echo "phase=$phase name=$name $line cpu_us=$((after - before)) rss_kib=$(rss_kib "${pid[$name]}")" >>"$WORK/results"
}

rounds() {
    local phase=$1 round name
    shift
    for round in $(seq "$ROUNDS"); do
        for name in raw off full; do measure "$phase" $name "$@"; done
    done
}

compare() {
    : >"$WORK/results"
    start 0 raw off full
    for name in raw off full; do driver requests --seconds 2 --address 127.0.0.1:${port[$name]} >/dev/null; done
    rounds "1 KiB requests, 64 connections" requests --seconds "$SECONDS_EACH" --body 1024
    rounds "16 KiB requests, 64 connections" requests --seconds "$SECONDS_EACH" --body 16384
    rounds "256 KiB requests, 16 connections" requests --seconds "$SECONDS_EACH" --body 262144 --connections 16
    rounds "1 KiB requests, 200 a second" requests --seconds "$SECONDS_EACH" --body 1024 --connections 16 --rate 200
    rounds "16 streams, unpaced" streams --seconds "$SECONDS_EACH" --tokens 2000 --connections 16
    stop
    start 2100 raw off full
    rounds "16 streams of 2,100/s" streams --seconds "$SECONDS_EACH" --tokens 500 --connections 16
    rounds "64 streams of 2,100/s" streams --seconds "$SECONDS_EACH" --tokens 2000 --connections 64 --ramp 1
    stop
    "$here/table.awk" "$WORK/results"
}

hold() {
    start "$SPEED" full
    (for _ in 1 2 3; do sleep 12; echo "  under way: RSS $(rss_kib "${pid[full]}") KiB, $(descriptors "${pid[full]}") descriptors"; done) &
    local before
    before=$(cpu_us "${pid[full]}")
    driver streams --address 127.0.0.1:${port[full]} --connections "$STREAMS" --tokens $((SPEED * 15)) --seconds 40 --ramp 5 || true
    echo "  gateway CPU $(($(cpu_us "${pid[full]}") - before)) us, RSS $(rss_kib "${pid[full]}") KiB, $(descriptors "${pid[full]}") descriptors"
    stop
    audited
}

drain() {
    start 100 full
    (sleep 6; kill -TERM "${pid[full]}") &
    driver streams --address 127.0.0.1:${port[full]} --connections 200 --tokens 500 --seconds 20 --ramp 4 || true
    stop
    audited
}

soak() {
    start 1000 full
    echo "seconds rss_kib descriptors simulator_rss_kib"
    (
        for at in $(seq 0 10 $((SOAK_SECONDS + 10))); do
            [ -d "/proc/${pid[full]}" ] || break
            echo "$at $(rss_kib "${pid[full]}") $(descriptors "${pid[full]}") $(rss_kib "${pid[sim]}")"
            sleep 10
        done
    ) &
    driver mixed --address 127.0.0.1:${port[full]} --connections 64 --rate "${RATE:-200}" --tokens 200 --seconds "$SOAK_SECONDS" || true
    sleep 12
    echo "after: $(rss_kib "${pid[full]}") KiB, $(descriptors "${pid[full]}") descriptors"
    stop
    audited
}

# The log is intact, and every request recorded on arrival was recorded at its end: received = completed + interrupted, none open.
audited() {
    "$bin/kt" audit verify --audit-dir "$WORK/audit-full"
    "$bin/kt" audit verify --json --audit-dir "$WORK/audit-full" | grep -q '"open":0'
}

[ -n "${NO_BUILD:-}" ] || build
echo "results in $WORK; $(nproc) processors, $(awk -F': ' '/model name/ {print $2; exit}' /proc/cpuinfo), load $(cut -d' ' -f1-3 /proc/loadavg)"
for part in "${@:-compare}"; do
    echo "== $part"
    $part
done
