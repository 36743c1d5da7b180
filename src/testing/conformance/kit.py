#!/usr/bin/env python3
"""Drives a running transport through the conformance cases over HTTP, and prints what differs.

    kit.py http://127.0.0.1:3000 --token SECRET
    kit.py http://127.0.0.1:3000 --without nanoseconds,empty_segments

The transport may be written in any language. What it has to do stands in cases.json, beside this file, under "contract".
For the test it offers two hooks, which no release should have:

    PUT /test/case      The body is a JSON object with the keys session_id, session, policy and now, as a case has them
                        (cases.json explains them under "format"). From now on the store holds this session under this id,
                        and nothing else (session null: nothing at all), the clock stands at now, and links are decided by
                        this policy. Any status from 200 to 299 means that it is done.
    GET /test/session   Answers 200, and as its body the session that the store holds under the session_id of the last
                        PUT, in the stored form, or null.

Everything is sent with the content type application/json, with "Authorization: Bearer <token>" if a token is given, one
request after the other, each on a connection of its own. Paths go out byte for byte: "//" and "%2F" stay as they are.

Exits with 0 if every judged case passes, 1 if one fails, 2 if the cases could not be run. Needs Python 3.9 and nothing but
its standard library.
"""

import argparse
import http.client
import json
import pathlib
import sys
import urllib.parse


class Broken(Exception):
    """The cases cannot be run: a hook fails, or nobody listens."""


class Transport:
    def __init__(self, url, token, timeout):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or parts.path.strip("/") or parts.query:
            raise Broken(f"{url} is no URL of the form http://host:port")
        self.host, self.port, self.timeout = parts.hostname, parts.port or 80, timeout
        self.headers = {"Content-Type": "application/json", "Connection": "close"}
        if token:
            self.headers["Authorization"] = f"Bearer {token}"

    def send(self, method, path, body):
        """Returns status, body and the header Retry-After. A connection that fails raises OSError or HTTPException."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        try:
            connection.request(method, path, body.encode() or None, self.headers)
            response = connection.getresponse()
            return response.status, response.read(), response.getheader("Retry-After")
        finally:
            connection.close()

    def hook(self, method, path, body):
        try:
            status, reply, _ = self.send(method, path, body)
        except (OSError, http.client.HTTPException) as error:
            raise Broken(f"the hook {method} {path}: {error or type(error).__name__}") from error
        if not 200 <= status <= 299:
            raise Broken(f"the hook {method} {path} answers {status}: {shown(reply)}")
        return reply

    def prepare(self, case):
        state = {key: case[key] for key in ("session_id", "session", "policy", "now")}
        self.hook("PUT", "/test/case", json.dumps(state))

    def stored(self):
        reply = self.hook("GET", "/test/session", "")
        try:
            return json.loads(reply)
        except ValueError as error:
            raise Broken(f"the hook GET /test/session answers no JSON: {shown(reply)}") from error


def shown(value):
    """On one line, so that differences in white space and in bytes can be seen."""
    if isinstance(value, bytes):
        return ascii(value)[1:]
    return "none" if value is None else str(value)


def as_text(session):
    # Text is compared, since to Python 1, 1.0 and True are the same.
    return json.dumps(session, sort_keys=True)


def differences(case, transport):
    """What differs, as triples of the part, what was expected, and what there is."""
    transport.prepare(case)
    expected = case["expected"]
    try:
        status, body, retry_after = transport.send(case["method"], case["path"], case["body"])
    except (OSError, http.client.HTTPException) as error:
        parts = [("the reply", "one", error or type(error).__name__)]
    else:
        if case["kind"] == "transport":
            parts = [("the status", status if 400 <= status <= 499 else expected["status"], status)]
        else:
            seconds = expected["retry_after_secs"]
            parts = [
                ("the status", expected["status"], status),
                ("the body", expected["body"].encode(), body),
                ("Retry-After", seconds if seconds is None else str(seconds), retry_after),
            ]
    parts.append(("the stored session", as_text(expected["session"]), as_text(transport.stored())))
    return [(part, shown(wanted), shown(got)) for part, wanted, got in parts if wanted != got]


def run(arguments):
    cases = json.loads(pathlib.Path(arguments.cases).read_text(encoding="utf-8"))
    known, without = set(cases["format"]["needs"]), set(filter(None, arguments.without.split(",")))
    if without - known:
        raise Broken(f"--without takes {', '.join(sorted(known))}; not {', '.join(sorted(without - known))}")
    transport = Transport(arguments.url, arguments.token, arguments.timeout)
    judged, failed, left_out = 0, 0, {}
    for case in cases["cases"]:
        if arguments.only and case["name"] not in arguments.only:
            continue
        lacking = without.intersection(case["needs"])
        if lacking:
            left_out[case["name"]] = lacking
            continue
        judged += 1
        found = differences(case, transport)
        failed += bool(found)
        if found:
            print(f"case {case['name']} fails\n  the rule: {case['rule']}")
            print(f"  the request: {case['method']} {case['path']} {ascii(case['body'])[:200]}")
        for part, wanted, got in found:
            print(f"  {part}: expected {wanted}\n  {part}:      got {got}")
    for name, lacking in left_out.items():
        print(f"left out {name}: needs {', '.join(sorted(lacking))}")
    if not judged:
        raise Broken("no case was judged")
    print(f"{judged} cases judged, {judged - failed} pass, {failed} fail; {len(left_out)} left out")
    return 1 if failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="where the transport listens, such as http://127.0.0.1:3000")
    parser.add_argument("--token", help="sent as Authorization: Bearer <token>, with every request")
    beside = pathlib.Path(__file__).with_name("cases.json")
    parser.add_argument("--cases", default=beside, help="the file of the cases; otherwise cases.json beside this file")
    parser.add_argument("--without", default="", metavar="NEEDS", help="leave out the cases that need one of these, a,b,c")
    parser.add_argument("--only", action="append", metavar="NAME", help="judge this case alone; may be given again")
    parser.add_argument("--timeout", type=float, default=30, metavar="SECONDS", help="how long one reply may take")
    try:
        return run(parser.parse_args())
    except (Broken, OSError, ValueError) as error:
        print(f"kit.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
