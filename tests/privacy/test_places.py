"""Where ledgers lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.privacy.places import leave_mark, led_to, ledger_near, ledger_of


def test_a_ledger_lies_beside_its_file() -> None:
    assert ledger_of(Path("a/tickets.csv")) == Path("a/tickets.csv.privacy.jsonl")
    assert ledger_of(Path("a/shards")) == Path("a/shards.privacy.jsonl")


@pytest.mark.parametrize(
    ("ledger", "path"),
    [
        ("a/b.csv.privacy.jsonl", "a/b.csv"),
        ("a/b.csv.privacy.jsonl", "a"),
        ("a/b.csv.privacy.jsonl", "."),
        ("a/b.csv.privacy.jsonl", "a/link.csv"),
        ("a/b.csv.privacy.jsonl", "a/b.csv.privacy.jsonl"),
        ("a.privacy.jsonl", "a/b.csv"),
        ("a.privacy.jsonl", "a/link.csv"),
        ("a.privacy.jsonl", "c/link.csv"),
        ("a/b.csv.privacy.jsonl", "c"),
        ("a/b.csv.privacy.jsonl", "d"),
        ("a.privacy.jsonl", "d/far/link.csv"),
    ],
)
def test_it_is_found_from_all_that_holds_the_file(
    ledger: str, path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "b.csv").write_text("text\n")
    (tmp_path / "a" / "link.csv").symlink_to("b.csv")
    (tmp_path / "c" / "link.csv").symlink_to("../a/b.csv")
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "far").symlink_to("../a")
    assert ledger_near(Path(path)) is None
    (tmp_path / ledger).write_text("")
    found = ledger_near(Path(path))
    assert found is not None
    assert found.resolve() == (tmp_path / ledger).resolve()
    assert ledger_near(Path("elsewhere.csv")) is None


def test_a_mark_leads_to_a_ledger_elsewhere_and_takes_no_ledgers_place(tmp_path: Path) -> None:
    texts, elsewhere = tmp_path / "a.csv", tmp_path / "far" / "é ledger.jsonl"
    mark = ledger_of(texts)
    assert led_to(mark) == mark
    leave_mark(mark, elsewhere)
    assert led_to(mark) == elsewhere and ledger_near(texts) == mark
    leave_mark(mark, tmp_path / "other.jsonl")
    assert led_to(mark) == elsewhere
    for line in ("", "{", "[]", '{"elsewhere": 3}', '{"type":"end","run":"a"}', "\udcff"):
        mark.write_bytes(line.encode("utf-8", "surrogateescape"))
        assert led_to(mark) == mark
