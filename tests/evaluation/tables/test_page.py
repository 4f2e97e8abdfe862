"""The page needs nothing from elsewhere, shows all sets, and takes nobody's words for its own."""

from html.parser import HTMLParser

import msgspec
import pytest

from factory.evaluation.tables.compare import compare
from factory.evaluation.tables.distributions import distributions
from factory.evaluation.tables.page import page
from factory.evaluation.tables.plots import number
from factory.tables.schema import Schema, Table

from .made import made, values

HOSTILE = "<script>alert('x')</script>\"&"


class Read(HTMLParser):
    void = frozenset({"meta", "br", "link", "img", "input"})

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open, self.text = [], [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.open += [] if tag in self.void else [tag]

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def renamed(table):
    """A column and a category with names that would run on a careless page."""
    columns = [
        msgspec.structs.replace(each, name=HOSTILE if each.name == "group" else each.name)
        for each in table.schema.columns
    ]
    columns[1] = msgspec.structs.replace(columns[1], categories=(HOSTILE, "b", "c", "d"))
    cells = {HOSTILE if name == "group" else name: each for name, each in table.cells.items()}
    return Table(Schema(tuple(columns)), cells, table.rows)


@pytest.fixture(scope="module")
def shown():
    train, rows = renamed(made(120, 1)), values(renamed(made(110, 2)))
    rows += [{"age": HOSTILE}] * 5
    sets = {HOSTILE: rows, "tiny": renamed(made(2, 3)), "other": renamed(made(120, 4))}
    found = compare(sets, train, renamed(made(120, 5)), target=HOSTILE, seeds=2)
    return page(found, distributions(sets, train), HOSTILE)


def test_nothing_is_loaded_and_nothing_runs(shown):
    read = Read()
    read.feed(shown)
    assert not {"script", "link", "img", "iframe", "object", "image", "use", "foreignobject"} & set(read.tags)
    assert not any(name.startswith("on") or name in ("href", "src", "xlink:href") for name, _ in read.attributes)
    for word in ("http:", "https:", "//", "url(", "@import", "javascript:"):
        assert word not in shown, word
    assert read.open == []


def test_hostile_names_are_text(shown):
    assert "<script" not in shown.lower()
    read = Read()
    read.feed(shown)
    assert any(HOSTILE in text for text in read.text)


def test_all_sets_and_references_are_there(shown):
    for name in ("tiny", "other", "real, same n", "real, all", "shuffled columns"):
        assert name in shown
    assert "nan" not in shown.lower().replace("fnan", "")
    assert shown.count("<svg") > 20


def test_shares_of_histograms_sum_to_one():
    train = made(300, 1)
    found = distributions({"one": made(300, 2)}, train)
    assert [each.column for each in found.columns] == train.schema.names
    for each in found.columns:
        for shares in each.shares.values():
            assert len(shares) == len(each.labels)
            assert sum(shares) == pytest.approx(1.0)
    assert found.columns[0].labels[-1] == "missing"
    assert len(found.pairs["one"]) == 10


@pytest.mark.parametrize(
    ("value", "shown"), [(0.88149, "0.881"), (-0.00001, "0.000"), (54321.9, "54,322"), (1e12, "1e+12")]
)
def test_numbers_are_for_people(value, shown):
    assert number(value) == shown
