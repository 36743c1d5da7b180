#!/usr/bin/env bash
# What the audit costs: accepted links a second with and without --audit, in turns in one run, and the time on the processor of
# the server and its database for each link, which other work on the machine blurs less. Each engine has two servers, on two
# databases. Prints each round, then the medians and their ratios.
# The sessions are linked in the order of their start, as real ones are: their ids are in that order, too, and so lie together
# in an index. ORDER=random picks them at random, which is the worst case: each row of the audit then has a page of its own.
#   ENGINES="sqlite postgres" CLIENTS="16 64" SECONDS_EACH=3 ROUNDS=5 PROFILE=dist ORDER=started server/audit.sh
set -euo pipefail
cd "$(dirname "$0")/.."

engines=${ENGINES:-sqlite postgres} all_clients=${CLIENTS:-16 64} seconds=${SECONDS_EACH:-3} rounds=${ROUNDS:-5}
profile=${PROFILE:-dist} token=load-token-of-sixteen
export ORDER=${ORDER:-started}
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/${profile/#dev/debug}
cargo build --locked --quiet --profile "$profile" -p midsession-server --bins --example load

. server/scratch.sh
servers=()
finish() {
    [ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true
    remove_work
}
trap finish EXIT

# start NAME URL [FLAG]: a server whose address is then in the file NAME.
start() {
    "$target/midsession-server" --listen 127.0.0.1:0 --token "crm-sync:$token" --interval 0s --database-url "$2" ${3:+"$3"} \
        >"out.$1" 2>"log.$1" &
    servers+=($!)
    until [ -e "out.$1" ] && sed -n 's|listening on http://||p' "out.$1" >"$1" && [ -s "$1" ]; do
        kill -0 "${servers[-1]}" || { cat "log.$1" >&2; exit 1; }
        sleep 0.1
    done
}

# Everyday sessions, all linked before.
record='{"state":"active","comm_type":"chat","crm_support":"supported","end_user":{"identifier":"person-0","name":"John Doe","email":"johndoe@example.com"},"last_linked_at":"2026-11-22T12:00:00.123456789Z","revision":0}'

start_sqlite() {
    start plain "sqlite://$work/plain.db"
    start audited "sqlite://$work/audited.db" --audit
    python3 - "$record" plain.db audited.db <<'PY'
import sqlite3, sys
for file in sys.argv[2:]:
    with sqlite3.connect(file) as db:
        db.executemany("INSERT INTO sessions VALUES (?, 0, ?)", [(f"load-{n}", sys.argv[1]) for n in range(1, 10001)])
PY
}
start_postgres() {
    open_postgres
    local name
    for name in plain audited; do
        psql -q "$url" -c "CREATE DATABASE $name"
    done
    start plain "${url%/*}/plain"
    start audited "${url%/*}/audited" --audit
    for name in plain audited; do
        psql -q "${url%/*}/$name" -c "INSERT INTO sessions SELECT 'load-' || n, 0, '$record' FROM generate_series(1, 10000) n" -c 'VACUUM ANALYZE sessions'
    done
}

# used: the time on the processor of the servers and of PostgreSQL so far, in hundredths of a second.
used() {
    local all=("${servers[@]}")
    # shellcheck disable=SC2207
    [ ! -e data/postmaster.pid ] || all+=($(pgrep -P "$(head -n 1 data/postmaster.pid)"))
    for one in "${all[@]}"; do sed 's/.*) //' "/proc/$one/stat"; done | awk '{ sum += $12 + $13 } END { print sum }'
}

line() { printf '%-34s %8s %8s %8s %8s %8s %8s\n' "$@"; }
median() { cut -d ' ' -f "$2" "$1" | sort -n | sed -n "$((rounds / 2 + 1))p"; }

cd "$work"
line "$seconds s each" links/s 'p50 ms' 'p95 ms' 'p99 ms' 'max ms' 'us/link'
for engine in $engines; do
    "start_$engine"
    for clients in $all_clients; do
        for _ in $(seq "$rounds"); do
            for name in plain audited; do
                before=$(used)
                "$target/examples/load" http "$(cat $name)" $token "$clients" "$seconds" | cut -d ' ' -f 1-5 >round
                echo "$(cat round) $((($(used) - before) * 10000 / ($(cut -d ' ' -f 1 round) * seconds)))" >>"$name.$engine.$clients"
                # shellcheck disable=SC2046
                line "$engine, $clients clients, $name" $(tail -n 1 "$name.$engine.$clients")
            done
        done
    done
    kill "${servers[@]}" && wait "${servers[@]}"
    servers=()
done

echo
printf '%-34s %8s %8s %8s\n' "medians of $rounds" plain audited ratio
for engine in $engines; do
    for clients in $all_clients; do
        for what in '1 links/s' '6 us/link'; do
            plain=$(median "plain.$engine.$clients" "${what% *}") audited=$(median "audited.$engine.$clients" "${what% *}")
            ratio=$(echo "$plain $audited" | awk '{ printf "%.2f", $2 / $1 }')
            printf '%-34s %8s %8s %8s\n' "$engine, $clients clients, ${what#* }" "$plain" "$audited" "$ratio"
        done
    done
done
