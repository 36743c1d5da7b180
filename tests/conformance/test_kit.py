#!/usr/bin/env python3
"""kit.py itself: it passes an honest transport, finds what a broken one gets wrong, and says so.

The transport here knows the cases by heart: it looks up what came in, byte for byte, and answers what is expected. So a path
or a body that kit.py sends otherwise than it stands in the file is found as well.
"""

import contextlib
import http.server
import io
import json
import pathlib
import sys
import threading
import unittest

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "src" / "testing" / "conformance"
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER))
import kit  # noqa: E402

TOKEN = "token-5f2c"
CASES = json.loads((FOLDER / "cases.json").read_text(encoding="utf-8"))["cases"]
STATE = ("session_id", "session", "policy", "now")


def key(state, method, path, body):
    return json.dumps([state, method, path, body], sort_keys=True)


EXPECTED = {key({part: case[part] for part in STATE}, case["method"], case["path"], case["body"]): case for case in CASES}


class Parrot(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def answer(self, status, body, retry_after=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if retry_after is not None:
            self.send_header("Retry-After", str(retry_after))
        self.end_headers()
        self.wfile.write(body)

    def handle_any(self):
        server, slip = self.server, self.server.slip
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers["Authorization"] != f"Bearer {TOKEN}":
            return self.answer(401, b"")
        if self.path == "/test/case":
            server.state = json.loads(body)
            server.stored = server.state["session"]
            return self.answer(500 if slip == "the hook fails" else 204, b"")
        if self.path == "/test/session":
            return self.answer(200, b"nothing" if slip == "the hook speaks no JSON" else json.dumps(server.stored).encode())
        # BaseHTTPRequestHandler folds slashes at a path's start, so the request line is asked.
        _, path, _ = self.requestline.split(" ")
        case = EXPECTED.get(key(server.state, self.command, path, body.decode()))
        if case is None or self.headers["Content-Type"] != "application/json":
            return self.answer(500, b"no such case")
        expected = case["expected"]
        status, reply, seconds = expected["status"], expected.get("body", "").encode(), expected.get("retry_after_secs")
        if case["kind"] == "transport":
            status = 405 if case["method"] != "POST" else 400
        if slip:
            status, reply, seconds = slip_in_the_reply(slip, case, status, reply, seconds)
        server.stored = slip_in_the_store(slip, case, expected["session"])
        if status is None:
            return None
        return self.answer(status, reply, seconds)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any


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
    if slip == "the connection breaks" and case["name"] == "nested_beyond_what_parsers_take":
        status = None
    return status, reply, seconds


def slip_in_the_store(slip, case, session):
    changed = session is not None and session != case["session"]
    if slip == "nothing is stored":
        return case["session"]
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


class KitTest(unittest.TestCase):
    def run_kit(self, slip=None, *arguments, token=TOKEN):
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
        server.slip = slip
        threading.Thread(target=server.serve_forever, args=[0.01], daemon=True).start()
        out, err = io.StringIO(), io.StringIO()
        before, sys.argv = sys.argv, ["kit.py", f"http://127.0.0.1:{server.server_port}", "--token", token, *arguments]
        try:
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
                code = kit.main()
        finally:
            sys.argv = before
            server.shutdown()
            server.server_close()
        return code, out.getvalue(), err.getvalue()

    def test_an_honest_transport_passes_every_case(self):
        code, out, err = self.run_kit()
        self.assertEqual((code, err), (0, ""), out)
        self.assertEqual(out, f"{len(CASES)} cases judged, {len(CASES)} pass, 0 fail; 0 left out\n")

    def test_every_slip_is_found(self):
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
            "the session is lost": "the stored session:      got null",
        }
        for slip, words in slips.items():
            with self.subTest(slip):
                code, out, _ = self.run_kit(slip)
                self.assertEqual(code, 1, out)
                self.assertIn(words, out)
                # A transport that is wrong throughout would prove nothing.
                failed = int(out.splitlines()[-1].split(", ")[2].split()[0])
                self.assertTrue(0 < failed < len(CASES), f"{failed} fail")

    def test_cases_are_left_out_by_name(self):
        marked = [case["name"] for case in CASES if "nanoseconds" in case["needs"] or "dot_segments" in case["needs"]]
        code, out, _ = self.run_kit(None, "--without", "nanoseconds,dot_segments")
        self.assertEqual(code, 0, out)
        for name in marked:
            self.assertIn(f"left out {name}: needs ", out)
        judged = len(CASES) - len(marked)
        self.assertTrue(out.endswith(f"{judged} cases judged, {judged} pass, 0 fail; {len(marked)} left out\n"), out)

    def test_one_case_is_judged_alone(self):
        code, out, _ = self.run_kit(None, "--only", "duplicate_on_a_chat")
        self.assertEqual((code, out), (0, "1 cases judged, 1 pass, 0 fail; 0 left out\n"))

    def test_cases_that_cannot_be_run_are_no_success(self):
        for slip, arguments, token, words in [
            ("the hook fails", [], TOKEN, "the hook PUT /test/case answers 500"),
            ("the hook speaks no JSON", [], TOKEN, "the hook GET /test/session answers no JSON"),
            (None, [], "another", "the hook PUT /test/case answers 401"),
            (None, ["--without", "nanosecond"], TOKEN, "--without takes"),
            (None, ["--only", "no_such_case"], TOKEN, "no case was judged"),
            (None, ["--cases", "no-such-file"], TOKEN, "no-such-file"),
        ]:
            with self.subTest(words):
                code, _, err = self.run_kit(slip, *arguments, token=token)
                self.assertEqual(code, 2)
                self.assertIn(words, err)

    def test_nobody_listens(self):
        with contextlib.redirect_stderr(io.StringIO()) as err:
            # The discard port of this machine, where nobody listens.
            before, sys.argv = sys.argv, ["kit.py", "http://127.0.0.1:9"]
            code = kit.main()
            sys.argv = before
        self.assertEqual(code, 2)
        self.assertIn("the hook PUT /test/case", err.getvalue())


if __name__ == "__main__":
    unittest.main()
