"""A run in any state: going on, killed, failed, empty, damaged, gone; each is shown or said in one sentence."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import pytest

from factory.datasets_io.parquet import read_shards
from factory.engines.scripted import ScriptedEngine
from factory.errors import FactoryError
from factory.viewing.desk import Desk
from factory.viewing.view import opened

from ..small_runs import Model, one_step, run, text_of, tickets
from .looked_at import Client, desk_of, served, until


class Gate(Model):
    """Answers so many requests, then waits until it is opened."""

    def __init__(self, first: int) -> None:
        super().__init__()
        self.first = first
        self.open = threading.Event()

    async def complete(self, request):  # type: ignore[no-untyped-def]
        import asyncio

        if sum(self.keys.values()) >= self.first:
            while not self.open.is_set():
                await asyncio.sleep(0.02)
        return await super().complete(request)


def test_records_of_a_run_appear_while_it_is_going_on(tmp_path: Path) -> None:
    model = Gate(120)
    recipe = one_step(tmp_path, tickets(200))
    thread = threading.Thread(target=lambda: run(recipe, tmp_path / "out", model), daemon=True)
    thread.start()
    try:
        until(lambda: (tmp_path / "out" / "manifest.json").exists())
        with opened(tmp_path / "out") as server:
            serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
            serving.start()
            ask = Client(server)
            until(lambda: ask("/api/run").json["counts"]["states"][0] > 60)
            state = ask("/api/run").json
            assert (state["status"], state["live"]) == ("running", True)
            until(lambda: ask("/api/run").json["answers"] >= 100)
            found = ask("/api/records?state=kept&q=TICKET+7:").json
            assert [row["text"].split(" · ")[1] for row in found["rows"]] == [tickets(8)[7]["text"]]
            story = ask(f"/api/record?key={found['rows'][0]['key']}").json
            assert story["exchanges"][0]["asked"][0]["text"] == f"Summarise: {tickets(8)[7]['text']}"
            early = found["rows"][0]["key"]
            model.open.set()
            until(lambda: ask("/api/run").json["status"] == "complete")
            until(lambda: not ask("/api/run").json["live"])
            until(lambda: ask("/api/run").json["counts"]["states"][0] == 200)
            state = ask("/api/run").json
            assert (state["live"], state["answers"]) == (False, None)
            assert ask(f"/api/record?key={early}").json["state"] == "kept"
            assert ask("/api/records?state=kept&q=ticket+7:").json["rows"][0]["key"] == early
            server.shutdown()
    finally:
        model.open.set()
        thread.join(20)


def test_rejected_records_of_a_run_that_is_going_on_have_their_verdict(tmp_path: Path) -> None:
    model_reply = iter(range(10**6))
    gate = threading.Event()

    class Empty(Model):
        async def complete(self, request):  # type: ignore[no-untyped-def]
            import asyncio

            if next(model_reply) > 150:
                while not gate.is_set():
                    await asyncio.sleep(0.02)
            return await super().complete(request)

    recipe = one_step(tmp_path, tickets(200))
    thread = threading.Thread(target=lambda: run(recipe, tmp_path / "out", Empty(lambda _: "")), daemon=True)
    thread.start()
    try:
        until(lambda: (tmp_path / "out" / "manifest.json").exists())
        with desk_of(tmp_path / "out") as desk:
            until(lambda: desk.shelf.live and desk.state()["counts"]["states"][1] > 50)
            columns = desk.shelf.index.columns()
            row = int((columns.states == 1).nonzero()[0][0])
            record = desk.shelf.reader.row(row)
            assert (record["state"], record["verdict"]["reason"], record["step"]) == (
                "rejected",
                "empty_answer",
                "prompt",
            )
            assert record["fields"]["text"].startswith("Ticket")
    finally:
        gate.set()
        thread.join(20)


def test_a_record_that_is_half_written_is_read_when_it_is_whole(tmp_path: Path) -> None:
    from factory.datasets_io.spool import Spool
    from factory.records import Provenance, Record
    from factory.viewing.batches import SpoolReader

    spool = Spool(tmp_path / "kept", Record)
    for number in range(3):
        spool.append(Record(f"{number:020x}", {"text": f"number {number}"}, Provenance(step="s", method="m")))
    list(spool)  # flushes
    whole = (tmp_path / "kept").read_bytes()
    for cut in range(len(whole) + 1):
        (tmp_path / "growing").write_bytes(whole[:cut])
        reader = SpoolReader(tmp_path / "growing", None)
        first = [text for batch in reader.batches(kept=True) for text in batch.texts.to_pylist()]
        assert len(first) == 3 * cut // len(whole)
        (tmp_path / "growing").write_bytes(whole)
        rest = [text for batch in reader.batches(kept=True) for text in batch.texts.to_pylist()]
        assert [*first, *rest] == ["number 0", "number 1", "number 2"]
    spool.close()


def test_a_killed_run_says_what_to_do(tmp_path: Path) -> None:
    path = run(one_step(tmp_path, tickets(5)), tmp_path / "out").path
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    for folder in ("data", "rejected", "lineage"):
        shutil.rmtree(path / folder)
    with served(path) as ask:
        state = ask("/api/run").json
        assert (state["status"], state["answers"], state["live"]) == ("killed", 5, False)
        assert "same command" in state["message"]
        assert ask("/api/records").json["rows"] == []


def test_a_run_that_has_just_ended_is_never_called_killed(tmp_path: Path) -> None:
    path = run(one_step(tmp_path, tickets(5)), tmp_path / "out").path
    ended = (path / "manifest.json").read_text()
    (path / "manifest.json").write_text(json.dumps({**json.loads(ended), "status": "running"}))
    desk = Desk(path)  # its thread looks once a second; here it has not begun
    (path / "manifest.json").write_text(ended)
    assert desk.state()["status"] == "complete"


def test_a_failed_run_shows_its_error(tmp_path: Path) -> None:
    def broken(request: object) -> str:
        raise FactoryError("the model is gone.")

    with pytest.raises(FactoryError):
        run(one_step(tmp_path, tickets(3)), tmp_path / "out", ScriptedEngine(broken))
    with served(tmp_path / "out") as ask:
        state = ask("/api/run").json
        assert state["status"] == "failed"
        assert "the model is gone." in state["message"]
        assert "no records yet" in state["message"]
        for question in ("records", "records?q=x", "rules"):
            assert ask(f"/api/{question}").status == 200


@pytest.mark.parametrize("folder", ["data", "rejected", "lineage"])
@pytest.mark.parametrize("damage", ["cut", "rubbish", "empty"])
def test_a_damaged_shard_is_named_and_the_others_are_shown(
    judged: tuple[Path, Path], tmp_path: Path, folder: str, damage: str
) -> None:
    shutil.copytree(judged[0], tmp_path / "run")
    shard = next((tmp_path / "run" / folder).glob("*.parquet"))
    content = shard.read_bytes()
    shard.write_bytes({"cut": content[: len(content) // 2], "rubbish": b"x" * 500, "empty": b""}[damage])
    others = sum(1 for name in {"data", "rejected", "lineage"} - {folder} for _ in read_shards(judged[0] / name))
    with served(tmp_path / "run") as ask:
        state = ask("/api/run").json
        assert len(state["problems"]) == 1
        assert shard.name in state["problems"][0]
        assert "is damaged" in state["problems"][0]
        assert sum(state["counts"]["states"]) == others


def test_numbers_that_json_lacks_hide_no_row(tmp_path: Path) -> None:
    numbers = ["NaN", "1e400", "-Infinity", "2.5"] * 5
    file = one_step(tmp_path, [{"text": "unused"}])
    lines = [f'{{"text": "Ticket {n}.", "x": {x}}}' for n, x in enumerate(numbers)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    done = run(file, tmp_path / "out", Model(lambda request: "" if "7." in text_of(request) else "fine"))
    away = sum(1 for _ in read_shards(done.path / "rejected"))
    between = sum(1 for _ in read_shards(done.path / "lineage"))
    with served(done.path) as ask:
        state = ask("/api/run").json
        assert state["problems"] == []
        assert sum(state["counts"]["states"]) == done.rows + away + between
        shown = ask("/api/records?q=Ticket").json
        assert shown["total"] == done.rows + away + between > done.rows


def test_damage_inside_a_shard_is_found_when_it_is_read(judged: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(judged[0], tmp_path / "run")
    shard = next((tmp_path / "run" / "data").glob("*.parquet"))
    content = bytearray(shard.read_bytes())
    content[40:400] = bytes(360)
    shard.write_bytes(content)
    with served(tmp_path / "run") as ask:
        assert "is damaged" in ask("/api/run").json["problems"][0]


def test_a_damaged_journal_is_one_sentence_for_that_record(judged: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(judged[0], tmp_path / "run")
    (tmp_path / "run" / "journal.sqlite").write_bytes(b"no database at all" * 100)
    with served(tmp_path / "run") as ask:
        key = ask("/api/records").json["rows"][0]["key"]
        reply = ask(f"/api/record?key={key}")
        assert reply.status == 400
        assert "journal" in reply.json["error"]


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"format": 1}'])
def test_what_is_no_run_is_one_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(FactoryError, match=r"manifest\.json|holds no run"):
        Desk(tmp_path)


def test_a_run_that_is_made_anew_is_read_again(tmp_path: Path) -> None:
    path = run(one_step(tmp_path, tickets(5)), tmp_path / "out").path
    with served(path) as ask:
        assert ask("/api/run").json["counts"]["states"][0] == 5
        run(one_step(tmp_path, tickets(9)), path, accept_changes=True)
        until(lambda: ask("/api/run").json["counts"]["states"][0] == 9)
        assert len(ask("/api/records?state=kept").json["rows"]) == 9


def test_nothing_in_the_directory_is_touched(judged: tuple[Path, Path]) -> None:
    def stamps() -> dict[str, tuple[int, int]]:
        return {str(one): (one.stat().st_mtime_ns, one.stat().st_size) for one in judged[0].rglob("*")}

    before = stamps()
    with served(judged[0]) as ask:
        for question in ("run", "records?q=a", "rules", "record?key=" + ask("/api/records").json["rows"][0]["key"]):
            assert ask(f"/api/{question}").status == 200
    assert stamps() == before


def test_a_run_that_is_not_private_says_so(tmp_path: Path) -> None:
    path = run(one_step(tmp_path, tickets(2)), tmp_path / "out").path
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["privacy"] = {"output_private": True, "why": "'x' has read private rows", "claims": []}
    (path / "manifest.json").write_text(json.dumps(manifest))
    with served(path) as ask:
        assert ask("/api/run").json["not_private"] == "'x' has read private rows. Do not share these rows."
