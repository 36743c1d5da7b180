#!/usr/bin/env python3
"""kit.py itself: it passes an honest transport, finds what a broken one gets wrong, and says so.

The transport here knows the cases by heart: it looks up what came in, byte for byte, and answers what is expected. So a path
or a body that kit.py sends otherwise than it stands in the file is found as well.
"""

import base64
import contextlib
import http.server
import io
import json
import pathlib
import socket
import sys
import tempfile
import threading
import unittest
import xml.etree.ElementTree

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "testing" / "conformance"
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER))
import kit  # noqa: E402

TOKEN = "token-5f2c"
WHOLE = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))
CASES = WHOLE["cases"]
# The cases, and that the token is asked for.
JUDGED = len(CASES) + 1


def key(request, session, now, method, target, body):
    state = {part: request[part] for part in kit.STATE if part not in ("session", "now", "pause_ms")}
    state["session"] = session
    return json.dumps([state, now, method, target, body.hex()], sort_keys=True)


def target(request):
    return request["path"] + ("" if request["query"] is None else "?" + request["query"])


EXPECTED = {}
for case in CASES:
    put = case["session"]
    for request in kit.in_a_row(case):
        put = request["held"] if request["replaced"] else put
        request_key = key(request, put, request["now"], request["method"], target(request), kit.as_bytes(request["body"]))
        EXPECTED.setdefault(request_key, []).append(request)


def is_refused_by_itself(request):
    """Where it may do either, this transport refuses what steps follow, so that they are sent."""
    return request["kind"] == "transport" or request["kind"] == "either" and bool(request["steps"])


class Parrot(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body, retry_after=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def __getattr__(self, name):
        if name.startswith("do_"):
            return self.handle_any
        raise AttributeError(name)

    def handle_any(self):
        server, slip = self.server, self.server.slip
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        # BaseHTTPRequestHandler folds slashes at a path's start, so the request line is asked.
        _, path, _ = self.requestline.split(" ")
        path = path.removeprefix(server.base)
        if not is_allowed(self.headers["Authorization"] or "", path, slip, self.row(path, body), self.headers):
            return self.answer(401, b"")
        path = path if slip != "the token may be in the query" else path.partition("?access_token=")[0]
        if path == "/test/case":
            server.state = json.loads(body)
            server.now, server.stored, server.asked = server.state["now"], server.state["session"], 0
            return self.answer(500 if slip == "the hook fails" else 204, b"")
        if path == "/test/clock":
            server.now = json.loads(body)["now"]
            server.state.update(kit.NO_LOSS)
            return self.answer(204, b"")
        if path == "/test/session":
            server.stored = server.state["session"] = json.loads(body)["session"]
            return self.answer(204, b"")
        if path == "/test/sessions":
            if slip == "the hook speaks no JSON":
                return self.answer(200, b"nothing")
            stored = json.dumps(slip_beside(slip, server))
            if slip == "a revision of 5,000 digits":
                stored = stored.replace('"revision": 1', '"revision": ' + "9" * 5000)
            return self.answer(200, stored.encode())
        return self.answer_case(path, body)

    def fitting(self, path, body):
        server = self.server
        known = EXPECTED.get(key(server.state, server.state["session"], server.now, self.command, path, body), [])
        return [request for request in known if self.has_headers(request)]

    def row(self, path, body):
        fits = self.fitting(path, body) if "/end_user" in path else []
        return next((row for request in fits for row in request["rows"]), None)

    def answer_case(self, path, body):
        server, slip = self.server, self.server.slip
        fits = self.fitting(path, body)
        server.asked += 1
        if not fits:
            return self.answer(500, b"no such case")
        # Steps of several cases may look the same: the one that follows on what is stored is meant.
        request = max(fits, key=lambda request: (request["step"] == server.asked, request["held"] == server.stored))
        status, reply, seconds = server.race or self.expected(request)
        if slip == "links are refused":
            status = 403
        if slip:
            status, reply, seconds = slip_in_the_reply(slip, request, status, reply, seconds)
        if status == "dies":
            server.die()
            status = None
        left = kit.before_deciding(request) if is_refused_by_itself(request) else request["expected"]["session"]
        server.stored = slip_in_the_store(slip, request, left)
        if status is None:
            self.close_connection = True
            return None
        return self.answer(status, reply, seconds)

    def has_headers(self, request):
        wanted = {"content-type": "application/json", **request["headers"]}
        return all(self.headers[name] == value for name, value in wanted.items())

    def expected(self, request):
        expected = request["expected"]
        if is_refused_by_itself(request):
            own = expected["own"][-1]
            return (int(own) if own.isdigit() else 405 if request["method"] != "POST" else 400), b"", None
        return expected["status"], expected["body"].encode(), expected["retry_after_secs"]


def slip_beside(slip, server):
    stored = dict(server.state["others"])
    if server.stored is not None:
        stored[server.state["session_id"]] = server.stored
    if slip == "another id appears" and server.asked:
        stored["log"] = server.stored
    if slip == "the other sessions are lost":
        stored = {server.state["session_id"]: server.stored} if server.stored else {}
    if slip == "the other sessions change" and server.asked:
        stored.update({other: {**stored[other], "revision": 99} for other in server.state["others"]})
    return stored


def slip_in_the_reply(slip, case, status, reply, seconds):
    if slip == "200 for 202" and status == 202:
        status = 200
    if slip == "a newline after the body" and status == 404:
        reply += b"\n"
    if slip == "spaces in the body":
        reply = reply.replace(b":", b": ", 1)
    if slip == "another letter" and b"Call" in reply:
        reply = reply.replace(b"Call", b"call")
    if slip == "no Retry-After":
        seconds = None
    if slip == "Retry-After rounded down" and case["expected"].get("retry_after", None):
        seconds = int(float(case["expected"]["retry_after"].rstrip("s")))
    if slip == "Retry-After as a date" and seconds is not None:
        seconds = "Sun, 22 Nov 2026 12:00:30 GMT"
    if slip == "GET links" and case["method"] == "GET":
        status = 202
    if slip == "broken JSON crashes" and case["kind"] == "transport" and case["name"].startswith("body_"):
        status = 500
    if slip == "a lost write is answered 202" and case["refused_writes"] == 20:
        status, reply = 202, b'{"message":"accepted"}'
    if slip == "a lost write is answered 500" and case["refused_writes"] == 20:
        status = 500
    if slip == "a limiter beside the store" and case["step"] > 1:
        status = 429
    if slip == "the query is used" and case["query"] and "identifier" in case["query"]:
        status = 400
    if slip == "the server dies" and case["name"] == "body_is_white_space":
        status = "dies"
    if slip == "the connection breaks" and case["name"] == "nested_beyond_what_parsers_take":
        status = None
    return status, reply, seconds


def slip_in_the_store(slip, case, session):
    changed = session is not None and session != case["held"]
    if slip == "a lost write is answered 202" and case["refused_writes"] == 20:
        return case["held"]
    if slip == "nothing is stored":
        return case["held"]
    if slip == "a refusal changes the revision" and session is not None and not changed:
        return {**session, "revision": session["revision"] + 1}
    if slip == "null where nothing is known" and session is not None and "end_user" not in session:
        return {**session, "end_user": None}
    if slip == "times with three decimals" and changed:
        return {**session, "last_linked_at": session["last_linked_at"].replace("00Z", "00.000Z")}
    if slip == "true for one" and changed and session["revision"] == 1:
        return {**session, "revision": True}
    if slip == "what transports refuse is stored" and case["kind"] == "transport":
        return {**session, "revision": 1}
    if slip == "the session is lost":
        return None
    return session


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    restarts = True

    def start(self):
        threading.Thread(target=self.serve_forever, args=[0.01], daemon=True).start()

    def die(self):
        """Closes its socket, and listens again a moment later if it restarts."""
        threading.Thread(target=self.stop_and_restart, daemon=True).start()

    def stop_and_restart(self):
        self.shutdown()
        self.socket.close()
        if self.restarts:
            self.socket = socket.create_server(self.server_address)
            self.start()

    def stop(self):
        self.shutdown()
        self.server_close()


def call(*arguments):
    out, err = io.StringIO(), io.StringIO()
    before, sys.argv = sys.argv, ["kit.py", *arguments]
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = kit.main()
    finally:
        sys.argv = before
    return code, out.getvalue(), err.getvalue()


def is_allowed(authorization, path, slip, row, headers=None):
    scheme, _, token = authorization.rpartition(" ")
    if slip in ("links are refused", "no token is needed"):
        return True
    headers = headers or {}
    return authorization == f"Bearer {TOKEN}" or "/end_user" in path and {
        "a basic password is a token": authorization == "Basic " + base64.b64encode(f":{TOKEN}".encode()).decode(),
        "the first sign is not compared": len(token) == len(TOKEN) and token[1:] == TOKEN[1:],
        "the last sign is not compared": len(token) == len(TOKEN) and token[:-1] == TOKEN[:-1],
        "the lengths and ends are compared": len(token) == len(TOKEN) and (token[0], token[-1]) == (TOKEN[0], TOKEN[-1]),
        "signs are stripped before it is compared": kit.without_signs(token) == kit.without_signs(TOKEN),
        "words after the token are cut": authorization.startswith(f"Bearer {TOKEN} "),
        "the last word is the token": authorization.startswith("Bearer ") and token == TOKEN,
        "blanks are stripped": authorization.replace(" ", "") == f"Bearer{TOKEN}" and authorization.startswith("Bearer "),
        "an api_key is a token": f"api_key={TOKEN}" in path,
        "a cookie is a token": f"token={TOKEN}" in headers.get("cookie", ""),
        "X-Api-Key is a token": headers.get("x-api-key") == TOKEN,
        "no token is needed after a doubled slash": path.startswith("//"),
        "no token is needed with a character set": "charset" in headers.get("content-type", ""),
        "no token is needed from this machine": headers.get("x-forwarded-for") == "127.0.0.1",
        "any token will do for unknown sessions": row == 5 and token != "",
        "the scheme is not looked at": token == TOKEN and scheme != "",
        "a token needs no scheme": authorization == TOKEN,
        "an empty token is no token": authorization == "Bearer",
        "the token may be in the query": f"access_token={TOKEN}" in path,
        "unknown sessions are told without the token": row == 5,
        "ended sessions are told without the token": row == 6,
        "unsupported sessions are told without the token": row == 7,
        "duplicates are told without the token": row == 8,
        "the token is not asked for on calls": "/calls/" in path,
        "the token is not asked for on chats": "/chats/" in path,
        "the start of the token is enough": token.startswith(TOKEN),
        "a part of the token is enough": len(token) > 4 and TOKEN.startswith(token),
        "the token is compared without case": token.lower() == TOKEN.lower(),
    }.get(slip, False)


class KitTest(unittest.TestCase):
    def run_kit(self, slip=None, *arguments, token=TOKEN, base="", race=None):
        server = Server(("127.0.0.1", 0), Parrot)
        server.slip, server.base, server.race = slip, base, race
        server.start()
        try:
            return call(f"http://127.0.0.1:{server.server_port}{base}", "--token", token, *arguments)
        finally:
            server.stop()

    def test_an_honest_transport_passes_every_case(self):
        code, out, err = self.run_kit()
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(out, f"{JUDGED} cases judged, {JUDGED} pass, 0 fail; 0 left out\n")

    def few(self):
        """A file of a part of the cases: of every kind, and those that the slips are about."""
        named = ("first_link_of_a_call", "duplicate_on_a_chat", "interval_with_a_nanosecond_over", "body_is_white_space", "nested_beyond_what_parsers_take")
        keys = ("others", "meanwhile", "refused_writes", "steps")
        few = [case for at, case in enumerate(CASES) if at % 15 == 0 or case["name"] in named or any(key in case for key in keys)
               or case["rows"] == [6] or case["rows"] == [7] or case["method"] == "GET"]
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = pathlib.Path(folder.name, "cases.json")
        path.write_text(json.dumps({**WHOLE, "cases": few + [case for case in CASES if "query" in case and case not in few][:3]}), encoding="utf-8")
        return str(path)

    def test_every_slip_is_found(self):
        few = self.few()
        slips = {
            "200 for 202": "the status: expected 202",
            "a newline after the body": "the body:",
            "spaces in the body": "the body:",
            "another letter": "the body:",
            "no Retry-After": "Retry-After:      got none",
            "Retry-After rounded down": "Retry-After: expected 20",
            "Retry-After as a date": "Retry-After:      got Sun,",
            "GET links": "the status: expected 4xx",
            "broken JSON crashes": "the status:      got 500",
            "the connection breaks": "the reply: expected one",
            "nothing is stored": "the stored session:",
            "a refusal changes the revision": "the stored session:",
            "null where nothing is known": "the stored session:",
            "times with three decimals": "the stored session:",
            "true for one": "the stored session:",
            "what transports refuse is stored": "the stored session:",
            "a revision of 5,000 digits": '"revision": "9999',
            "the session is lost": "the stored session:      got null",
            "another id appears": "the other session log: expected null",
            "the other sessions change": "the other session 43:",
            "the other sessions are lost": "the other session 43:      got null",
            "a lost write is answered 202": "the stored session: expected",
            "a lost write is answered 500": "the status: expected 202 or 503",
            "a limiter beside the store": "the status:      got 429",
            "the query is used": "the status: expected 202",
            "the token is not asked for on calls": "calls/42/end_user (row 9) without a token: expected 401 or 403",
            "the token is not asked for on chats": "chats/42/end_user (row 9) without a token: expected 401 or 403",
            "the start of the token is enough": "with a longer token: expected 401 or 403",
            "a part of the token is enough": "with a part of the token: expected 401 or 403",
            "the token is compared without case": "with the token in other case: expected 401 or 403",
            "the scheme is not looked at": "with the token by the scheme Basic: expected 401 or 403",
            "a token needs no scheme": "with the token and no scheme: expected 401 or 403",
            "an empty token is no token": "with an empty token: expected 401 or 403",
            "the token may be in the query": "with the token in the query: expected 401 or 403",
            "a basic password is a token": "as the password of the scheme Basic: expected 401 or 403",
            "the first sign is not compared": "with another first sign in the token: expected 401 or 403",
            "the last sign is not compared": "with another last sign in the token: expected 401 or 403",
            "the lengths and ends are compared": "with another sign amid the token: expected 401 or 403",
            "signs are stripped before it is compared": "with the token without its signs: expected 401 or 403",
            "words after the token are cut": "with words after the token: expected 401 or 403",
            "the last word is the token": "with a word before the token: expected 401 or 403",
            "blanks are stripped": "with a blank in the token: expected 401 or 403",
            "an api_key is a token": "with the token as api_key in the query: expected 401 or 403",
            "a cookie is a token": "with the token in a cookie: expected 401 or 403",
            "X-Api-Key is a token": "with the token in X-Api-Key: expected 401 or 403",
            "no token is needed after a doubled slash": "without a token, after a doubled slash: expected 401 or 403",
            "no token is needed with a character set": "without a token, but with a character set: expected 401 or 403",
            "no token is needed from this machine": "without a token, forwarded for 127.0.0.1: expected 401 or 403",
            "any token will do for unknown sessions": "(row 5) with a longer token: expected 401 or 403",
            "unknown sessions are told without the token": "(row 5) without a token: expected 401 or 403",
            "ended sessions are told without the token": "(row 6) without a token: expected 401 or 403",
            "unsupported sessions are told without the token": "(row 7) without a token: expected 401 or 403",
            "duplicates are told without the token": "(row 8) without a token: expected 401 or 403",
        }
        for slip, words in slips.items():
            with self.subTest(slip):
                code, out, _ = self.run_kit(slip, "--cases", few)
                self.assertEqual(code, 1, out)
                self.assertIn(words, out)
                # A transport that is wrong throughout would prove nothing.
                failed = int(out.splitlines()[-1].split(", ")[2].split()[0])
                self.assertTrue(0 < failed < JUDGED, f"{failed} fail")

    def test_cases_are_left_out_by_name(self):
        marked = [case["name"] for case in CASES if "nanoseconds" in case["needs"] or "dot_segments" in case["needs"]]
        code, out, _ = self.run_kit(None, "--without", "nanoseconds,dot_segments")
        self.assertEqual(code, 0, out)
        for name in marked:
            self.assertIn(f"left out {name}: needs ", out)
        judged = JUDGED - len(marked)
        self.assertTrue(out.endswith(f"{judged} cases judged, {judged} pass, 0 fail; {len(marked)} left out\n"), out)

    def test_one_case_is_judged_alone(self):
        code, out, _ = self.run_kit(None, "--only", "duplicate_on_a_chat")
        self.assertEqual((code, out), (0, "1 cases judged, 1 pass, 0 fail; 0 left out\n"))

    def test_cases_that_cannot_be_run_are_no_success(self):
        for slip, arguments, token, words in [
            ("the hook fails", [], TOKEN, "the hook PUT /test/case answers 500"),
            ("the hook speaks no JSON", [], TOKEN, "the hook GET /test/sessions answers no JSON"),
            (None, [], "another", "the hook PUT /test/case answers 401"),
            (None, ["--without", "nanosecond"], TOKEN, "--without takes"),
            ("no token is needed", ["--only", "token_is_asked_for"], "", "no case was judged: what is picked needs --token"),
            (None, ["--only", "race_of_*"], TOKEN, "no case was judged: what is picked needs --race N"),
            (None, ["--only", "race_of_8", "--race", "4"], TOKEN, "--only race_of_8: no case has such a name"),
            ("links are refused", [], TOKEN, "kit.py: the service answers 403 to every request with this token\n"),
            (None, ["--only", "no_such_case"], TOKEN, "--only no_such_case: no case has such a name"),
            (None, ["--only", "duplicate_on_a_chat", "--only", "typo"], TOKEN, "--only typo: no case has such a name"),
            (None, ["--cases", "no-such-file"], TOKEN, "no-such-file"),
            (None, ["--timeout", "0"], TOKEN, "--timeout must be more than 0 seconds"),
            (None, ["--timeout", "-1"], TOKEN, "--timeout must be more than 0 seconds"),
        ]:
            with self.subTest(words):
                code, _, err = self.run_kit(slip, *arguments, token=token)
                self.assertEqual(code, 2)
                self.assertIn(words, err)

    def test_blanks_between_needs_do_not_count(self):
        code, out, err = self.run_kit(None, "--without", "nanoseconds, dot_segments ,")
        self.assertEqual((code, err), (0, ""), out)

    def test_cases_are_picked_by_pattern(self):
        picked = [case for case in CASES if case["name"].startswith("duplicate_on_")]
        code, out, _ = self.run_kit(None, "--only", "duplicate_on_*")
        self.assertEqual((code, out), (0, f"{len(picked)} cases judged, {len(picked)} pass, 0 fail; 0 left out\n"))

    def test_a_list_needs_no_server(self):
        code, out, err = call("--list", "--only", "method_*")
        self.assertEqual((code, err), (0, ""))
        listed = [line.split(":")[0] for line in out.splitlines()]
        self.assertEqual(listed, [case["name"] for case in CASES if case["name"].startswith("method_")])

    def test_a_list_has_what_is_judged_beside_the_cases(self):
        _, out, _ = call("--list")
        self.assertEqual([line.split(":")[0] for line in out.splitlines()][-2:], ["token_is_asked_for", "race_of_N"])
        _, out, _ = call("--list", "--race", "8", "--only", "race_*")
        self.assertEqual(out, "race_of_8: with --race N: of N equal links at once, exactly one is accepted.\n")

    def test_the_token_is_judged_alone(self):
        code, out, _ = self.run_kit("the start of the token is enough", "--only", "token_*", "--race", "4")
        self.assertEqual((code, out.splitlines()[-1]), (1, "1 cases judged, 0 pass, 1 fail; 0 left out"))

    def test_a_service_that_asks_for_a_token_says_so_before_the_cases(self):
        code, out, err = self.run_kit("links are refused", token="")
        self.assertEqual((code, out), (2, ""))
        self.assertEqual(err, "kit.py: the service answers 403 to every request without a token; give it by --token\n")

    def test_a_server_that_dies_fails_that_case_alone(self):
        code, out, err = self.run_kit("the server dies", "--wait", "5")
        self.assertEqual((code, err), (1, ""), out)
        self.assertIn("case body_is_white_space fails", out)
        self.assertTrue(out.endswith(f"{JUDGED} cases judged, {JUDGED - 1} pass, 1 fail; 0 left out\n"), out)

    def test_a_server_that_stays_away_is_named_with_its_case(self):
        self.addCleanup(setattr, Server, "restarts", True)
        Server.restarts = False
        code, out, err = self.run_kit("the server dies", "--wait", "0")
        self.assertEqual(code, 2)
        self.assertIn("case body_is_white_space fails", out)
        self.assertIn("kit.py: case ", err)

    def test_a_failure_shows_what_the_decision_depends_on(self):
        _, out, _ = self.run_kit("200 for 202", "--only", "meanwhile_refreshed", "--only", "query_beside_the_body")
        for words in ["the session: {", "under '42'", "the policy: 0s, scope session", "the clock: 2026-11-22T12:10:00Z", "meanwhile: {", "end_user?identifier=id-2"]:
            self.assertIn(words, out)

    def test_the_first_failure_ends_the_run_if_asked(self):
        code, out, _ = self.run_kit("200 for 202", "--fail-fast")
        self.assertEqual((code, out.splitlines()[-1]), (1, "1 cases judged, 0 pass, 1 fail; 0 left out"))

    def test_results_are_written_for_junit(self):
        with tempfile.TemporaryDirectory() as folder:
            report = pathlib.Path(folder, "report.xml")
            self.run_kit("200 for 202", "--only", "*_on_a_chat", "--only", "first_*", "--without", "nanoseconds", "--junit", str(report))
            suite = xml.etree.ElementTree.parse(report).getroot()
        names = [case["name"] for case in CASES if case["name"].endswith("_on_a_chat") or case["name"].startswith("first_")]
        self.assertEqual({case.get("name") for case in suite}, set(names))
        self.assertEqual(int(suite.get("failures")), len(suite.findall("testcase/failure")))
        self.assertIn("expected 202", suite.find("testcase/failure").text)

    def test_a_base_goes_before_every_path(self):
        code, out, err = self.run_kit(None, base="/staging/v2", *[])
        self.assertEqual((code, err), (0, ""), out)

    def test_of_equal_links_at_once_one_is_accepted(self):
        code, out, _ = self.run_kit(None, "--only", "first_link_of_a_chat", "--only", "race_of_4", "--race", "4", race=(202, b"", None))
        self.assertEqual(code, 1)
        self.assertIn("the statuses: expected one 202, else 400 or 503", out)
        self.assertIn("case race_of_4 fails", out)
        self.assertIn("the statuses:      got 202, 202, 202, 202", out)
        self.assertIn("the write has no condition", out)

    def test_another_format_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "cases.json")
            for version in ({}, {"version": "2.0"}, {"version": "4.0"}):
                path.write_text(json.dumps({**version, "format": {"needs": {}}, "cases": []}), encoding="utf-8")
                code, _, err = call("http://127.0.0.1:9", "--cases", str(path))
                self.assertEqual(code, 2)
                self.assertIn("take both from one release", err)

    def test_a_server_is_waited_for_at_the_start(self):
        server = Server(("127.0.0.1", 0), Parrot, bind_and_activate=False)
        server.slip, server.base, server.race = None, "", None
        server.server_bind()
        # Bound and not listening yet: connections are refused.
        threading.Timer(0.2, lambda: (server.server_activate(), server.start())).start()
        code, out, err = call(f"http://127.0.0.1:{server.server_port}", "--token", TOKEN, "--only", "first_link_of_a_chat")
        server.stop()
        self.assertEqual((code, err), (0, ""), out)

    def test_nobody_listens(self):
        # The discard port of this machine, where nobody listens.
        code, _, err = call("http://127.0.0.1:9", "--wait", "0")
        self.assertEqual(code, 2)
        self.assertIn("nobody listens at 127.0.0.1:9", err)


if __name__ == "__main__":
    unittest.main()
