#!/usr/bin/env bash
# Accepted links a second and their latency on each engine, beside the same statements run bare in the same run: by
# pgbench on PostgreSQL, by a plain loop on SQLite, by redis-benchmark on a Redis Cluster of six processes. Prints each
# round, then the medians and their ratios, and last a line for each engine at 64 clients, or at the most there were. In
# between, what a server does with four times as many clients as it takes at once, OVERLOAD of them, or none.
#   ENGINES="postgres sqlite redis" CLIENTS="1 16 64 256" OVERLOAD=1024 SECONDS_EACH=5 ROUNDS=3 server/load.sh
# SESSIONS=1000000 has as many sessions on each engine, in place of 10,000.
set -euo pipefail
cd "$(dirname "$0")/.."

engines=${ENGINES:-postgres sqlite redis} all_clients=${CLIENTS:-1 16 64 256} seconds=${SECONDS_EACH:-5}
rounds=${ROUNDS:-3} overload=${OVERLOAD:-1024} token=load-token-of-sixteen
export SESSIONS=${SESSIONS:-10000}
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/dist
cargo build --locked --quiet --profile dist -p midsession-server --features redis --bins --example load
write_script=$(sed -n '/^const WRITE_TEXT/,/^return 1"/p' server/src/engines/redis/script.rs | sed '1s/[^"]*"//; $s/";*$//')

. server/scratch.sh
server= nodes=()
finish() {
    grep '"cause"' "$work/log" | grep -v 'the queue is full' | head -n 5 >&2 || true
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    [ ${#nodes[@]} = 0 ] || kill "${nodes[@]}" 2>/dev/null || true
    remove_work
}
trap finish EXIT

# start URL [QUEUE]: the server on that database; its address is in $address.
start() {
    : >"$work/out"
    url=$1
    "$target/midsession-server" --queue "${2:-2048}" --listen 127.0.0.1:0 --token $token --interval 0s --database-url "$1" \
        >"$work/out" 2>"$work/log" &
    server=$!
    until address=$(sed -n 's|listening on http://||p' "$work/out") && [ -n "$address" ]; do
        kill -0 "$server" || { cat "$work/log" >&2; exit 1; }
        sleep 0.1
    done
}
stop() {
    printf '%s: the server holds %d MiB\n' "$1" "$(($(ps -o rss= -p "$server") / 1024))"
    kill "$server" && wait "$server"
    server=
}

# Everyday sessions, all linked before.
record='{"state":"active","comm_type":"chat","crm_support":"supported","end_user":{"identifier":"person-0","name":"John Doe","email":"johndoe@example.com"},"last_linked_at":"2026-11-22T12:00:00.123456789Z","revision":0}'

line() { printf '%-34s %8s %8s %8s %8s %8s\n' "$@"; }
median() { sort -n "$1" | sed -n "$((rounds / 2 + 1))p" | cut -d ' ' -f "${2:-1}"; }

# measure ENGINE WHAT: each number of clients, in turns with the engine's bare side.
measure() {
    for clients in $all_clients; do
        for _ in $(seq "$rounds"); do
            "$target/examples/load" http "$address" $token "$clients" "$seconds" >round
            tee -a "http.$1.$clients" <round >/dev/null
            # shellcheck disable=SC2046
            line "$1, $clients clients, the server" $(cat round)
            "bare_$1" "$clients" >round
            tee -a "bare.$1.$clients" <round >/dev/null
            # shellcheck disable=SC2046
            line "$1, $clients clients, $2" $(cat round)
        done
    done
}

# overload ENGINE: four times as many clients as its queue has places.
overload() {
    start "$url" $((overload / 4))
    for _ in $(seq "$rounds"); do
        "$target/examples/load" http "$address" $token "$overload" "$seconds" >round
        cat round >>"overload.$1"
        # shellcheck disable=SC2046
        printf '%-34s %8s %8s %8s %8s %8s, %s a second told to come again, after %s ms at most\n' \
            "$1, $overload clients, a short queue" $(cat round)
    done
    stop "$1, overloaded"
}

start_postgres() {
    open_postgres '-c max_connections=300'
    start "$url"
    # pgbench has sessions of its own: it raises their revision in the column alone, and the server would call that a race.
    psql -q "$url" -c "INSERT INTO sessions SELECT kind || n, 0, '$record' FROM generate_series(1, $SESSIONS) n, unnest(ARRAY['load-', 'bare-']) kind" -c 'VACUUM ANALYZE sessions'
    cat >bare.sql <<SQL
\set n random(1, $SESSIONS)
SELECT revision, record FROM sessions WHERE id = 'bare-' || :n \gset
UPDATE sessions SET revision = :revision::bigint + 1, record = :record WHERE id = 'bare-' || :n AND revision = :revision::bigint;
SQL
}
bare_postgres() {
    rm -f pgbench_log.*
    pgbench -n -M prepared -c "$1" -j $(($1 < 2 ? $1 : 2)) -T "$seconds" -f bare.sql -l --log-prefix=pgbench_log "$url" >pgbench.out 2>&1
    cut -d ' ' -f 3 pgbench_log.* | sort -n | awk -v seconds="$seconds" '{ us[NR] = $1 }
        END { printf "%d %.2f %.2f %.2f %.2f\n", NR / seconds, us[int(NR * .5)] / 1e3, us[int(NR * .95)] / 1e3, us[int(NR * .99)] / 1e3, us[NR] / 1e3 }'
}
stop_postgres() { close_postgres; }

start_sqlite() {
    start "sqlite://$work/sessions.db"
    python3 - "$work/sessions.db" "$record" "$SESSIONS" <<'PY'
import sqlite3, sys
with sqlite3.connect(sys.argv[1]) as db:
    db.executemany("INSERT INTO sessions VALUES (?, 0, ?)", ((f"load-{n}", sys.argv[2]) for n in range(1, int(sys.argv[3]) + 1)))
sqlite3.connect(sys.argv[1]).execute("PRAGMA wal_checkpoint(TRUNCATE)")
PY
}
# One client, however many the server has: a file has one writer.
bare_sqlite() { "$target/examples/load" sqlite "$work/sessions.db" "$seconds"; }
stop_sqlite() { :; }

# Three masters with a replica each, which flush each command.
start_redis() {
    local base port hosts=()
    # Their bus listens 10,000 above: it must not be a port that the system gives to outgoing connections.
    base=$(shuf -i 10000-19990 -n 1)
    for port in $(seq "$base" $((base + 5))); do
        mkdir "redis-$port"
        redis-server --port "$port" --bind 127.0.0.1 --dir "$work/redis-$port" --cluster-enabled yes --save '' \
            --appendonly yes --appendfsync always >"redis-$port/log" 2>&1 &
        nodes+=($!)
        hosts+=("127.0.0.1:$port")
    done
    for port in $(seq "$base" $((base + 5))); do
        until redis-cli -p "$port" ping >/dev/null 2>&1; do
            kill -0 "${nodes[@]}" || { cat redis-*/log >&2; exit 1; }
            sleep 0.1
        done
    done
    redis-cli --cluster create "${hosts[@]}" --cluster-replicas 1 --cluster-yes >/dev/null
    until [ "$(for port in $(seq "$base" $((base + 5))); do redis-cli -p "$port" cluster info; done | grep -c cluster_state:ok)" = 6 ]; do sleep 0.1; done
    redis_port=$base
    for port in $(seq "$base" $((base + 2))); do
        # Each master takes those whose slot it has.
        seq "$SESSIONS" | sed "s|.*|SET midsession:load-& '0 $record'|" | redis-cli -p "$port" >/dev/null
        script_hash=$(redis-cli -p "$port" SCRIPT LOAD "$write_script")
    done
    redis-benchmark -q --cluster -p "$base" -n 200000 SET 'bare-{tag}' "0 $record" >/dev/null
    start "redis://$(IFS=,; echo "${hosts[*]}")"
}
bare_redis() {
    redis-benchmark --csv --cluster -p "$redis_port" -c "$1" -n $((seconds * 20000)) \
        EVALSHA "$script_hash" 1 'bare-{tag}' '0 ' "0 $record" | tail -n 1 | tr -d '"' |
        awk -F , '{ n = NF; printf "%d %.2f %.2f %.2f %.2f\n", $(n - 6), $(n - 3), $(n - 2), $(n - 1), $n }'
}
stop_redis() { kill "${nodes[@]}"; nodes=(); }

cd "$work"
line "$seconds s each" links/s 'p50 ms' 'p95 ms' 'p99 ms' 'max ms'
for engine in $engines; do
    "start_$engine"
    case $engine in postgres) bare=pgbench ;; sqlite) bare='a plain loop' ;; redis) bare=redis-benchmark ;; esac
    measure "$engine" "$bare"
    stop "$engine"
    [ "$overload" = 0 ] || overload "$engine"
    "stop_$engine"
done

echo
line "medians of $rounds" links/s 'p50 ms' 'p99 ms' bare 'of bare'
for engine in $engines; do
    for clients in $all_clients; do
        http=http.$engine.$clients bare=bare.$engine.$clients
        ratio=$(echo "$(median "$http") $(median "$bare")" | awk '{ printf "%.2f", $1 / $2 }')
        line "$engine, $clients clients" "$(median "$http")" "$(median "$http" 2)" "$(median "$http" 4)" "$(median "$bare")" "$ratio"
        [ -e "at-64.$engine" ] || echo "$engine: $ratio of bare" >"last.$engine"
        [ "$clients" != 64 ] || touch "at-64.$engine"
    done
done
for engine in $engines; do cat "last.$engine"; done
