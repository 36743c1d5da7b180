"""The contract of midsession, in another language, written from the kit alone.

A contact centre's session (a call or a chat) starts anonymous. The one endpoint here links it to the end user, once
someone has verified who that is: POST /apps/api/v1/calls/<session id>/end_user, or the same with chats.

This is a transport for the conformance kit, not for release: it keeps its sessions in memory, asks for a token only if
--token gives one, and has the kit's four test hooks. Run it, and it prints the address on which it listens.
"""

import argparse
import hmac
import ipaddress
import json
import re
import threading
import time
import unicodedata
from datetime import datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ENDPOINT = re.compile(r"//?apps/api/v1/([^/]*)/([A-Za-z0-9._~-]{1,255})/end_user")
COMM_TYPES = {"calls": "call", "chats": "chat"}
MOST_CHARACTERS = {"identifier": 255, "name": 255, "email": 254, "phone": 64}
KNOWN_KEYS = {"comm_type", *MOST_CHARACTERS}
MOST_BYTES = 64 * 1024
# How often a link is decided that loses to other writers each time.
MOST_DECISIONS = 8

# Not str.isspace, which also takes U+001C to U+001F.
WHITE_SPACE = {*"\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000", *map(chr, range(0x2000, 0x200B))}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
LOCAL_PART = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}")
LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
DOMAIN = re.compile(rf"{LABEL}(?:\.{LABEL})*")


class Refused(Exception):
    """The request never reaches the contract: the refusal is the transport's own."""


class Pairs(list):
    """A JSON object as its pairs: a dict would hide a key that is given twice."""


# The clock counts whole nanoseconds since 1970, because datetime stops at microseconds.


def in_nanoseconds(seconds):
    return int(Decimal(seconds).scaleb(9))


def read_time(text):
    whole, fraction, offset = re.fullmatch(r"([^.]{19})(\.\d{1,9})?(Z|[+-]\d\d:\d\d)", text).groups()
    since = datetime.fromisoformat(whole + offset) - datetime.fromisoformat("1970-01-01T00:00:00Z")
    return since // timedelta(seconds=1) * 10**9 + in_nanoseconds(fraction or 0)


def write_time(nanoseconds):
    seconds, rest = divmod(nanoseconds, 10**9)
    fraction = f".{rest:09}".rstrip("0").rstrip(".")
    return f"{(datetime(1970, 1, 1) + timedelta(seconds=seconds)).isoformat()}{fraction}Z"


def refuse_constant(name):
    raise ValueError(f"{name} is no JSON")


def read_fields(body):
    """The known keys of a body, with their values."""
    try:
        # Numbers are never used, and making one of very many digits fails. json.loads would guess UTF-16 from bytes.
        value = json.loads(body.decode(), object_pairs_hook=Pairs, parse_constant=refuse_constant,
                           parse_int=len, parse_float=len)
        pairs = [(key, item) for key, item in value if key in KNOWN_KEYS] if isinstance(value, Pairs) else []
        # Half a surrogate pair cannot be encoded.
        json.dumps(pairs, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST) from error
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise Refused(HTTPStatus.BAD_REQUEST)
    return fields


def is_blank(value):
    if isinstance(value, str):
        return WHITE_SPACE.issuperset(value)
    # An object is a list of pairs here, and a pair is never None.
    return value is None or isinstance(value, list) and all(item is None for item in value)


def is_domain(text):
    if text.startswith("[") and text.endswith("]"):
        return is_address(text[1:-1])
    try:
        return bool(DOMAIN.fullmatch(text if text.isascii() else text.encode("idna").decode()))
    except UnicodeError:
        return False


def is_address(text):
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    # The zone of an IPv6 address is no part of the address.
    return "%" not in text


def is_email(text):
    local_part, _, domain = text.rpartition("@")
    return bool(LOCAL_PART.fullmatch(local_part)) and is_domain(domain)


def is_phone(text):
    return any(unicodedata.category(character) in ("Nd", "Nl", "No") for character in text)


def is_acceptable(field, value):
    if not isinstance(value, str) or len(value) > MOST_CHARACTERS[field] or CONTROL.search(value):
        return False
    return {"email": is_email, "phone": is_phone}.get(field, bool)(value)


def linked(session, request, now):
    former = session.get("end_user", {})
    kept = former if former.get("identifier") == request["identifier"] else {}
    return {**session, "end_user": {**kept, **request}, "last_linked_at": write_time(now),
            "revision": session["revision"] + 1}


class Store:
    """Sessions by their id, written on condition of the revision that was read."""

    def __init__(self, stored=()):
        self.stored, self.lock = dict(stored), threading.Lock()

    def read(self, session_id):
        return self.stored.get(session_id)

    def write(self, session_id, expected, session):
        """Whether the stored revision was still the expected one."""
        with self.lock:
            is_current = self.stored.get(session_id, {}).get("revision") == expected
            if is_current:
                self.stored[session_id] = session
        return is_current


class Sessions:
    """The store, with the clock and the policy by which it links."""

    def __init__(self, store, clock=time.time_ns, interval="30s", scope="session"):
        self.store, self.clock, self.scope = store, clock, scope
        self.interval = in_nanoseconds(interval.removesuffix("s"))

    def link(self, segment, session_id, fields):
        """Decides by the rows of the contract: the status, the message, and the wait if there is one."""
        request = {field: fields[field] for field in MOST_CHARACTERS if not is_blank(fields.get(field))}
        if not segment:
            return 400, "param is missing or the value is empty: comm_type", None
        if "identifier" not in request:
            return 400, "param is missing or the value is empty: identifier", None
        for field, value in request.items():
            if not is_acceptable(field, value):
                return 400, f"param is invalid: {field}", None
        for _ in range(MOST_DECISIONS):
            session = self.store.read(session_id)
            answer, changed = self.decide(session, COMM_TYPES.get(segment), request)
            if not changed or self.store.write(session_id, session["revision"], changed):
                return answer
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE)

    def decide(self, session, comm_type, request):
        """The answer, and the session to store if the link is accepted."""
        now = self.clock()
        if not session or session["comm_type"] != comm_type:
            return (404, "Not Found", None), None
        if session["state"] == "ended":
            return (400, f"{comm_type.capitalize()} is already ended", None), None
        if session["crm_support"] == "unsupported":
            return (400, "Unsupported CRM request", None), None
        if wait := self.wait(session, request, now):
            return (400, "Duplicate request: Please wait for the interval to expire", wait), None
        return (202, "accepted", None), linked(session, request, now)

    def wait(self, session, request, now):
        same = session.get("end_user", {}).get("identifier") == request["identifier"]
        if "last_linked_at" not in session or self.scope == "same_identifier" and not same:
            return None
        elapsed = now - read_time(session["last_linked_at"])
        return self.interval - elapsed if -self.interval < elapsed < self.interval else None


class Endpoint(BaseHTTPRequestHandler):
    timeout = 10

    def __getattr__(self, name):
        # All methods are answered alike: to one it does not know, http.server would answer 501, which is no 4xx.
        if name.startswith("do_"):
            return self.answer
        raise AttributeError(name)

    def answer(self):
        # Not self.path, in which http.server folds the slashes at the beginning. The query is ignored.
        path = self.requestline.split()[1].partition("?")[0]
        try:
            try:
                # The body is read in any case: closing on unread bytes can lose the answer.
                body = self.read_body()
            finally:
                # Without the token, this refusal takes the place of the body's.
                self.check_token()
            self.route(path, body)
        except Refused as refusal:
            self.send_error(*refusal.args)

    def check_token(self):
        given, token = self.headers.get_all("Authorization", []), self.server.token
        if token is not None and (
                len(given) != 1 or not hmac.compare_digest(given[0].encode("latin-1"), f"Bearer {token}".encode())):
            raise Refused(HTTPStatus.UNAUTHORIZED)

    def read_body(self):
        lengths = self.headers.get_all("Content-Length", ["0"])
        if "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED)
        if len(lengths) > 1 or not re.fullmatch("[0-9]{1,18}", lengths[0]):
            raise Refused(HTTPStatus.BAD_REQUEST)
        if int(lengths[0]) > MOST_BYTES:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        body = self.rfile.read(int(lengths[0]))
        if len(body) < int(lengths[0]):
            raise Refused(HTTPStatus.BAD_REQUEST)
        return body

    def route(self, path, body):
        endpoint = ENDPOINT.fullmatch(path)
        if not endpoint:
            raise Refused(HTTPStatus.NOT_FOUND)
        if self.command != "POST":
            raise Refused(HTTPStatus.METHOD_NOT_ALLOWED)
        if self.headers.get_content_type() != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
        status, message, wait = self.server.sessions.link(*endpoint.groups(), read_fields(body))
        # Rounded up: a client that waits that long is not early.
        headers = {"Retry-After": -(-wait // 10**9)} if wait else {}
        self.send_json(status, {"message": message}, headers)

    def send_error(self, code, message=None, explain=None):
        headers = {HTTPStatus.METHOD_NOT_ALLOWED: {"Allow": "POST"}, HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"}}
        self.send_json(code, {"message": HTTPStatus(code).phrase}, headers.get(code, {}))

    def send_json(self, status, value, headers):
        body = json.dumps(value, separators=(",", ":")).encode()
        self.send_response(status)
        for name, content in {"Content-Type": "application/json", "Content-Length": len(body), **headers}.items():
            self.send_header(name, str(content))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        """Nothing is logged: what a request says of a person stays out of the terminal."""


def standing_at(now):
    moment = read_time(now)
    return lambda: moment


class StoreOfACase(Store):
    """Loses to another server, as the case says, until the clock is set."""

    def __init__(self, stored, session_id, meanwhile, deleted_meanwhile, refused_writes, pause_ms):
        super().__init__(stored)
        self.session_id, self.meanwhile, self.pause = session_id, meanwhile, pause_ms / 1000
        self.is_replaced, self.refused = bool(meanwhile or deleted_meanwhile), refused_writes

    def lose_no_more(self):
        self.is_replaced, self.refused = False, 0

    def put(self, session_id, session):
        """As another server does: a session, or none."""
        self.stored.pop(session_id, None)
        if session:
            self.stored[session_id] = session

    def read(self, session_id):
        session = super().read(session_id)
        if session_id == self.session_id and self.is_replaced:
            self.is_replaced = False
            self.put(session_id, self.meanwhile)
        return session

    def write(self, session_id, expected, session):
        time.sleep(self.pause)
        if session_id == self.session_id and self.refused:
            self.refused -= 1
            return False
        return super().write(session_id, expected, session)


class EndpointWithHooks(Endpoint):
    def route(self, path, body):
        hooks = {"/test/case": self.prepare, "/test/clock": self.set_clock, "/test/session": self.put_session}
        if hook := hooks.get(path) if self.command == "PUT" else None:
            try:
                hook(**json.loads(body))
            except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
                raise Refused(HTTPStatus.BAD_REQUEST) from error
            self.send_json(200, None, {})
        elif (self.command, path) == ("GET", "/test/sessions"):
            self.send_json(200, self.server.sessions.store.stored, {})
        else:
            super().route(path, body)

    def prepare(self, session_id, session, others, policy, now, **losses):
        stored = {**others, session_id: session} if session else others
        self.server.sessions = Sessions(StoreOfACase(stored, session_id, **losses), standing_at(now), **policy)

    def set_clock(self, now):
        self.server.sessions.clock = standing_at(now)
        self.server.sessions.store.lose_no_more()

    def put_session(self, session_id, session):
        self.server.sessions.store.put(session_id, session)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--token", help="what every request must have as Authorization: Bearer <token>")
    arguments = parser.parse_args()
    server = ThreadingHTTPServer(("127.0.0.1", 0), EndpointWithHooks)
    server.daemon_threads, server.sessions, server.token = True, Sessions(Store()), arguments.token
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
