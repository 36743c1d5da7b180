# Sourced by load.sh, audit.sh and size.sh: a folder of their own in $work, and a PostgreSQL in it that ends with them.
# shellcheck shell=bash

PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
work=$(mktemp -d)
# PostgreSQL does not run as root.
as_user=()
if [ "$(id -u)" = 0 ]; then
    as_user=(setpriv --reuid=nobody --regid=nogroup --clear-groups)
    chown nobody "$work"
fi

# open_postgres [OPTIONS]: called in $work; the URL of its database `postgres` is in $url.
open_postgres() {
    "${as_user[@]}" initdb -D data -U midsession --auth=trust --encoding=UTF8 --locale=C >/dev/null
    local port
    port=$(shuf -i 20000-29999 -n 1)
    "${as_user[@]}" pg_ctl -D data -w -l log.postgres -o "-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' ${1:-}" start >/dev/null
    url=postgres://midsession@127.0.0.1:$port/postgres
}
close_postgres() { "${as_user[@]}" pg_ctl -D "$work/data" -m immediate stop >/dev/null 2>&1; }

# What is left when the servers were told to end.
remove_work() {
    [ ! -d "$work/data" ] || close_postgres || true
    wait
    rm -rf "$work"
}
