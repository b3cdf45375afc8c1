#!/usr/bin/env bash
# The JWKS listener of `keyrota run` beside nginx serving the same bytes as a static file, on loopback, in turns.
#
#   benches/jwks-nginx.sh [KEYROTA]      KEYROTA: the release binary (default: built by cargo)
#   ROUNDS=5 SECONDS_EACH=5 CONNECTIONS=32 WORKERS=1 benches/jwks-nginx.sh
#
# One nginx worker and one thread of wrk by default, so that on two cores the server and the client have one each; keyrota's runtime
# gets as many threads as nginx has workers. Both keep connections alive. Prints both medians and the ratio (goal: at least 0.8).
set -euo pipefail

ROUNDS=${ROUNDS:-5} SECONDS_EACH=${SECONDS_EACH:-5} CONNECTIONS=${CONNECTIONS:-32} WORKERS=${WORKERS:-1}
here=$(cd "$(dirname "$0")/.." && pwd)

for tool in nginx wrk curl; do
    command -v "$tool" >/dev/null || { echo "$0: $tool is not installed; hint: apt-get install -y nginx-light wrk curl" >&2; exit 2; }
done

keyrota=${1:-}
if [ -z "$keyrota" ]; then
    (cd "$here" && cargo build --release --bin keyrota)
    keyrota=$here/target/release/keyrota
fi

work=$(mktemp -d)
pids=()
stop() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap stop EXIT

mkdir -m 755 "$work/policies" "$work/www"
mkdir -m 700 "$work/state" "$work/run"
cat >"$work/policies/bench.yaml" <<'POLICY'
version: 1
environment: bench
reconcile: "*/5 * * * * *"
store: { kind: embedded }
defaults: { rotate_every: 30d, verifier_refresh: 15m, signer_refresh: 5m, clock_skew: 60s }
keysets:
  user-sessions: { algorithm: ES256, token_ttl: 1h }
POLICY
chmod 644 "$work/policies/bench.yaml"

TOKIO_WORKER_THREADS=$WORKERS "$keyrota" run --policies "$work/policies" --state-dir "$work/state" --runtime-dir "$work/run" \
    --listen 127.0.0.1:18480 --metrics-listen 127.0.0.1:18481 >"$work/keyrota.log" 2>&1 &
pids+=($!)

own=http://127.0.0.1:18480/bench/user-sessions/.well-known/jwks.json
file=http://127.0.0.1:18482/bench/user-sessions/.well-known/jwks.json
folder=$work/www/bench/user-sessions/.well-known
mkdir -p "$folder"
chmod 755 "$work"
for _ in $(seq 100); do
    curl -sf -o "$folder/jwks.json" "$own" && break
    sleep 0.1
done
[ -s "$folder/jwks.json" ] || { echo "$0: keyrota serves no key set:" >&2; cat "$work/keyrota.log" >&2; exit 1; }

cat >"$work/nginx.conf" <<CONF
daemon off;
worker_processes $WORKERS;
pid $work/nginx.pid;
error_log $work/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    sendfile on;
    tcp_nopush on;
    tcp_nodelay on;
    keepalive_requests 100000000;
    open_file_cache max=100 inactive=60s;
    open_file_cache_valid 60s;
    types { application/json json; }
    client_body_temp_path $work/b; proxy_temp_path $work/p; fastcgi_temp_path $work/f; uwsgi_temp_path $work/u; scgi_temp_path $work/s;
    server {
        listen 127.0.0.1:18482;
        root $work/www;
        location / { add_header Cache-Control "public, max-age=60"; }
    }
}
CONF
nginx -p "$work" -c "$work/nginx.conf" &
pids+=($!)
for _ in $(seq 50); do
    curl -sf -o /dev/null "$file" && break
    sleep 0.1
done
cmp <(curl -sf "$own") <(curl -sf "$file") || { echo "$0: the two serve different bytes" >&2; exit 1; }

# Requests per second, or nothing if a request failed.
rate() {
    local said
    said=$(wrk -t1 -c"$CONNECTIONS" -d"$1"s --latency "$2")
    if grep -q -E 'Non-2xx|Socket errors' <<<"$said"; then
        echo "$0: requests failed at $2:" >&2
        echo "$said" >&2
        exit 1
    fi
    awk '/Requests\/sec/ {print $2} ' <<<"$said"
}
median() { sort -n | awk '{v[NR]=$1} END {print v[int((NR+1)/2)]}'; }

rate 1 "$own" >/dev/null
rate 1 "$file" >/dev/null
: >"$work/own" >"$work/file"
for round in $(seq "$ROUNDS"); do
    rate "$SECONDS_EACH" "$own" >>"$work/own"
    rate "$SECONDS_EACH" "$file" >>"$work/file"
    echo "round $round: keyrota $(tail -1 "$work/own") requests/s, nginx $(tail -1 "$work/file")"
done
awk -v own="$(median <"$work/own")" -v file="$(median <"$work/file")" -v bytes="$(wc -c <"$folder/jwks.json")" -v c="$CONNECTIONS" 'BEGIN {
    printf "median of %s connections, %s bytes: keyrota %.0f requests/s, nginx %.0f; ratio %.2f (goal: at least 0.80)\n", c, bytes, own, file, own / file
}'
