"""HTTP on 127.0.0.1, for one page of one person.

Whoever wants an answer must know the token of the link that was printed; the page turns it into a cookie that no
script can read and takes it out of the address. A request must name this host, so that no other site's name can lead
here; a POST must come from this page. No part of a request becomes a path. The page may load nothing from elsewhere.
"""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import traceback
from functools import cache
from http.cookies import CookieError, SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qs, urlsplit

from factory.errors import FactoryError, UserError
from factory.viewing.answers import Answers

HOST = "127.0.0.1"
MOST_BODY = 64_000
IDLE_S = 30.0
_PAGE = {
    "/": ("view.html", "text/html; charset=utf-8"),
    "/view.css": ("view.css", "text/css; charset=utf-8"),
    "/view.js": ("view.js", "text/javascript; charset=utf-8"),
    "/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    "/thresholds.js": ("thresholds.js", "text/javascript; charset=utf-8"),
    "/compare.js": ("compare.js", "text/javascript; charset=utf-8"),
    "/record.js": ("record.js", "text/javascript; charset=utf-8"),
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Refused(Exception):
    """A request that gets no answer: status and sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        """Keep both."""
        super().__init__(sentence)
        self.status = status


class Server(ThreadingHTTPServer):
    """The server; `url` is the link to print."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True

    def __init__(self, answers: Answers, port: int = 0) -> None:
        """Take the port; 0 takes a free one.

        Raises:
            UserError: If it is taken.
        """
        self.answers = answers
        self.token = secrets.token_urlsafe(32)
        try:
            super().__init__((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            raise UserError(
                f"port {port} of {HOST} cannot be taken ({error}); leave --port out to take a free one."
            ) from error

    @property
    def port(self) -> int:
        """The port that was taken."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Link to the page, with the token."""
        return f"http://{HOST}:{self.port}/?token={self.token}"

    @property
    def cookie(self) -> str:
        """Name of the cookie; cookies of one host are shared by its ports."""
        return f"factory_view_{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that has gone is no error; anything else is shown."""
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError | socket.timeout):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Checks a request, then answers it."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version = "factory"
    sys_version = ""
    timeout = IDLE_S

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are nobody's news."""

    def do_GET(self) -> None:
        """Answer a question."""
        self._answered(self._get)

    def do_POST(self) -> None:
        """Take a mark."""
        self._answered(self._post)

    def __getattr__(self, name: str) -> Any:
        """Every other method is refused, in the form in which everything is."""
        if name.startswith("do_"):
            return lambda: self._answered(self._other_method)
        raise AttributeError(name)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Errors of the protocol, as JSON."""
        self.close_connection = True
        self._json(code, {"error": message or self.responses.get(code, ("",))[0]})

    # --- checks -------------------------------------------------------------------------------------------------------

    def _answered(self, answer: Any) -> None:
        try:
            self._check_host()
            answer()
        except Refused as refused:
            self.close_connection = True
            self._json(refused.status, {"error": str(refused)})
        except FactoryError as error:
            self._json(400, {"error": str(error)})
        except (ConnectionError, TimeoutError):  # the browser has gone
            raise
        except Exception:  # noqa: BLE001 a bug: the page is told, and the terminal shows what it was
            traceback.print_exc()
            self.close_connection = True
            self._json(500, {"error": "This could not be answered; the terminal of 'factory view' says why."})

    def _check_host(self) -> None:
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in self._names():
            raise Refused(403, "This host is not served here; open the link that 'factory view' has printed.")

    def _names(self) -> set[str]:
        return {f"{name}:{self.server.port}" for name in (HOST, "localhost", "[::1]")}

    def _check_token(self, given: str | None) -> None:
        if given is None or not hmac.compare_digest(given.encode("utf-8", "replace"), self.server.token.encode()):
            raise Refused(403, "The token is missing or wrong; open the link that 'factory view' has printed.")

    def _cookie(self) -> str | None:
        try:
            found = SimpleCookie(self.headers.get("Cookie") or "").get(self.server.cookie)
        except CookieError:
            return None
        return None if found is None else found.value

    def _check_origin(self) -> None:
        origin = self.headers.get("Origin")
        if origin not in {f"http://{name}" for name in self._names()}:
            raise Refused(403, "This was not sent by the page.")

    # --- answers ------------------------------------------------------------------------------------------------------

    def _get(self) -> None:
        path, query = self._asked()
        if path == "/" and "token" in query:
            self._check_token(query["token"])
            cookie = f"{self.server.cookie}={self.server.token}; Path=/; HttpOnly; SameSite=Strict"
            self._page(path, {"Set-Cookie": cookie})
            return
        self._check_token(self._cookie())
        if path in _PAGE:
            self._page(path, {})
        elif path in ("/api/marks.jsonl", "/api/marks.csv"):
            form = path.rpartition(".")[2]
            kind = {"csv": "text/csv", "jsonl": "application/x-ndjson"}[form]
            named = {"Content-Disposition": f'attachment; filename="marks.{form}"'}
            self._send(
                200, self.server.answers.marked(form).encode("utf-8", "replace"), f"{kind}; charset=utf-8", named
            )
        else:
            found = self.server.answers.get(path.removeprefix("/api/"), query) if path.startswith("/api/") else None
            if found is None:
                raise Refused(404, "There is nothing here.")
            self._json(200, found)

    def _post(self) -> None:
        path, _ = self._asked()
        self._check_token(self._cookie())
        self._check_origin()
        if path != "/api/marks":
            raise Refused(404, "There is nothing here.")
        if (self.headers.get("Content-Type") or "").partition(";")[0].strip() != "application/json":
            raise Refused(415, "Expected JSON.")
        self._json(200, self.server.answers.mark(self._body()))

    def _other_method(self) -> None:
        raise Refused(405, "Only GET and POST are answered.")

    def _asked(self) -> tuple[str, dict[str, str]]:
        """Path and query of the request.

        Raises:
            Refused: If they cannot be read.
        """
        try:
            parts = urlsplit(self.path)
            found = parse_qs(parts.query, keep_blank_values=True, max_num_fields=24, errors="replace")
        except ValueError as error:
            raise Refused(400, "This address cannot be read.") from error
        return parts.path, {name: values[-1] for name, values in found.items()}

    def _body(self) -> dict[str, Any]:
        length = self.headers.get("Content-Length") or ""
        if not (length.isascii() and length.isdigit()) or self.headers.get("Transfer-Encoding"):
            raise Refused(411, "The length of the body is missing.")
        if len(length) > 12 or int(length) > MOST_BODY:
            raise Refused(413, f"The body is longer than {MOST_BODY:,} bytes.")
        try:
            said = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError) as error:
            raise Refused(400, "The body is no JSON.") from error
        if not isinstance(said, dict):
            raise Refused(400, "The body is no JSON object.")
        return said

    def _page(self, path: str, headers: dict[str, str]) -> None:
        name, kind = _PAGE[path]
        self._send(200, _file(name), kind, headers)

    def _json(self, status: int, value: Any) -> None:
        body = json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
        self._send(status, body, "application/json; charset=utf-8", {})

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, **headers, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@cache
def _file(name: str) -> bytes:
    return resources.files("factory.viewing").joinpath("page", name).read_bytes()
