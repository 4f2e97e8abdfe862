"""The report says what manifest and files say, of every kind of run, and says so where these differ."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import factory
from factory.datasets_io.parquet import read_shards
from factory.errors import FactoryError
from factory.reporting.gather import rows
from factory.reporting.gather.run import Run
from factory.reporting.page import GENERATOR

from .. import private_pieces
from ..driver import in_process
from ..small_runs import Model, one_step, run, text_of
from .made import manifest_of

KINDS = ("self_instruct", "evol_instruct", "filters", "table")
FIGURES = re.compile(r'<script type="application/json" id="figures">(.*?)</script>', re.DOTALL)


def figures(page: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(FIGURES.findall(page.read_text())[0])["panels"]
    return found


def filed(path: Path, folder: str) -> list[dict[str, Any]]:
    return [row for file in sorted((path / folder).glob("*.parquet")) for row in pq.read_table(file).to_pylist()]


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_the_manifest_and_of_the_files(kind: str, runs: dict[str, Path], tmp_path: Path) -> None:
    path = runs[kind]
    done = factory.report(path, tmp_path / "report.html")
    told, manifest = figures(done.path), manifest_of(path)
    kept, rejected = filed(path, "data"), filed(path, "rejected")
    assert (told["Summary"]["kept"], told["Summary"]["rejected"]) == (len(kept), len(rejected))
    assert told["Funnel"]["rows"] == manifest["rows"] == len(kept)
    assert told["Funnel"]["steps"] == [
        {name: step[name] for name in ("step", "read", "kept", "rejected")} for step in manifest["steps"]
    ]
    by_reason = Counter((row["step"], f"{row['rule']}: {row['reason']}") for row in rejected)
    drawn = {
        (step["step"], name): count for step in told["Funnel"]["steps"] for name, count in step["rejected"].items()
    }
    assert drawn == dict(by_reason)
    listed = {
        (step, f"{rule}: {reason}"): n for step, rule, reason, n in told.get("Rejected rows", {}).get("reasons", [])
    }
    assert listed == dict(by_reason)
    assert done.disagreements == ()
    text = done.path.read_text()
    for (_, name), count in by_reason.items():
        assert re.search(rf">{count:,}</text><text[^>]*>{name[:30]}", text), name


def test_every_kind_of_run_gets_the_panels_that_it_has_something_for(runs: dict[str, Path], tmp_path: Path) -> None:
    shown = {kind: set(factory.report(runs[kind], tmp_path / f"{kind}.html").panels) for kind in KINDS}
    everywhere = {"Summary", "Funnel", "Lineage of some records"}
    words = {"Rejected rows", "Lengths", "Novelty curve", "Tokens and time"}
    assert shown["self_instruct"] >= everywhere | words | {"Nearest neighbours", "Kept by a small margin"}
    assert shown["evol_instruct"] >= everywhere | words | {
        "Difficulty by epoch",
        "Kept by a small margin",
        "What is asked for",
    }
    assert shown["filters"] >= everywhere | words | {"Nearest neighbours", "Kept by a small margin"}
    assert shown["table"] == {"Summary", "Funnel", "Real rows beside made ones", "Notes of the steps"} | (
        shown["table"] & {"Lineage of some records"}
    )


def test_numbers_without_end_are_shown(tmp_path: Path) -> None:
    numbers = [float("nan"), float("inf"), float("-inf"), 1e308, 2.5, None]
    texts = [f"Ticket {n}." for n in range(len(numbers))]
    file = one_step(tmp_path, [{"text": "unused"}])
    pq.write_table(pa.table({"text": texts, "x": numbers}), tmp_path / "rows.parquet")
    made = json.loads(file.read_text())
    made["steps"][0] = {"rows": {"path": "rows.parquet"}}
    file.write_text(json.dumps(made))
    run(file, tmp_path / "run", Model(lambda request: "" if "3." in text_of(request) else "fine"))
    done = factory.report(tmp_path / "run")
    assert done.disagreements == ()
    assert re.search("<dt>x</dt><dd>(-?inf|nan)</dd>", done.path.read_text())


def test_an_epoch_of_which_nothing_was_kept_is_in_the_table(runs: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(runs["evol_instruct"], tmp_path / "run")
    (shard,) = (tmp_path / "run" / "data").glob("*.parquet")
    table = pq.read_table(shard)
    last = max(table["epoch"].to_pylist())
    pq.write_table(table.filter(pc.less(table["epoch"], last)), shard)
    away = [json.loads(row["fields"]).get("epoch") for row in read_shards(tmp_path / "run" / "rejected")].count(last)
    page = factory.report(tmp_path / "run").path.read_text()
    rows = page.split("Rows by epoch; epoch 0 is the start set", 1)[1].split("</table>", 1)[0]
    told = [re.sub("<[^>]*>", " ", row).split() for row in rows.split("<tr>")[2:]]
    assert away > 0
    assert [row[:3] for row in told][-1] == [str(last), "0", str(away)]


def test_what_is_left_out_says_why(runs: dict[str, Path], tmp_path: Path) -> None:
    done = factory.report(runs["table"], tmp_path / "report.html")
    text = done.path.read_text()
    assert "Novelty curve" in done.left_out
    for title, why in done.left_out.items():
        assert f"<strong>{title}.</strong>" in text
        assert why.endswith(".")


@pytest.mark.parametrize("folder", ["data", "rejected"])
def test_files_that_differ_from_the_manifest_are_told(folder: str, runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(runs["filters"], path)
    file = next((path / folder).glob("*.parquet"))
    table = pq.read_table(file)
    pq.write_table(table.slice(1), file)
    done = factory.report(path)
    assert any(
        f"{folder}/ holds {table.num_rows - 1:,}" in each or f"{folder}/ holds" in each for each in done.disagreements
    )
    assert "Manifest and files disagree" in done.path.read_text()
    manifest = manifest_of(path)
    (path / "manifest.json").write_text(json.dumps({**manifest, "status": "interrupted"}))
    done = factory.report(path)  # what an earlier run has written is not what the manifest counts
    assert done.disagreements == ()
    assert "The run has not ended (interrupted)" in done.path.read_text()


def test_the_same_run_gives_the_same_page(runs: dict[str, Path], tmp_path: Path) -> None:
    pages = [factory.report(runs["self_instruct"], tmp_path / f"{n}.html").path.read_bytes() for n in range(2)]
    assert pages[0] == pages[1]


def test_a_run_is_only_read(runs: dict[str, Path], tmp_path: Path) -> None:
    path = runs["filters"]
    before = {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}
    factory.report(path, tmp_path / "report.html")
    assert {file: file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()} == before


def test_many_rows_are_sampled_and_the_page_says_so(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = runs["filters"]
    monkeypatch.setattr(rows, "MOST", 20)
    run = Run(path, manifest_of(path))
    kept, rejected = run.rows
    assert 5 <= len(run.kept) + len(run.rejected) < kept + rejected
    assert {row.id for row in run.kept} < {row["record_id"] for row in filed(path, "data")}
    done = factory.report(path, tmp_path / "report.html")
    text = done.path.read_text()
    assert f"{len(run.kept):,} of {kept:,} kept" in text
    assert (figures(done.path)["Summary"]["kept"], figures(done.path)["Funnel"]["rows"]) == (kept, kept)
    assert done.disagreements == ()


def test_near_misses_are_the_rows_closest_to_their_threshold(runs: dict[str, Path]) -> None:
    found = rows.counted(runs["filters"] / "rejected")
    of_rouge = [row for row in filed(runs["filters"], "rejected") if row["rule"] == "rouge_l"]
    closest = sorted(abs(row["score"] - row["threshold"]) for row in of_rouge)[: rows.NEAR]
    scores = {row["record_id"]: abs(row["score"] - row["threshold"]) for row in of_rouge}
    (names,) = (names for key, names in found.near.items() if key[1] == "rouge_l")
    assert [scores[name] for name in names] == closest


def test_scores_are_those_of_the_files_with_both_ends(runs: dict[str, Path], tmp_path: Path) -> None:
    done = factory.report(runs["evol_instruct"], tmp_path / "report.html")
    kept = [row["difficulty"] for row in filed(runs["evol_instruct"], "data") if row["difficulty"] is not None]
    assert figures(done.path)["Scores"] == {"difficulty": {"kept": len(kept)}}
    section = done.path.read_text().split('<section id="scores"')[1].split("</section>")[0]
    assert f"{len(kept):,} kept rows" in section and "threshold 4" in section
    told = [float(value) for value in re.findall(r'data-value="([\d.]+)"', section)]
    assert told == [*sorted(kept, reverse=True)[:3], *sorted(kept)[:3][::-1]]
    plain = factory.report(runs["filters"], tmp_path / "plain.html").path.read_text()
    assert "No step of this run gives rows a score." in plain


def test_nothing_is_overwritten_but_a_report(runs: dict[str, Path], tmp_path: Path) -> None:
    mine = tmp_path / "mine.html"
    mine.write_text("<p>mine</p>")
    for out, message in (
        (mine, "exists and is no report"),
        (tmp_path, "is a folder"),
        (tmp_path / "a/b.html", "no folder"),
    ):
        with pytest.raises(FactoryError, match=message):
            factory.report(runs["filters"], out)
    assert mine.read_text() == "<p>mine</p>"
    with pytest.raises(FactoryError, match="holds no run"):
        factory.report(tmp_path / "nowhere")
    assert GENERATOR in factory.report(runs["filters"], tmp_path / "r.html").path.read_text()
    factory.report(runs["filters"], tmp_path / "r.html")


def test_a_damaged_shard_is_one_sentence(runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(runs["filters"], path)
    next((path / "data").glob("*.parquet")).write_bytes(b"PAR1 nothing PAR1")
    with pytest.raises(FactoryError, match="is damaged"):
        factory.report(path)
    assert not (path / "report.html").exists()


def test_the_story_goes_on_without_a_journal(runs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "run"
    shutil.copytree(runs["self_instruct"], path)
    for file in path.glob("journal.sqlite*"):
        file.unlink()
    done = factory.report(path)
    assert "holds no journal" in done.left_out["Novelty curve"]
    assert "Lineage of some records" in done.panels


def test_a_changed_or_missing_real_table_is_not_compared_with(tmp_path: Path) -> None:
    cells = [{"a": n % 5, "b": "xyz"[n % 3]} for n in range(120)]
    source = tmp_path / "mine.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in cells))
    (tmp_path / "r.yaml").write_text("name: t\ntable: {path: mine.jsonl}\nsteps: [{gaussian_copula: {rows: 60}}]\n")
    path = factory.run(tmp_path / "r.yaml", tmp_path / "out", progress=False).path
    absent = factory.report(path).left_out["Real rows beside made ones"]
    assert "no such file" in absent
    assert str(tmp_path) not in absent
    (path / "mine.jsonl").write_text(source.read_text())
    assert "Real rows beside made ones" in factory.report(path).panels
    (path / "mine.jsonl").write_text(source.read_text() + '{"a": 1, "b": "x"}\n')
    assert "changed since" in factory.report(path).left_out["Real rows beside made ones"]
    (path / "mine.jsonl").write_text(source.read_text())
    (path / "mine.jsonl.privacy.jsonl").write_text("")
    assert "declared private" in factory.report(path).left_out["Real rows beside made ones"]


RECIPE = "name: demo\nengine: {kind: scripted, script: script.json, model: m}\nsteps: [{noisy: {data: {path: tickets.csv}}}]\n"


@pytest.mark.parametrize("epsilon", ["2.0", "null"])
def test_claims_are_shown_and_nothing_private_is(epsilon: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private_pieces.register(monkeypatch)
    private_pieces.tickets(tmp_path / "tickets.csv")
    (tmp_path / "script.json").write_text('{"answers": ["a"]}')
    (tmp_path / "demo.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    path = factory.run(
        "demo.yaml", "run", overrides=[f"noisy.epsilon={epsilon}"], engine=Model(), progress=False
    ).path  # fmt: skip
    (tmp_path / "tickets.csv").unlink()
    done = factory.report(path)
    text = done.path.read_text()
    assert "Privacy" in done.panels
    assert ("NOT PRIVATE" in text) == (epsilon == "null")
    assert ("differentially private" in text) and not any(secret in text for secret in private_pieces.SECRETS)


def test_the_command_writes_the_page_and_warns_of_disagreements(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command = in_process(tmp_path, monkeypatch, capsys)
    shutil.copytree(runs["filters"], tmp_path / "run")
    done = command("report", "run")
    assert (done.code, done.err) == (0, "")
    assert "run/report.html written:" in done.out
    manifest = manifest_of(tmp_path / "run")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps({**manifest, "rows": manifest["rows"] + 1}))
    done = command("report", "run", "--out", "other.html")
    assert done.code == 0
    assert "warning: The manifest counts" in done.err
    assert (tmp_path / "other.html").exists()
