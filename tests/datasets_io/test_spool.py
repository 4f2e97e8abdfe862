"""Append, read back in order, gone when closed."""

from __future__ import annotations

from pathlib import Path

import pytest

from factory.datasets_io.spool import Spool
from factory.errors import JournalError
from factory.records import Provenance, Record, Rejected, reject


def record(number: int) -> Record:
    return Record(f"{number:020x}", {"text": "ü" * number, "n": number, "none": None}, Provenance(step="s", method="m"))


def test_values_come_back_in_order_also_between_appends(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "new" / "spool", Record)
    assert list(spool) == []
    for number in range(300):
        spool.append(record(number))
        if number % 100 == 50:
            assert list(spool) == [record(n) for n in range(number + 1)]
    assert (len(spool), list(spool)) == (300, [record(n) for n in range(300)])
    assert list(spool) == list(spool)
    spool.close()
    assert not (tmp_path / "new" / "spool").exists()


def test_rejected_records_come_back_with_their_verdicts(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", Rejected)
    rejected = reject(record(1), "rule", "reason", score=0.5, threshold=0.4, evidence="because")
    spool.append(rejected)
    assert list(spool) == [rejected]


def test_what_a_crash_left_behind_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"half a record")
    spool = Spool(tmp_path / "spool", Record)
    spool.append(record(2))
    assert list(spool) == [record(2)]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match=r"file/spool: cannot be written"):
        Spool(tmp_path / "file" / "spool", Record)


def test_a_full_disk_is_named_and_closing_still_works() -> None:
    spool = Spool(Path("/dev/full"), Record) if Path("/dev/full").exists() else pytest.skip("no /dev/full here")
    spool.path = Path("/nonexistent/spool")
    with pytest.raises(JournalError, match=r"cannot be written \(No space left on device\).*free some space"):
        for number in range(1000):
            spool.append(record(number))
    spool.close()
