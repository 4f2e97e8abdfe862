"""Who is answered, and with what: the token, the host, the origin, and nothing but questions that are known."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factory.viewing.view import opened

from ..small_runs import Model, one_step, run
from .looked_at import HOSTILE, Client, Reply, served, until


@pytest.fixture(scope="module")
def ask(hostile: Path) -> Iterator[Client]:
    with served(hostile) as client:
        yield client


def refused(reply: Reply, status: int) -> str:
    assert reply.status == status, reply.body
    assert reply.headers["content-type"].startswith("application/json")
    assert list(reply.json) == ["error"]
    return str(reply.json["error"])


def test_the_link_gives_the_page_and_a_cookie_that_scripts_cannot_read(ask: Client) -> None:
    reply = ask(f"/?token={ask.server.token}", cookie=False)
    assert reply.status == 200
    assert reply.headers["set-cookie"] == f"{ask.server.cookie}={ask.server.token}; Path=/; HttpOnly; SameSite=Strict"
    assert "set-cookie" not in ask("/").headers
    assert len(ask.server.token) >= 40


@pytest.mark.parametrize("path", ["/", "/view.js", "/view.css", "/api/run", "/api/records", "/api/marks.csv", "/none"])
def test_without_the_token_nothing_is_answered(ask: Client, path: str) -> None:
    assert "token" in refused(ask(path, cookie=False), 403)
    for wrong in ("", "x", ask.server.token[:-1], ask.server.token + "x", "ä"):
        cookie = f"{ask.server.cookie}={wrong}".encode().decode("latin-1")
        refused(ask(path, cookie=False, Cookie=cookie), 403)
    refused(ask(f"{path}?token=wrong", cookie=False), 403)


def test_the_token_counts_in_the_link_of_the_page_alone(ask: Client) -> None:
    refused(ask(f"/api/run?token={ask.server.token}", cookie=False), 403)
    refused(ask("/?token=wrong"), 403)
    refused(ask("/api/run", cookie=False, Cookie='"; broken = ; =='), 403)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "example.com:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.1:{port}.example.com",
        "",
        None,
        "0.0.0.0:{port}",
    ],
)
def test_a_foreign_host_is_refused(ask: Client, host: str | None) -> None:
    named = None if host is None else host.format(port=ask.server.port)
    refused(ask("/api/run", Host=named), 403)
    refused(ask(f"/?token={ask.server.token}", Host=named), 403)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_machine_are_served(ask: Client, name: str) -> None:
    assert ask("/api/run", Host=f"{name}:{ask.server.port}").status == 200


def test_only_the_loopback_address_listens(ask: Client) -> None:
    assert ask.server.server_address[0] == "127.0.0.1"


@pytest.mark.parametrize(
    "path",
    [
        "/../manifest.json", "/..%2f..%2fetc/passwd", "/api/../manifest.json", "/api/record/../../manifest.json", "//etc/passwd",
        "/view.html", "/page/view.js", "/view.js/", "/%2e%2e/recipe.yaml", "/api/", "/api/answers", "/api/get", "/marks.jsonl",
        "/api/marks.txt", "/journal.sqlite", "/api/records/", "http://example.com/api/nothing",
    ],
)  # fmt: skip
def test_no_path_leads_out(ask: Client, path: str) -> None:
    refused(ask(path), 404)


@pytest.mark.parametrize(
    "named",
    ["../manifest.json", "/etc/passwd", "..", "%00", "0" * 5000, "zzzz", "-1", "-" + "1" * 20, "0x1", "١٢٣٤", "abcd"],
)
def test_what_names_no_record_is_one_sentence(ask: Client, named: str) -> None:
    for parameter in ("id", "key"):
        sentence = refused(ask(f"/api/record?{parameter}={quote(named)}"), 400)
        assert "no record" in sentence
        assert len(sentence) < 200


@pytest.mark.parametrize(
    "query",
    [
        "offset=-1", "offset=1e9", "offset=x", "low=nan", "high=inf", "low=x", "sort=sideways", "state=else", "measure=nope&low=1", "q=" + "a" * 1001,
        "offset=1" + "0" * 300,
    ],
)  # fmt: skip
def test_a_question_that_makes_no_sense_is_one_sentence(ask: Client, query: str) -> None:
    assert len(refused(ask(f"/api/records?{query}"), 400)) < 300
    refused(ask("/api/threshold?rule=x&at=1"), 400)
    refused(ask("/api/compare"), 400)


def test_too_much_is_refused(ask: Client) -> None:
    refused(ask("/api/records?q=" + "a" * 70_000), 414)
    refused(ask("/api/records?" + "&".join(f"a{n}=1" for n in range(100))), 400)
    refused(ask.post("/api/marks", {"id": "x" * 70_000}), 413)
    refused(ask.post("/api/marks", {"id": "x"}, Content_Length="9" * 5000), 413)


@pytest.mark.parametrize("method", ["PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT", "MADE-UP"])
def test_other_methods_are_refused(ask: Client, method: str) -> None:
    reply = ask("/api/run", method)
    assert reply.status in (405, 501)
    assert "access-control-allow-origin" not in reply.headers


def test_a_post_from_elsewhere_is_refused(ask: Client, hostile: Path) -> None:
    said = {"id": ask("/api/records").json["rows"][0]["key"], "mark": "good"}
    for origin in (None, "null", "http://example.com", "https://127.0.0.1", f"http://example.com:{ask.server.port}"):
        refused(ask.post("/api/marks", said, Origin=origin), 403)
    refused(ask.post("/api/marks", said, Content_Type="text/plain"), 415)
    refused(ask.post("/api/elsewhere", said), 404)
    refused(
        ask("/api/marks", "POST", b"{", Origin=f"http://127.0.0.1:{ask.server.port}", Content_Type="application/json"),
        400,
    )
    refused(
        ask(
            "/api/marks",
            "POST",
            b"[" * 60_000,
            Origin=f"http://127.0.0.1:{ask.server.port}",
            Content_Type="application/json",
        ),
        400,
    )
    assert "--marks" in refused(ask.post("/api/marks", said), 400)
    assert not (hostile / "marks.jsonl").exists()


@pytest.mark.parametrize(
    "path",
    ["/", "/view.css", "/view.js", "/api/run", "/api/records?q=x", "/api/marks.csv", "/none", "/api/record?id=x"],
)
def test_every_answer_is_fenced_in(ask: Client, path: str) -> None:
    headers = ask(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
    assert (headers["referrer-policy"], headers["x-frame-options"]) == ("no-referrer", "DENY")
    assert "python" not in headers.get("server", "").lower()


def test_the_page_loads_nothing_from_elsewhere_and_writes_no_markup() -> None:
    folder = Path(__file__).parents[2] / "factory" / "viewing" / "page"
    files = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert len(files) >= 6
    for name, text in files.items():
        addresses = set(re.findall(r"https?://[^\s\"'`]+", text)) - {"http://www.w3.org/2000/svg"}
        assert not addresses, name
        for danger in (
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
            "DOMParser",
        ):
            assert danger not in text, (name, danger)
    assert not re.findall(r"<script(?![^>]*\bsrc=)", files["view.html"])
    assert not re.findall(r"\son\w+=|\sstyle=", files["view.html"])


def test_hostile_text_comes_as_data(ask: Client) -> None:
    found = ask("/api/records?state=kept").json["rows"]
    assert any("<script>" in row["text"] for row in found)
    story = ask(f"/api/record?key={found[0]['key']}").json
    texts = {field["name"]: field["text"] for field in story["fields"]}
    assert texts["text"] in HOSTILE
    assert texts["summary"] == f"Summary of {texts['text']}".strip()


def test_it_ends_within_a_second_with_open_connections(hostile: Path) -> None:
    with opened(hostile) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        client = Client(server)
        until(lambda: client("/api/run").status == 200)
        idle = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(5)]
        idle[0].sendall(b"GET / HTTP/1.1\r\nHost:")
        began = time.monotonic()
        server.shutdown()
        thread.join(2)
    assert time.monotonic() - began < 1.0
    for one in idle:
        one.close()
    with closing(socket.socket()) as probe:
        assert probe.connect_ex(("127.0.0.1", server.port)) != 0


def test_json_never_breaks_on_lone_surrogates_or_numbers_that_json_lacks(ask: Client) -> None:
    assert json.loads(ask("/api/records?q=%ED%A0%80").body)["total"] == 0


def test_numbers_that_json_lacks_are_no_numbers_to_order_by(tmp_path: Path) -> None:
    numbers = [float("nan"), float("inf"), float("-inf"), 1e308, 2.5, None, -1.0]
    file = one_step(tmp_path, [{"text": "unused"}])
    table = pa.table({"text": [f"Ticket {n}." for n in range(len(numbers))], "x": numbers})
    pq.write_table(table, tmp_path / "rows.parquet")
    made = json.loads(file.read_text())
    made["steps"][0] = {"rows": {"path": "rows.parquet"}}
    file.write_text(json.dumps(made))
    run(file, tmp_path / "run", Model(lambda request: "fine"))
    with served(tmp_path / "run") as ask:
        for query, found in (("sort=up", [-1.0, 2.5]), ("sort=down", [2.5, -1.0]), ("low=0", [2.5])):
            rows = ask(f"/api/records?state=kept&measure=x&{query}").json["rows"]
            assert [row["value"] for row in rows if row["value"] is not None] == found
            assert len(rows) == (1 if query == "low=0" else len(numbers))


def test_a_bug_is_an_answer_and_the_terminal_tells_what_it_was(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("a bug of ours")

    with served(hostile) as ask:
        monkeypatch.setattr(ask.server.answers, "get", broken)
        assert "terminal" in refused(ask("/api/run"), 500)
        monkeypatch.undo()
        assert ask("/api/run").status == 200
    assert "a bug of ours" in capsys.readouterr().err
