#!/usr/bin/env bash
# Accepted links a second and their latency on each database, beside the same two statements run bare in the same run:
# by pgbench on PostgreSQL, by a plain loop on SQLite. Prints each round, then the medians as ratios.
#   CLIENTS=16 SECONDS_EACH=10 ROUNDS=3 server/load.sh
set -euo pipefail
cd "$(dirname "$0")/.."

clients=${CLIENTS:-16} seconds=${SECONDS_EACH:-10} rounds=${ROUNDS:-3} token=load-token-8c1f7a
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/release
cargo build --locked --quiet --release -p midsession-server --bins --example load

work=$(mktemp -d)
as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody "$work"
fi
server=
finish() {
    grep -m 5 '"cause"' "$work/log" >&2 || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ ! -d "$work/data" ] || "${as_user[@]}" pg_ctl -D "$work/data" -m immediate stop >/dev/null || true
    rm -rf "$work"
}
trap finish EXIT

# start URL: the server on that database; its address is in $address.
start() {
    : >"$work/out"
    "$target/midsession-server" --listen 127.0.0.1:0 --token $token --interval 0s --database-url "$1" \
        >"$work/out" 2>"$work/log" &
    server=$!
    until address=$(sed -n 's|listening on http://||p' "$work/out") && [ -n "$address" ]; do sleep 0.1; done
}
stop() { kill "$server" && wait "$server"; server=; }

# Everyday sessions, all linked before.
record='{"state":"active","comm_type":"chat","crm_support":"supported","end_user":{"identifier":"person-0","name":"John Doe","email":"johndoe@example.com"},"last_linked_at":"2026-11-22T12:00:00.123456789Z","revision":0}'

line() { printf '%-34s %8s %8s %8s %8s %8s\n' "$@"; }
median() { sort -n "$1" | sed -n "$((rounds / 2 + 1))p" | cut -d ' ' -f 1; }
line "$clients clients, $seconds s each" links/s 'p50 ms' 'p95 ms' 'p99 ms' 'max ms'

cd "$work"
"${as_user[@]}" initdb -D data -U midsession --auth=trust --encoding=UTF8 --locale=C >/dev/null
port=$(shuf -i 20000-29999 -n 1)
"${as_user[@]}" pg_ctl -D data -w -l log.postgres -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories=''" start >/dev/null
url=postgres://midsession@127.0.0.1:$port/postgres
start "$url"
# pgbench has sessions of its own: it raises their revision in the column alone, and the server would call that a race.
psql -q "$url" -c "INSERT INTO sessions SELECT kind || n, 0, '$record' FROM generate_series(1, 10000) n, unnest(ARRAY['load-', 'bare-']) kind" -c 'VACUUM ANALYZE sessions'
cat >bare.sql <<'SQL'
\set n random(1, 10000)
SELECT revision, record FROM sessions WHERE id = 'bare-' || :n \gset
UPDATE sessions SET revision = :revision::bigint + 1, record = :record WHERE id = 'bare-' || :n AND revision = :revision::bigint;
SQL
for round in $(seq "$rounds"); do
    "$target/examples/load" http "$address" $token "$clients" "$seconds" | tee -a http.postgres | xargs -n 5 bash -c \
        'printf "%-34s %8s %8s %8s %8s %8s\n" "PostgreSQL, the server" "$@"' _
    rm -f pgbench_log.*
    pgbench -n -M prepared -c "$clients" -j 2 -T "$seconds" -f bare.sql -l --log-prefix=pgbench_log "$url" >pgbench.out 2>&1
    cut -d ' ' -f 3 pgbench_log.* | sort -n | awk -v seconds="$seconds" '{ us[NR] = $1 }
        END { printf "%d %.2f %.2f %.2f %.2f\n", NR / seconds, us[int(NR * .5)] / 1e3, us[int(NR * .95)] / 1e3, us[int(NR * .99)] / 1e3, us[NR] / 1e3 }' |
        tee -a bare.postgres | xargs -n 5 bash -c 'printf "%-34s %8s %8s %8s %8s %8s\n" "PostgreSQL, pgbench" "$@"' _
done
stop

start "sqlite://$work/sessions.db"
python3 - "$work/sessions.db" "$record" <<'PY'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.executemany("INSERT INTO sessions VALUES (?, 0, ?)", [(f"load-{n}", sys.argv[2]) for n in range(1, 10001)])
PY
for round in $(seq "$rounds"); do
    "$target/examples/load" http "$address" $token "$clients" "$seconds" | tee -a http.sqlite | xargs -n 5 bash -c \
        'printf "%-34s %8s %8s %8s %8s %8s\n" "SQLite, the server" "$@"' _
    "$target/examples/load" sqlite "$work/sessions.db" "$seconds" | tee -a bare.sqlite | xargs -n 5 bash -c \
        'printf "%-34s %8s %8s %8s %8s %8s\n" "SQLite, a plain loop" "$@"' _
done
stop

for database in postgres sqlite; do
    echo "$(median http.$database) $(median bare.$database)" | awk -v database=$database '{ printf "%s: %.2f of bare\n", database, $1 / $2 }'
done
