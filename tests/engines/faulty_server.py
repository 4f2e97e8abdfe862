"""A small HTTP server on 127.0.0.1 that answers as told, faults included.

    async with FaultyServer(error(500, "out of memory"), answer("Nile")) as server:
        ...  # the first POST gets the 500, the second and all later ones "Nile"

It speaks HTTP/1.1 with keep-alive on a free port, and remembers every request that it was sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Reply:
    """What to send back.

    `hang` sends nothing, `cut` drops the connection in the middle of the body, and `crowd` holds the
    answer until so many requests are in flight together.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay_s: float = 0.0
    hang: bool = False
    cut: bool = False
    crowd: int = 1


@dataclass(frozen=True)
class Seen:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


Usage = tuple[int | None, int | None]

HANG = Reply(hang=True)


def as_json(value: object, status: int = 200, **headers: str) -> Reply:
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, json.dumps(value).encode(), named)


def answer(content: str | None, finish_reason: str | None = "stop", usage: Usage | None = (7, 3)) -> Reply:
    """A completion that serves for chat and for plain text."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    counts = {"prompt_tokens": usage[0], "completion_tokens": usage[1]} if usage else None
    return as_json({"object": "chat.completion", "choices": [choice], "usage": counts})


def error(status: int, message: str, **headers: str) -> Reply:
    return as_json({"error": {"message": message, "code": status}}, status, **headers)


def models(*names: str, max_model_len: int | None = None) -> Reply:
    return as_json({"object": "list", "data": [{"id": name, "max_model_len": max_model_len} for name in names]})


def unused_url() -> str:
    """A URL on this machine where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}/v1"


class FaultyServer:
    """Gives each POST the next of `replies`, and the last one for ever; GET /models gets `listing`."""

    def __init__(self, *replies: Reply, listing: Reply | None = None) -> None:
        self.replies = list(replies) or [answer("ok")]
        self.listing = listing or models("m")
        self.seen: list[Seen] = []
        self.in_flight = 0
        self.most_in_flight = 0
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def posts(self) -> list[Seen]:
        return [request for request in self.seen if request.method == "POST"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.close()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # the client went away, as clients that time out do
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        self.seen.append(Seen(method, path, headers, json.loads(body or b"{}")))
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answer(self._next(method), reader, writer)
        finally:
            self.in_flight -= 1

    def _next(self, method: str) -> Reply:
        if method == "GET":
            return self.listing
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    async def _answer(self, reply: Reply, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Send it; whether the connection lives on."""
        if reply.hang:
            await reader.read()  # returns when the client gives up
            return False
        await asyncio.sleep(reply.delay_s)
        while self.most_in_flight < reply.crowd:
            await asyncio.sleep(0.01)
        lines = [f"HTTP/1.1 {reply.status} Status", f"Content-Length: {len(reply.body)}"]
        lines += [f"{name}: {value}" for name, value in reply.headers.items()]
        writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        writer.write(reply.body[: len(reply.body) // 2] if reply.cut else reply.body)
        await writer.drain()
        return not reply.cut
