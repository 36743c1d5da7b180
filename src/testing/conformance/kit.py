#!/usr/bin/env python3
"""Drives a running transport through the conformance cases over HTTP, and prints what differs.

    kit.py http://127.0.0.1:3000 --token SECRET
    kit.py http://127.0.0.1:3000 --without nanoseconds,empty_segments
    kit.py https://localhost:3000/base --cafile ca.pem --junit report.xml --race 8

The transport may be written in any language. What it has to do stands in cases.json, beside this file, under "contract".
For the test it offers four hooks, which no release should have. Their bodies are JSON.

    PUT /test/case      The body is an object. From now on, the store holds what it says and nothing else, and what an
                        earlier case left in memory (a cache, a limiter) is gone. Any status from 200 to 299 means that it
                        is done. The keys are always there:
        session_id      The id of the case's session.
        session         The session that the store holds under this id, or null: none.
        others          An object: the sessions that it holds under other ids.
        policy, now     Links are decided by this policy, and the clock stands at now.
        meanwhile       A session, or null. Right after the transport has read session_id from the store for the first
                        time, before it writes, the store puts this session in the place of the one that was read. So a
                        write on condition of the revision that was read is lost, as to another server.
        deleted_meanwhile  True or false. At the same moment, the store deletes the session. Then there is no meanwhile.
        refused_writes  A number. So many writes of session_id the store answers as it answers a write on condition of a
                        stale revision, and stores nothing of them.
        pause_ms        A number. So many milliseconds the store waits before each write. It is 0 except for --race.
    PUT /test/clock     {"now": ...}: the clock stands at now, and no write is lost any more: forget what is left of
                        meanwhile, deleted_meanwhile and refused_writes. Nothing else changes.
    PUT /test/session   {"session_id": ..., "session": ...}: another server has stored this session under this id, or has
                        deleted it if it is null. Nothing else changes: what the transport keeps in memory stays there.
    GET /test/sessions  Answers 200 and an object: every session that the store holds, by its id, in the stored form.

A transport that locks a session from its read to its write loses no race: run it with --without meanwhile.

Requests go out one after the other, each on a connection of its own, with the content type application/json unless the
case has another, and with "Authorization: Bearer <token>" if a token is given. Paths go out byte for byte: "//" and "%2F"
stay as they are. Of the token, README.md beside this file says what is demanded.

Exits with 0 if every judged case passes, 1 if one fails, 2 if the cases could not be run. Needs Python 3.9 and nothing but
its standard library.
"""

import argparse
import base64
import concurrent.futures
import fnmatch
import http.client
import json
import pathlib
import ssl
import sys
import time
import urllib.parse
from xml.sax.saxutils import escape, quoteattr

# The first number of the version of cases.json. The file says under "format" what a change of it means.
FORMAT = 3
# How writes are lost to other servers, and how none is.
NO_LOSS = {"meanwhile": None, "deleted_meanwhile": False, "refused_writes": 0}
STATE = ("session_id", "session", "others", "policy", "now", *NO_LOSS, "pause_ms")
DEFAULTS = {**NO_LOSS, "others": {}, "pause_ms": 0, "headers": {}, "query": None, "steps": []}
TOKEN_CASE = "token_is_asked_for"
# What is judged beside the cases: the option that it needs, and its rule.
BESIDE_THE_CASES = {
    TOKEN_CASE: ("--token", "without the token, and with what is nearly it, every link is refused by 401 or 403, whatever is stored."),
    "race_of_N": ("--race N", "of N equal links at once, exactly one is accepted."),
}
NO_REPLY = (OSError, http.client.HTTPException)


class Broken(Exception):
    """The cases cannot be run: a hook fails, or nobody listens."""


class Gone(Broken):
    """The server does not answer a hook."""


class Transport:
    def __init__(self, url, token, timeout, cafile):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise Broken(f"{url} is no URL of the form http://host:port/base")
        self.address, self.base, self.timeout = (parts.hostname, parts.port), parts.path.rstrip("/"), timeout
        self.tls = ssl.create_default_context(cafile=cafile) if parts.scheme == "https" else None
        self.token = token

    def send(self, method, path, body=b"", headers=None, token=""):
        """Returns status, body and the header Retry-After. A connection that fails raises one of NO_REPLY."""
        token = self.token if token == "" else token
        named = {"content-type": "application/json", "connection": "close"}
        named.update({"authorization": f"Bearer {token}"} if token else {}, **(headers or {}))
        connection = self.connect()
        try:
            connection.putrequest(method, self.base + path, skip_accept_encoding=True)
            for name, value in named.items():
                if value is not None:
                    connection.putheader(name, value)
            if body:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            response = connection.getresponse()
            return response.status, response.read(), response.getheader("Retry-After")
        finally:
            connection.close()

    def connect(self):
        if self.tls:
            return Tls(*self.address, timeout=self.timeout, context=self.tls)
        return Plain(*self.address, timeout=self.timeout)

    def hook(self, method, path, value=None):
        try:
            status, reply, _ = self.send(method, path, json.dumps(value).encode() if value is not None else b"")
        except NO_REPLY as error:
            raise Gone(f"the hook {method} {path}: {said(error)}") from error
        if not 200 <= status <= 299:
            sent = f", to the keys {', '.join(value)}" if value else ""
            raise Broken(f"the hook {method} {path} answers {status}: {shown(reply)}{sent}")
        return reply

    def prepare(self, case):
        self.hook("PUT", "/test/case", {key: case[key] for key in STATE})

    def stored(self):
        reply = self.hook("GET", "/test/sessions")
        try:
            sessions = json.loads(reply, parse_int=number)
        except ValueError as error:
            raise Broken(f"the hook GET /test/sessions answers no JSON: {shown(reply)}") from error
        if not isinstance(sessions, dict):
            raise Broken(f"the hook GET /test/sessions answers no object: {shown(reply)}")
        return sessions

    def wait(self, seconds):
        """Until somebody listens. A connection that is made is enough."""
        end = time.monotonic() + seconds
        while True:
            connection = self.connect()
            try:
                return connection.connect()
            except OSError as error:
                if time.monotonic() >= end:
                    raise Broken(f"nobody listens at {':'.join(map(str, self.address))}: {said(error)}") from error
            finally:
                connection.close()
            time.sleep(0.05)


def number(digits):
    """More digits than any revision has stay text: Python makes no number of more than 4,300."""
    return int(digits) if len(digits) <= 20 else digits


class Anything:
    """Sends a path as it is: http.client refuses some, and folds none."""

    def _validate_path(self, url):
        pass


class Plain(Anything, http.client.HTTPConnection):
    pass


class Tls(Anything, http.client.HTTPSConnection):
    pass


def said(error):
    # A time-out of zero makes a socket that does not block, whose error says nothing of time.
    return "no reply in time" if isinstance(error, (TimeoutError, BlockingIOError)) else str(error) or type(error).__name__


def shown(value):
    """On one line, so that differences in white space and in bytes can be seen."""
    if isinstance(value, bytes):
        return ascii(value)[1:]
    return "none" if value is None else str(value)


def as_text(session):
    # Text is compared, since to Python 1, 1.0 and True are the same.
    return json.dumps(session, sort_keys=True)


def as_bytes(body):
    if isinstance(body, str):
        return body.encode()
    return body["latin1"].encode("latin-1") if "latin1" in body else repeated(**body).encode()


def repeated(before, repeat, times, after):
    return before + repeat * times + after


def in_a_row(case):
    """The case, then its further requests, each with what the store holds before it."""
    first = {**DEFAULTS, **case}
    requests = [{**first, "step": 1, "held": first["session"], "replaced": False}]
    for number, step in enumerate(first["steps"], 2):
        last = requests[-1]
        # After a request that either may answer, the steps are for a transport that has refused it by itself.
        left = before_deciding(last) if last["kind"] == "either" else last["expected"]["session"]
        held = {"held": step.get("session", left), "replaced": "session" in step}
        requests.append({**first, **NO_LOSS, "kind": "contract", **step, **held, "step": number})
    return requests


def before_deciding(request):
    """What is stored when the last decision is made."""
    return None if request["deleted_meanwhile"] else request["meanwhile"] or request["held"]


def is_own(expected, status, body):
    """Whether the reply is an answer of the transport's own that the case allows."""
    if status == expected.get("status") and body == expected.get("body", "").encode():
        return False
    return any(str(status) == own or own.endswith("xx") and str(status).startswith(own[0]) for own in expected.get("own", []))


def differences(request, transport):
    """What differs after one request, as triples of the part, what was expected, and what there is; and whether the
    transport has refused it by itself."""
    expected, before = request["expected"], before_deciding(request)
    target = request["path"] + ("" if request["query"] is None else "?" + request["query"])
    parts, own = [], False
    try:
        status, body, retry_after = transport.send(request["method"], target, as_bytes(request["body"]), request["headers"])
    except NO_REPLY as error:
        parts = [("the reply", "one", said(error))]
    else:
        own = is_own(expected, status, body)
        if not own:
            statuses = [str(wanted) for wanted in [expected.get("status"), *expected.get("own", [])] if wanted]
            parts = [("the status", str(status) if status == expected.get("status") else " or ".join(statuses), str(status))]
        if not own and "status" in expected:
            seconds = expected["retry_after_secs"]
            parts.append(("the body", expected["body"].encode(), body))
            parts.append(("Retry-After", seconds if seconds is None else str(seconds), retry_after))
    stored, session_id = transport.stored(), request["session_id"]
    parts.append(("the stored session", as_text(before if own else expected["session"]), as_text(stored.get(session_id))))
    for other in sorted({*stored, *request["others"]} - {session_id}):
        wanted, got = (as_text(sessions.get(other)) for sessions in (request["others"], stored))
        parts.append((f"the other session {other}", wanted, got))
    return [(part, shown(wanted), shown(got)) for part, wanted, got in parts if wanted != got], own


def judge(case, transport):
    """The lines that say what is wrong; none if the case passes."""
    requests = in_a_row(case)
    transport.prepare(requests[0])
    for request in requests:
        if request["step"] > 1:
            transport.hook("PUT", "/test/clock", {"now": request["now"]})
        if request["replaced"]:
            transport.hook("PUT", "/test/session", {"session_id": request["session_id"], "session": request["held"]})
        try:
            found, own = differences(request, transport)
        except Gone as error:
            # The server answered the hook before the request: what broke it is this case.
            found, own = [("the server after it", "up", str(error))], False
        if found:
            return failure(case, request, found)
        if request["kind"] == "either" and not own:
            break
    return []


def failure(case, request, found):
    target = request["path"] + ("" if request["query"] is None else "?" + request["query"])
    step = f" at its request {request['step']} of {len(request['steps']) + 1}" if request["steps"] else ""
    lines = [f"case {case['name']} fails{step}", f"  the rule: {case['rule']}"]
    lines.append(f"  the request: {request['method']} {target} {shown(as_bytes(request['body']))[:200]}")
    lines.append(f"  the session: {as_text(request['held'])} under {ascii(request['session_id'])}")
    lines.append(f"  the policy: {request['policy']['interval']}, scope {request['policy']['scope']}")
    lines.append(f"  the clock: {request['now']}")
    for key in ("headers", *NO_LOSS):
        if request[key]:
            lines.append(f"  {key}: {json.dumps(request[key])}")
    for part, wanted, got in found:
        lines.extend([f"  {part}: expected {wanted}", f"  {part}:      got {got}"])
    return lines


def without_signs(token):
    return "".join(sign for sign in token if sign.isalnum())


def other_sign(token, at):
    """The token with another sign there, of the same kind, so that its length and its form stay."""
    return token[:at] + ("b" if token[at] == "a" else "a") + token[at + 1:]


def nearly_tokens(token):
    """Requests that are not allowed, as their words, headers, path and query. The path is None where it is the case's."""
    basic = base64.b64encode(f":{token}".encode()).decode()
    headers = {
        "without a token": None,
        "with an empty token": "Bearer",
        "with a longer token": f"Bearer {token}x",
        "with a part of the token": f"Bearer {token[:-1]}",
        "with the token in other case": f"Bearer {token.swapcase()}",
        "with the token and no scheme": token,
        "with the token by the scheme Basic": f"Basic {token}",
        "with the token by the scheme Token": f"Token {token}",
        "with the token as the password of the scheme Basic": f"Basic {basic}",
        "with another first sign in the token": f"Bearer {other_sign(token, 0)}",
        "with another last sign in the token": f"Bearer {other_sign(token, len(token) - 1)}",
        "with another sign amid the token": f"Bearer {other_sign(token, len(token) // 2)}",
        "with the token without its signs": f"Bearer {without_signs(token)}",
        "with words after the token": f"Bearer {token} x",
        "with a word before the token": f"Bearer x {token}",
        "with a blank in the token": f"Bearer {token[:1]} {token[1:]}",
    }
    for words, header in headers.items():
        if header != f"Bearer {token}":
            yield words, {"authorization": header}, None, None
    none, named = {"authorization": None}, urllib.parse.quote(token)
    yield "with the token in the query", none, None, f"access_token={named}&token={named}"
    yield "with the token as api_key in the query", none, None, f"api_key={named}"
    yield "with the token in a cookie", {**none, "cookie": f"token={named}; access_token={named}"}, None, None
    yield "with the token in X-Api-Key", {**none, "x-api-key": token}, None, None
    yield "without a token, after a doubled slash", none, "//apps", None
    yield "without a token, but with a character set", {**none, "content-type": "application/json; charset=utf-8"}, None, None
    yield "without a token, forwarded for 127.0.0.1", {**none, "x-forwarded-for": "127.0.0.1"}, None, None


def judge_token(cases, transport):
    """A request without the token, and one with what is nearly it, are refused and store nothing: of a call and of a chat,
    whether it would be linked or not."""
    nearly = list(nearly_tokens(transport.token))
    # Of the answers that tell what is stored: by no token, and by a wrong one.
    asked = [(case, nearly if row == 9 else [nearly[0], nearly[2]]) for row in (9, 5, 6, 7, 8) for case in plain_cases(cases, row)]
    found = []
    for case, tokens in asked:
        for how, headers, start, query in tokens:
            words = f"of {case['path']} (row {case['rows'][0]}) {how}"
            path = case["path"].replace("/apps", start, 1) if start else case["path"]
            target = path + (f"?{query}" if query else "")
            transport.prepare({**DEFAULTS, **case})
            status, _, _ = transport.send(case["method"], target, as_bytes(case["body"]), headers)
            stored = as_text(transport.stored().get(case["session_id"]))
            if status not in (401, 403):
                found.append(f"  the status {words}: expected 401 or 403\n  the status {words}:      got {status}")
            if stored != as_text(case["session"]):
                found.append(f"  the stored session {words}: expected {as_text(case['session'])}, got {stored}")
    return [f"case {TOKEN_CASE} fails", f"  the rule: {BESIDE_THE_CASES[TOKEN_CASE][1]}", *found] if found else []


def is_refused_access(cases, transport):
    """The status, if the service refuses the credentials of links that every transport accepts."""
    statuses = set()
    for case in plain_cases(cases, 9):
        transport.prepare({**DEFAULTS, **case})
        try:
            statuses.add(transport.send(case["method"], case["path"], as_bytes(case["body"]))[0])
        except NO_REPLY:
            return None
    return max(statuses) if statuses and statuses <= {401, 403} else None


def plain_cases(cases, row):
    """The first case of the row and of no other, of a call and of a chat."""
    of_row = [case for case in cases if case["rows"] == [row] and case["kind"] == "contract"
              and not case["needs"] and not {"query", "headers", "steps"}.intersection(case)]
    found = (next((case for case in of_row if f"/v1/{segment}/" in case["path"]), None) for segment in ("calls", "chats"))
    return [case for case in found if case]


def judge_race(case, transport, count):
    """Of equal links at once, one is accepted, and the others are duplicates."""
    transport.prepare({**DEFAULTS, **case, "pause_ms": 200})
    body = as_bytes(case["body"])
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        sent = [pool.submit(transport.send, case["method"], case["path"], body) for _ in range(count)]
        statuses = sorted(reply.result()[0] for reply in sent)
    stored, wanted = as_text(transport.stored().get(case["session_id"])), as_text(case["expected"]["session"])
    found = []
    # A transport that gave up after some lost races says 503.
    if statuses.count(202) != 1 or set(statuses) - {202, 400, 503}:
        found.append(f"  the statuses: expected one 202, else 400 or 503\n  the statuses:      got {', '.join(map(str, statuses))}")
    if statuses.count(202) > 1:
        found.append("  the reason, most likely: the session is checked and written in two steps, and the write has no condition")
    if stored != wanted:
        found.append(f"  the stored session: expected {wanted}\n  the stored session:      got {stored}")
    rule = f"  the rule: of {count} equal links at once, exactly one is accepted."
    return [f"case race_of_{count} fails", rule, *found] if found else []


def chosen(cases, arguments):
    """The cases to judge, and those that are left out with what they lack."""
    known = set(cases["format"]["needs"])
    without = {need.strip() for need in arguments.without.split(",") if need.strip()}
    if without - known:
        raise Broken(f"--without takes {', '.join(sorted(known))}; not {', '.join(sorted(without - known))}")
    names = [case["name"] for case in cases["cases"]] + list(beside_the_cases(arguments))
    for pattern in arguments.only or []:
        if not any(fnmatch.fnmatchcase(name, pattern) for name in names):
            raise Broken(f"--only {pattern}: no case has such a name (--list shows them)")
    picked = [case for case in cases["cases"] if is_picked(case["name"], arguments)]
    left_out = {case["name"]: without.intersection(case["needs"]) for case in picked}
    return [case for case in picked if not left_out[case["name"]]], {name: lacking for name, lacking in left_out.items() if lacking}


def is_picked(name, arguments):
    return not arguments.only or any(fnmatch.fnmatchcase(name, pattern) for pattern in arguments.only)


def beside_the_cases(arguments):
    """What is judged beside the cases of the file: by its name, the option that it needs, and its rule."""
    names = ((name.replace("N", str(arguments.race or "N")), words) for name, words in BESIDE_THE_CASES.items())
    return {name: words for name, words in names if is_picked(name, arguments)}


def checks(cases, picked, transport, arguments):
    """Name and function of everything that is judged, in order."""
    first = cases["cases"][0]
    for case in picked:
        yield case["name"], lambda case=case: judge(case, transport)
    beside = beside_the_cases(arguments)
    if arguments.token and TOKEN_CASE in beside:
        yield TOKEN_CASE, lambda: judge_token(cases["cases"], transport)
    if arguments.race and f"race_of_{arguments.race}" in beside:
        yield f"race_of_{arguments.race}", lambda: judge_race(first, transport, arguments.race)


def judged(name, check, transport, wait):
    """The lines of one check. A server that is gone is waited for, and failed by the case before, so it is tried once more."""
    try:
        return check()
    except (Gone, *NO_REPLY) as error:
        first = error
    try:
        transport.wait(wait)
    except Broken:
        raise Broken(f"case {name}: {first}") from first
    try:
        return check()
    except NO_REPLY as error:
        raise Broken(f"case {name}: {said(error)}") from error


def run(arguments):
    cases = json.loads(pathlib.Path(arguments.cases).read_text(encoding="utf-8"))
    version = str(cases.get("version", "1"))
    if version.split(".")[0] != str(FORMAT):
        raise Broken(f"{arguments.cases} has version {version}, and this kit.py reads {FORMAT}: take both from one release")
    picked, left_out = chosen(cases, arguments)
    if arguments.list:
        lines = [f"{case['name']}: {case['rule']}" for case in picked]
        lines += [f"{name}: with {option}: {rule}" for name, (option, rule) in beside_the_cases(arguments).items()]
        print("\n".join(lines))
        return 0
    if not arguments.url:
        raise Broken("say where the transport listens, such as http://127.0.0.1:3000")
    if arguments.timeout <= 0:
        raise Broken("--timeout must be more than 0 seconds")
    transport = Transport(arguments.url, arguments.token, arguments.timeout, arguments.cafile)
    transport.wait(arguments.wait)
    status = is_refused_access(cases["cases"], transport)
    if status:
        given = "with this token" if arguments.token else "without a token; give it by --token"
        raise Broken(f"the service answers {status} to every request {given}")
    results = []
    for name, check in checks(cases, picked, transport, arguments):
        lines = judged(name, check, transport, arguments.wait)
        results.append((name, lines))
        print("\n".join(lines), end="\n" if lines else "", flush=True)
        if lines and arguments.fail_fast:
            break
    for name, lacking in left_out.items():
        print(f"left out {name}: needs {', '.join(sorted(lacking))}")
    if not results:
        needed = {option for option, _ in beside_the_cases(arguments).values()}
        raise Broken("no case was judged" + (f": what is picked needs {' or '.join(sorted(needed))}" if needed else ""))
    if arguments.junit:
        pathlib.Path(arguments.junit).write_text(junit(results, left_out), encoding="utf-8")
    failed = sum(bool(lines) for _, lines in results)
    print(f"{len(results)} cases judged, {len(results) - failed} pass, {failed} fail; {len(left_out)} left out")
    return 1 if failed else 0


def junit(results, left_out):
    failed = sum(bool(lines) for _, lines in results)
    cases = [f"<testcase classname=\"kit\" name={quoteattr(name)}>" + (
        f"<failure message={quoteattr(lines[0])}>{escape(chr(10).join(lines))}</failure>" if lines else "") + "</testcase>"
        for name, lines in results]
    cases += [f"<testcase classname=\"kit\" name={quoteattr(name)}><skipped/></testcase>" for name in left_out]
    head = f"<testsuite name=\"midsession\" tests=\"{len(cases)}\" failures=\"{failed}\" skipped=\"{len(left_out)}\">"
    return "\n".join(['<?xml version="1.0" encoding="UTF-8"?>', head, *cases, "</testsuite>", ""])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", nargs="?", help="where the transport listens, such as http://127.0.0.1:3000; a path in it goes "
                        "before every path, those of the hooks too")
    parser.add_argument("--token", help="sent as Authorization: Bearer <token>, with every request")
    beside = pathlib.Path(__file__).with_name("cases.json")
    parser.add_argument("--cases", default=beside, help="the file of the cases; otherwise cases.json beside this file")
    parser.add_argument("--without", default="", metavar="NEEDS", help="leave out the cases that need one of these: a,b,c")
    parser.add_argument("--only", action="append", metavar="PATTERN", help="judge only the cases of this name; * stands for any "
                        "text; may be given again")
    parser.add_argument("--list", action="store_true", help="print the names and rules of the cases, and send nothing")
    parser.add_argument("--race", type=int, default=0, metavar="N", help="also send N equal links at once: one is accepted")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first case that fails")
    parser.add_argument("--junit", metavar="FILE", help="also write the results to FILE, in JUnit's XML")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="how long one reply may take (30)")
    parser.add_argument("--wait", type=float, default=10, metavar="SECONDS", help="how long to wait for somebody to listen, at the "
                        "start and after a case at which the server died (10)")
    parser.add_argument("--cafile", help="for https: the certificates to trust, in PEM; otherwise those of the system")
    try:
        return run(parser.parse_args())
    except (Broken, OSError, ValueError) as error:
        print(f"kit.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
