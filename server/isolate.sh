#!/usr/bin/env bash
# What the healthy rest gets while something else is slow, in one run: a line for each, with the accepted links a second before
# and during, and the share that is left. The last line is the least share. It needs redis-server and PostgreSQL, and
# leaves nothing running.
#   ROWS="reads row replica paused flood" CLIENTS=16 SECONDS_EACH=4 SERVER=target/dist/midsession-server server/isolate.sh
set -euo pipefail
cd "$(dirname "$0")/.."
export ROWS=${ROWS:-reads row replica paused flood} CLIENTS=${CLIENTS:-16} SECONDS_EACH=${SECONDS_EACH:-4}
if [ -z "${SERVER:-}" ]; then
    cargo build --locked --quiet --profile dist -p midsession-server --features redis --bins
    SERVER=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/dist/midsession-server
fi
export SERVER
SERVER=$(realpath "$SERVER")
PATH=$PATH:$(printf '%s:' /usr/lib/postgresql/*/bin)
exec python3 - <<'PY'
import contextlib, json, multiprocessing, os, random, shutil, signal, socket, subprocess, tempfile, threading, time

CLIENTS, SECONDS = int(os.environ["CLIENTS"]), float(os.environ["SECONDS_EACH"])
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
        tokens = os.path.join(work, "tokens")
        with open(tokens, "w") as file:
            file.write("\n".join(TOKENS))
        os.chmod(tokens, 0o600)
        command = [os.environ["SERVER"], "--listen", "127.0.0.1:0", "--interval", "0s", "--token-file", tokens, "--database-url", url]
        self.process = subprocess.Popen(command + list(flags), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def stop(self):
        self.process.terminate()
        self.process.wait(30)

def connect(port, token):
    stream = socket.create_connection(("127.0.0.1", port), timeout=30)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return stream, token

def ask(connection, method, path, body=""):
    stream, token = connection
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n"
    stream.sendall(f"{head}content-length: {len(body)}\r\n\r\n{body}".encode())
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += stream.recv(4096)
    head, rest = reply.split(b"\r\n\r\n", 1)
    length = int(head.lower().split(b"content-length: ", 1)[1].split(b"\r\n")[0])
    while len(rest) < length:
        rest += stream.recv(4096)
    return int(head.split()[1]), rest

def link(connection, session, person):
    return ask(connection, "POST", f"/apps/api/v1/chats/{session}/end_user", json.dumps({"identifier": f"person-{person}"}))[0]

def start(port, count):
    connection = connect(port, TOKENS[0])
    return [json.loads(ask(connection, "POST", "/apps/api/v1/chats")[1])["id"] for _ in range(count)]

def _links(port, token, sessions, seconds, clients, results):
    """Clients that link, each as soon as it is answered. A 503 waits a second, as it says."""
    counts, end = [0, 0], time.monotonic() + seconds
    def client():
        connection = connect(port, token)
        while time.monotonic() < end:
            status = link(connection, random.choice(sessions), random.random())
            counts[status != 202] += 1
            if status != 202:
                time.sleep(1)
    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    [thread.start() for thread in threads]
    [thread.join(seconds + 10) for thread in threads]
    results.put(tuple(counts))

def links(port, sessions, token=TOKENS[0]):
    results = multiprocessing.Queue()
    load = multiprocessing.Process(target=_links, args=(port, token, sessions, SECONDS, CLIENTS, results))
    load.start()
    accepted, refused = results.get()
    load.join()
    return accepted / SECONDS

@contextlib.contextmanager
def beside(work, *arguments):
    """Runs `work` again and again in a process of its own."""
    process = multiprocessing.Process(target=work, args=arguments, daemon=True)
    process.start()
    time.sleep(0.5)
    try:
        yield
    finally:
        process.kill()
        process.join()

def many(port, token, clients, method, sessions):
    def client():
        while True:
            with contextlib.suppress(Exception):
                connection = connect(port, token)
                while True:
                    session = random.choice(sessions)
                    status = link(connection, session, random.random()) if method == "POST" else ask(connection, "GET", f"/apps/api/v1/chats/{session}")[0]
                    if status == 503:
                        time.sleep(1)
    threads = [threading.Thread(target=client, daemon=True) for _ in range(clients)]
    [thread.start() for thread in threads]
    threading.Event().wait()

worst = None
def row(name, port, healthy, slow, token=TOKENS[0]):
    global worst
    links(port, healthy, token)
    before = links(port, healthy, token)
    with slow:
        during = links(port, healthy, token)
    share = during / max(before, 1e-9)
    worst = share if worst is None else min(worst, share)
    print(f"{name:<52} {before:>8.0f} {during:>8.0f} {share:>7.0%}", flush=True)

def reads(work):
    server = Server(f"sqlite://{work}/sessions.db", work)
    sessions = start(server.port, 100)
    row("400 clients that GET on SQLite", server.port, sessions, beside(many, server.port, TOKENS[0], 400, "GET", sessions))
    server.stop()

def flood(work):
    server = Server(f"sqlite://{work}/sessions.db", work, "--queue", "256")
    sessions = start(server.port, 100)
    row("one token with 1,000 connections, another token", server.port, sessions,
        beside(many, server.port, TOKENS[1], 1000, "POST", sessions))
    server.stop()

def postgres_row(work):
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
        sessions = start(server.port, 100)
        held = sessions.pop()
        @contextlib.contextmanager
        def slow():
            sql = f"BEGIN; SELECT FROM sessions WHERE id = '{held}' FOR UPDATE; SELECT pg_sleep(60)"
            holder = subprocess.Popen(["psql", "-q", url, "-c", sql], stdout=subprocess.DEVNULL)
            time.sleep(0.5)
            with beside(many, server.port, TOKENS[0], 1, "POST", [held]):
                yield
            holder.kill()
        row("one PostgreSQL row held FOR UPDATE", server.port, sessions, slow())
        server.stop()
    finally:
        run("pg_ctl", "-D", data, "-m", "immediate", "stop")

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
        sessions = start(server.port, 150)
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
            with beside(many, server.port, TOKENS[0], CLIENTS, "POST", sick):
                yield
            its_replica.send_signal(signal.SIGCONT)
        row("one Redis master without its replica", server.port, healthy, slow())

def paused(work):
    with cluster(work) as (server, healthy, sick, master, its_replica):
        def pause():
            while True:
                os.kill(master.pid, signal.SIGSTOP)
                time.sleep(0.4)
                os.kill(master.pid, signal.SIGCONT)
                time.sleep(0.1)
        @contextlib.contextmanager
        def slow():
            with beside(pause), beside(many, server.port, TOKENS[0], CLIENTS, "POST", sick):
                yield
        row("one Redis master paused 400 of every 500 ms", server.port, healthy, slow())

print(f"{'slow':<52} {'before':>8} {'during':>8} {'share':>7}", flush=True)
for name in os.environ["ROWS"].split():
    with tempfile.TemporaryDirectory() as work:
        {"reads": reads, "row": postgres_row, "replica": replica, "paused": paused, "flood": flood}[name](work)
print(f"isolation: {worst:.0%}")
PY
