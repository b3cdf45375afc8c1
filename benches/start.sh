#!/usr/bin/env bash
# The real binary with 10,000 ES256 keysets: the first start makes every key, the second finds them in the store. Prints the time until
# /readyz says yes, and resident memory after a scrape.
#
#   benches/start.sh [KEYROTA]      KEYROTA: the release binary (default: target/release/keyrota)

set -euo pipefail
keyrota=${1:-target/release/keyrota} port=${PORT:-9481}
dir=$(mktemp -d)
mkdir "$dir/policies" "$dir/state" "$dir/run"
chmod 700 "$dir"/*
{
    printf 'version: 1\nenvironment: many\nstore: { kind: embedded }\n'
    printf 'defaults: { rotate_every: 30d, token_ttl: 1h, verifier_refresh: 15m, signer_refresh: 5m }\nkeysets:\n'
    for number in $(seq 10000 19999); do printf '  k%s: { algorithm: ES256 }\n' "$number"; done
} >"$dir/policies/many.yaml"

start() {
    local began pid
    began=$(date +%s%N)
    "$keyrota" run --policies "$dir/policies" --state-dir "$dir/state" --runtime-dir "$dir/run" \
        --listen 127.0.0.1:$((port - 1)) --metrics-listen "127.0.0.1:$port" 2>"$dir/log" &
    pid=$!
    for _ in $(seq 600); do
        curl -sf "http://127.0.0.1:$port/readyz" >"$dir/ready" && break
        kill -0 "$pid" || { cat "$dir/log"; exit 1; }
        sleep 0.05
    done
    printf '%s: ready after %s ms, ' "$1" $((($(date +%s%N) - began) / 1000000))
    curl -sf "http://127.0.0.1:$port/metrics" >"$dir/metrics"
    awk '/^VmRSS/ { printf "%d MB resident after a scrape\n", $2 / 1024 }' "/proc/$pid/status"
    kill "$pid"
    wait "$pid"
}

start 'first start, every key made'
start 'second start, every key found'
rm -r -- "$dir"
