#!/usr/bin/env bash
# What SESSIONS sessions take on each engine: the time of a start and the server's memory then, and a purge of as many that have
# ended, with its memory and a client that links beside it. On PostgreSQL then as many active ones, which 16 clients link for
# MINUTES: how often autovacuum came, and what became of the table.
#   ENGINES="postgres sqlite" SESSIONS=1000000 MINUTES=10 server/size.sh
# TARGET=FOLDER has the binaries, if they are built already. SETTINGS='-c NAME=VALUE' is for PostgreSQL.
set -euo pipefail
cd "$(dirname "$0")/.."

engines=${ENGINES:-postgres sqlite} sessions=${SESSIONS:-1000000} minutes=${MINUTES:-10} token=load-token-of-sixteen
if [ -z "${TARGET:-}" ]; then
    TARGET=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/dist
    cargo build --locked --quiet --profile dist -p midsession-server --bins --example load
fi

. server/scratch.sh
server=
finish() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    remove_work
}
trap finish EXIT

# start URL: the server on that database; its address is in $address, and what it took in $took.
start() {
    : >out
    took=$(date +%s%N)
    "$TARGET/midsession-server" --listen 127.0.0.1:0 --token $token --interval 0s --database-url "$1" >out 2>log &
    server=$!
    until address=$(sed -n 's|listening on http://||p' out) && [ -n "$address" ]; do
        kill -0 "$server" || { cat log >&2; exit 1; }
        sleep 0.01
    done
    until curl -fs "http://$address/readyz" >/dev/null; do sleep 0.01; done
    took=$((($(date +%s%N) - took) / 1000000))
}
stop() {
    kill "$server" && wait "$server"
    server=
}

active='{"state":"active","comm_type":"chat","crm_support":"supported","end_user":{"identifier":"person-0","name":"John Doe","email":"johndoe@example.com"},"last_linked_at":"2026-01-22T12:00:00.123456789Z","revision":0}'
ended=${active/active/ended} ended=${ended/,\"revision\"/,\"ended_at\":\"2026-01-22T12:30:00.5Z\",\"revision\"}

# fill KIND RECORD HOW_MANY: sessions of that record, whose ids begin with the kind.
fill_postgres() { psql -q "$url" -c "INSERT INTO sessions SELECT '$1-' || n, 0, '$2' FROM generate_series(1, $3) n" -c 'VACUUM ANALYZE sessions' -c CHECKPOINT; }
fill_sqlite() {
    python3 - "$@" <<'PY'
import sqlite3, sys
kind, record, count = sys.argv[1:]
with sqlite3.connect("sessions.db") as db:
    db.executemany("INSERT INTO sessions (id, revision, record) VALUES (?, 0, ?)", ((f"{kind}-{n}", record) for n in range(1, int(count) + 1)))
sqlite3.connect("sessions.db").execute("PRAGMA wal_checkpoint(TRUNCATE)")
PY
}

# Of the links/s of a lone client, in rounds of five seconds.
rounds() { for _ in $(seq "$1"); do SESSIONS=10000 "$TARGET/examples/load" http "$address" $token 1 5 | cut -d ' ' -f 1; done; }
median() { sort -n | sed -n "$((($1 + 1) / 2))p"; }

# purge: of all that ended, with a client beside it, which starts a round as long as the purge runs.
purge() {
    local before began pid peak=0 now
    before=$(rounds 3 | median 3) began=$(date +%s%N)
    "$TARGET/midsession-server" purge --ended-before 1d --database-url "$url" >purged 2>>log &
    pid=$!
    : >beside
    while [ -e /proc/$pid/exe ]; do rounds 1 >>beside; done &
    while now=$(sed -n 's/^VmHWM:[[:space:]]*\([0-9]*\).*/\1/p' "/proc/$pid/status" 2>/dev/null) && [ -n "$now" ]; do
        peak=$now
        sleep 0.1
    done
    wait "$pid"
    began=$((($(date +%s%N) - began) / 1000000000))
    wait %%
    echo "$1: $(cat purged); $began s, at most $((peak / 1024)) MiB; beside it $(median "$(wc -l <beside)" <beside) links/s of a client, $before before"
}

count() { psql -At "$url" -c "SELECT 'autovacuum ' || autovacuum_count || ' times, ' || n_dead_tup || ' dead rows, ' || n_tup_hot_upd * 100 / greatest(n_tup_upd, 1) || ' % of the updates on the same page, table ' || pg_table_size('sessions') / 1048576 || ' MiB, indexes ' || pg_indexes_size('sessions') / 1048576 || ' MiB' FROM pg_stat_user_tables WHERE relname = 'sessions'"; }
vacuumed() {
    psql -q "$url" -c 'TRUNCATE sessions' -c 'SELECT pg_stat_reset()' >/dev/null
    fill_postgres load "$active" "$sessions"
    echo "postgres, $sessions active: $(count)"
    for minute in $(seq "$minutes"); do
        printf 'postgres, minute %s: %s links/s; ' "$minute" "$(SESSIONS=$sessions "$TARGET/examples/load" http "$address" $token 16 60 | cut -d ' ' -f 1)"
        count
    done
}

cd "$work"
for engine in $engines; do
    if [ "$engine" = sqlite ]; then url=sqlite://$work/sessions.db; else open_postgres "${SETTINGS:-}"; fi
    "$TARGET/midsession-server" migrate --database-url "$url" 2>log
    "fill_$engine" ended "$ended" "$sessions"
    "fill_$engine" load "$active" 10000
    start "$url"
    echo "$engine, $sessions ended: ready after $took ms, the server holds $(($(ps -o rss= -p "$server") / 1024)) MiB"
    purge "$engine"
    [ "$engine" = sqlite ] || vacuumed
    echo "$engine: the server holds $(($(ps -o rss= -p "$server") / 1024)) MiB at the end"
    stop
done
