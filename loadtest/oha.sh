#!/usr/bin/env bash
# Requests at a gateway that is already running, by oha (https://github.com/hatoo/oha): loadtest/oha.sh [URL] [BODY-BYTES]
#
# RATE=0 (0: as fast as answers come) CONNECTIONS=64 DURATION=30s MODEL=llama3.3-70b STREAM=false KEY=any override.
set -euo pipefail
url=${1:-http://127.0.0.1:41002} size=${2:-1024}
command -v oha >/dev/null || { echo "oha is not installed: cargo install oha, or brew install oha" >&2; exit 2; }
body=$(mktemp)
trap 'rm -f "$body"' EXIT
head='{"model":"'${MODEL:-llama3.3-70b}'","stream":'${STREAM:-false}',"max_tokens":40,"messages":[{"role":"user","content":"'
text=$(printf 'The harbour lay quiet in the early light. %.0s' $(seq $((size / 42 + 1))) | cut -c1-"$size")
printf '%s%s"}]}' "$head" "$text" >"$body"
rate=()
[ "${RATE:-0}" = 0 ] || rate=(-q "$RATE")
# --latency-correction: a late answer delays no question that was due meanwhile, so what waited is counted as having waited.
oha -z "${DURATION:-30s}" -c "${CONNECTIONS:-64}" ${rate[@]+"${rate[@]}" --latency-correction} -m POST -D "$body" \
    -H 'content-type: application/json' -H "authorization: Bearer ${KEY:-any}" "$url/v1/chat/completions"
