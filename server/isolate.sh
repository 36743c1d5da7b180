#!/usr/bin/env bash
# What the healthy rest gets while something else is slow, in one run: a line for each, with the links a second that were
# accepted within a second, before and during, and the share that is left. The last line is the least share.
#
# In the rows with a rate the healthy rest asks for RATE links a second, whether or not it is answered; a flood beside it
# asks as fast as it is answered, and does not wait when it is told to. In the others what is slow waits and takes no
# processor, and the healthy rest asks as fast as it is answered, too. A store that panics has no row: no engine's does.
# The test `batching::isolation` has it.
#
# It needs redis-server and PostgreSQL, and leaves nothing running.
#   ROWS="reads flood" RATE=100 CLIENTS=16 SECONDS_EACH=4 PROFILE=dist server/isolate.sh
#   BUILT=target/release server/isolate.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export ROWS=${ROWS:-reads flood connections docs tokens row unknown hangups replica paused}
export RATE=${RATE:-100} CLIENTS=${CLIENTS:-16} SECONDS_EACH=${SECONDS_EACH:-4}
# The server and its clients, where they are built already.
if [ -z "${BUILT:-}" ]; then
    profile=${PROFILE:-dist}
    cargo build --locked --quiet --profile "$profile" -p midsession-server --features redis --bins --example isolate
    BUILT=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$profile
fi
BUILT=$(realpath "$BUILT")
export BUILT
ulimit -n "$(ulimit -Hn)"
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
exec python3 - <<'PY'
import contextlib, http.client, json, os, random, shutil, signal, socket, subprocess, tempfile, threading, time

RATE, CLIENTS, SECONDS = os.environ["RATE"], os.environ["CLIENTS"], os.environ["SECONDS_EACH"]
SERVER, CLIENT = (os.path.join(os.environ["BUILT"], name) for name in ("midsession-server", "examples/isolate"))
TOKENS = ["isolate-token-0123456789", "isolate-other-0123456789"]

def port():
    while True:
        number = random.randint(12000, 19000)
        with contextlib.closing(socket.socket()) as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", number))
            return number

def until(what, ask):
    for _ in range(600):
        with contextlib.suppress(Exception):
            if ask():
                return
        time.sleep(0.1)
    raise SystemExit(f"not in a minute: {what}")

class Server:
    def __init__(self, url, work, *flags):
        self.work, self.tokens = work, os.path.join(work, "tokens")
        with open(self.tokens, "w") as file:
            file.write("\n".join(TOKENS))
        os.chmod(self.tokens, 0o600)
        command = [SERVER, "--listen", "127.0.0.1:0", "--interval", "0s", "--token-file", self.tokens, "--database-url", url]
        command += ["--drain", "0s", *flags]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])
        self.address = f"127.0.0.1:{self.port}"

    def start(self, count):
        connection = http.client.HTTPConnection(self.address)
        def start():
            connection.request("POST", "/apps/api/v1/chats", headers={"authorization": f"Bearer {TOKENS[0]}"})
            return json.loads(connection.getresponse().read())["id"]
        return [start() for _ in range(count)]

    def sessions(self, ids):
        name = tempfile.mktemp(dir=self.work)
        with open(name, "w") as file:
            file.write("\n".join(ids))
        return name

    def links(self, ids, rate):
        command = [CLIENT, "links", self.address, TOKENS[0], CLIENTS, rate, SECONDS, self.sessions(ids)]
        return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)

    @contextlib.contextmanager
    def beside(self, clients, what, ids, token=TOKENS[0]):
        """Clients that ask for something again and again."""
        command = [CLIENT, "flood", self.address, token, str(clients), what, self.sessions(ids)]
        process = subprocess.Popen(command)
        time.sleep(0.5)
        try:
            yield
        finally:
            process.kill()
            process.wait()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

worst = None
def row(name, server, healthy, slow, rate="0"):
    global worst
    server.links(healthy, rate)
    before = server.links(healthy, rate)
    with slow:
        during = server.links(healthy, rate)
    share = during / max(before, 1e-9)
    worst = share if worst is None else min(worst, share)
    print(f"{name:<62} {before:>8.0f} {during:>8.0f} {share:>7.0%}", flush=True)

@contextlib.contextmanager
def sqlite(work, *flags):
    server = Server(f"sqlite://{work}/sessions.db", work, *flags)
    yield server, server.start(100)
    server.stop()

def reads(work):
    with sqlite(work) as (server, sessions):
        row("400 clients that GET on SQLite", server, sessions, server.beside(400, "reads", sessions), RATE)

def flood(work):
    with sqlite(work, "--queue", "256") as (server, sessions):
        slow = server.beside(1000, "links", sessions, TOKENS[1])
        row("one token with 1,000 connections, a queue of 256", server, sessions, slow, RATE)

def connections(work):
    with sqlite(work) as (server, sessions):
        row("one token with 3,500 connections", server, sessions, server.beside(3500, "links", sessions, TOKENS[1]), RATE)

def docs(work):
    with sqlite(work, "--public-docs") as (server, sessions):
        @contextlib.contextmanager
        def slow():
            unread = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(300)]
            for stream in unread:
                stream.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n")
            yield
            for stream in unread:
                stream.close()
        row("300 connections that do not read /docs", server, sessions, slow())

def tokens(work):
    with sqlite(work) as (server, sessions):
        @contextlib.contextmanager
        def slow():
            os.rename(server.tokens, server.tokens + ".before")
            os.mkfifo(server.tokens, 0o600)
            server.process.send_signal(signal.SIGHUP)
            yield
        row("a token file that is a FIFO at SIGHUP", server, sessions, slow())

@contextlib.contextmanager
def postgres(work):
    user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.getuid() == 0 else []
    if user:
        shutil.chown(work, "nobody")
    data, number = os.path.join(work, "data"), port()
    run = lambda *command: subprocess.run(user + list(command), check=True, stdout=subprocess.DEVNULL, cwd=work)
    run("initdb", "-D", data, "-U", "midsession", "--auth=trust", "--encoding=UTF8", "--locale=C")
    options = f"-p {number} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=100"
    run("pg_ctl", "-D", data, "-w", "-l", os.path.join(work, "log"), "-o", options, "start")
    url = f"postgres://midsession@127.0.0.1:{number}/postgres"
    try:
        server = Server(url, work)
        # While a transaction holds a row, PostgreSQL keeps every version of all rows. With few sessions, that alone would
        # slow the links down, more with each second.
        sessions = server.start(3000)
        held = sessions.pop()
        yield server, sessions, held, url
        server.stop()
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")

@contextlib.contextmanager
def holding(url, session):
    sql = f"BEGIN; SELECT FROM sessions WHERE id = '{session}' FOR UPDATE; SELECT pg_sleep(60)"
    holder = subprocess.Popen(["psql", "-q", url, "-c", sql], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    yield
    holder.kill()
    holder.wait()

def postgres_row(work):
    with postgres(work) as (server, sessions, held, url):
        with holding(url, held):
            row("one PostgreSQL row held FOR UPDATE", server, sessions, server.beside(1, "links", [held]))

# The connection ends in the commit of this one session: whether it was made is not known.
UNKNOWN = """
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER lose AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW WHEN (NEW.id = '%s') EXECUTE FUNCTION lose()
"""

def unknown(work):
    with postgres(work) as (server, sessions, held, url):
        subprocess.run(["psql", "-q", url, "-c", UNKNOWN % held], check=True)
        row("one write of unknown fate on PostgreSQL", server, sessions, server.beside(1, "links", [held]))

def hangups(work):
    with postgres(work) as (server, sessions, held, url):
        body = b'{"identifier":"x"}'
        head = f"POST /apps/api/v1/chats/{held}/end_user HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKENS[0]}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        over = threading.Event()
        def hang_up():
            while not over.wait(0.002):
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", server.port)) as stream:
                    stream.sendall(head.encode() + body)
        @contextlib.contextmanager
        def slow():
            client = threading.Thread(target=hang_up)
            client.start()
            yield
            over.set()
            client.join()
        with holding(url, held):
            row("300 hang-ups a second under a held lock", server, sessions, slow())

@contextlib.contextmanager
def cluster(work):
    base, nodes = port(), []
    ports = list(range(base, base + 6))
    for number in ports:
        folder = os.path.join(work, str(number))
        os.mkdir(folder)
        nodes.append(subprocess.Popen(["redis-server", "--port", str(number), "--bind", "127.0.0.1", "--dir", folder, "--cluster-enabled", "yes",
            "--save", "", "--appendonly", "yes", "--cluster-node-timeout", "60000"], stdout=subprocess.DEVNULL))
    cli = lambda number, *command: subprocess.run(["redis-cli", "-p", str(number), *command], capture_output=True, text=True).stdout
    try:
        for number in ports:
            until("Redis answers", lambda: "PONG" in cli(number, "ping"))
        hosts = [f"127.0.0.1:{number}" for number in ports]
        cli(base, "--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes")
        until("the cluster is whole", lambda: all("cluster_state:ok" in cli(number, "cluster", "info") for number in ports))
        replica = lambda master: next(n for n, p in zip(nodes, ports) if f"master_port:{master}" in cli(p, "info", "replication"))
        until("each master has its replica", lambda: all("state=online" in cli(number, "info", "replication") for number in ports[:3]))
        server = Server(f"redis://{','.join(hosts)}", work)
        sessions = server.start(150)
        slot = lambda session: int(cli(base, "cluster", "keyslot", f"midsession:{session}"))
        first = {session for session in sessions if slot(session) <= 5460}
        yield server, [s for s in sessions if s not in first], list(first), nodes[0], replica(base)
        server.stop()
    finally:
        for node in nodes:
            node.send_signal(signal.SIGCONT)
            node.kill()
            node.wait()

def replica(work):
    with cluster(work) as (server, healthy, sick, master, its_replica):
        @contextlib.contextmanager
        def slow():
            its_replica.send_signal(signal.SIGSTOP)
            with server.beside(CLIENTS, "links", sick):
                yield
            its_replica.send_signal(signal.SIGCONT)
        row("one Redis master without its replica", server, healthy, slow())

def paused(work):
    with cluster(work) as (server, healthy, sick, master, its_replica):
        over = threading.Event()
        def pause():
            while not over.is_set():
                master.send_signal(signal.SIGSTOP)
                time.sleep(0.4)
                master.send_signal(signal.SIGCONT)
                time.sleep(0.1)
        @contextlib.contextmanager
        def slow():
            pausing = threading.Thread(target=pause)
            pausing.start()
            with server.beside(CLIENTS, "links", sick):
                yield
            over.set()
            pausing.join()
        row("one Redis master paused 400 of every 500 ms", server, healthy, slow())

print(f"{'slow':<62} {'before':>8} {'during':>8} {'share':>7}", flush=True)
for name in os.environ["ROWS"].split():
    with tempfile.TemporaryDirectory() as work:
        {"row": postgres_row}.get(name, globals().get(name))(work)
print(f"isolation: {worst:.0%}")
PY
