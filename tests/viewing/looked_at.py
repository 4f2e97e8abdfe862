"""What the tests of `factory view` share: runs full of hostile text, a desk that has read one, and a server."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factory.engines.protocol import Request
from factory.viewing.desk import Desk
from factory.viewing.server import Server
from factory.viewing.view import opened

from ..small_runs import Model, one_step, run

HOSTILE = [
    "<script>document.title = 'owned'</script>",
    "<img src=x onerror=\"document.title='owned'\"> {{ 7 * 7 }} ${7*7} {% raw %}",
    '=HYPERLINK("http://example.invalid";"x")',
    "+1+2, -3, @sum(1)",
    'quotes " and \\ backslashes \\n and a real\nnew line\tand a tab',
    "ΤΟ ΚΑΛΟΚΑΊΡΙ στην Αθήνα, ΟΔΌΣ",
    "Лето в Москве, ЖАРКО",
    "هذا نص من اليمين إلى اليسار",
    "夏天的河流很长",
    "Cafe\u0301 with a combining accent, CAFÉ without",
    "emoji 🦊 and a family 👩\u200d👩\u200d👧",
    "percent % under_score 100% a_b [abc] (x|y) .* $^",
    "null\u0000byte? and \u0085 and \u2028 separators",
    "x" * 100_000 + " the end of a very long text",
    "ends with the beginning of the nex",
    "t text begins here",
]


def reply(request: Request) -> str:
    """A summary that is the text itself, so that data and rejected rows hold it; every third one is empty."""
    text = request.messages[0].content.removeprefix("Summarise: ")
    return "" if len(text) % 3 == 0 else f"Summary of {text}"


def hostile_run(folder: Path) -> Path:
    """A finished run of hostile rows, some of them rejected."""
    run(
        one_step(folder, [{"text": text, "n": place} for place, text in enumerate(HOSTILE)]),
        folder / "out",
        Model(reply),
    )
    return folder / "out"


@contextmanager
def desk_of(path: Path) -> Iterator[Desk]:
    """A desk that has read all of a run."""
    desk = Desk(path)
    desk.start()
    try:
        settled(desk)
        yield desk
    finally:
        desk.close()


def settled(desk: Desk) -> None:
    """Wait until everything there is has been read."""
    until(lambda: desk.shelf.done)


def until(true: Any, seconds: float = 20.0) -> None:
    """Wait for something to become true."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks a server as a browser with its cookie does, or otherwise."""

    server: Server

    def __call__(
        self, path: str, method: str = "GET", body: bytes | None = None, *, cookie: bool = True, **headers: str | None
    ) -> Reply:
        given = {"Host": f"127.0.0.1:{self.server.port}"}
        if cookie:
            given["Cookie"] = f"{self.server.cookie}={self.server.token}"
        given |= {name.replace("_", "-"): value for name, value in headers.items()}  # type: ignore[misc]
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=10)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in given:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            return Reply(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def post(self, path: str, said: Any, **headers: str | None) -> Reply:
        origin = {"Origin": f"http://127.0.0.1:{self.server.port}", "Content_Type": "application/json"}
        return self(path, "POST", json.dumps(said).encode(), **{**origin, **headers})


@contextmanager
def served(path: Path, **options: Any) -> Iterator[Client]:
    """A server that has read all of a run, in a thread."""
    with opened(path, **options) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        client = Client(server)
        try:
            until(lambda: client("/api/run").json["indexing"]["done"])
            yield client
        finally:
            server.shutdown()
            thread.join()
