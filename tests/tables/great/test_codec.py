import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float
from factory.tables.great.codec import CodecError, RowCodec
from factory.tables.great.pieces import TokenizerError
from factory.tables.great.writing import SentenceError
from factory.tables.schema import Schema, Table

HOSTILE = [
    "", " ", "None", "none", "a,b", ", ", " is ", "x is y, z is w", '"', '""', "\\", "\\q", '\\"', "'", "\n", "\r\n", "\t",
    " lead", "trail ", "é", "naïve Ünïcode", "😀👍🏽", "日本語", "▁", "Ġ", "<eos>", "</s>", "<s>", "<0x41>", "1e-05", "-3", "NaN", "null",
]  # fmt: skip
texts = st.one_of(st.sampled_from(HOSTILE), st.text(st.characters(exclude_categories=("Cs",)), max_size=12))


@st.composite
def tables(draw):
    """A schema of hostile names and categories, and a row of it."""
    names = draw(st.lists(texts, min_size=1, max_size=5, unique=True))
    columns, cells = [], {}
    for name in names:
        kind = draw(st.sampled_from(["category", "integer", "decimal", "float", "date", "text", "boolean"]))
        options = {}
        if kind == "category":
            options["categories"] = tuple(draw(st.lists(texts, min_size=1, max_size=5, unique=True)))
            cell = draw(st.integers(0, len(options["categories"]) - 1))
        elif kind == "boolean":
            options["categories"], cell = (False, True), draw(st.integers(0, 1))
        elif kind == "text":
            cell = draw(texts)
        elif kind == "float":
            cell = code_of_float(draw(st.floats(allow_nan=False, allow_infinity=False)))
        elif kind == "date":
            options["form"] = draw(
                st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d %b, %Y", "%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %H:%M"])
            )
            steps = {"%S": 1, "%M": 60}
            step = next((seconds for part, seconds in steps.items() if part in options["form"]), 86_400)
            cell = draw(st.integers(-(10**9), 10**9)) // step
        else:
            options["places"] = draw(st.integers(1, 6)) if kind == "decimal" else 0
            cell = draw(st.integers(-(10**40), 10**40))
        columns.append(Column(name=name, kind=kind, nullable=True, **options))
        cells[name] = None if draw(st.integers(0, 5)) == 0 else cell
    return Schema(tuple(columns)), cells, draw(st.permutations(names))


@settings(max_examples=150, deadline=None)
@given(tables(), st.sampled_from(["byte level", "byte level, single digits", "byte level, blank first", "llama"]))
def test_every_row_comes_back_from_its_tokens_and_from_its_sentence(exact, table, kind):
    schema, cells, order = table
    codec = RowCodec(exact[kind], schema)
    row = codec.row(cells, order)
    assert row[-1] == codec.eos and row.count(codec.eos) == 1
    assert codec.decode(row) == cells
    assert codec.decode_text(codec.encode_text(cells, order)) == cells
    assert len(row) <= codec.longest(Table(schema, {name: [cell] for name, cell in cells.items()}, 1))


@settings(max_examples=100, deadline=None)
@given(texts, texts)
def test_no_two_texts_have_the_same_tokens(exact, one, other):
    codec = RowCodec(exact["llama"], Schema((Column(name="x", kind="text", nullable=True),)))
    assert (codec.value("x", one) == codec.value("x", other)) == (one == other)
    assert codec.value("x", None) != codec.value("x", one)


def test_a_sentence_reads_as_in_the_paper(exact):
    schema = Schema(
        (
            Column(name="age", kind="integer", high=90),
            Column(name="work", kind="category", categories=("State-gov",)),
            Column(name="gain", kind="decimal", places=1, nullable=True),
        )
    )
    codec = RowCodec(exact["byte level"], schema)
    cells = {"age": 39, "work": 0, "gain": None}
    assert codec.encode_text(cells, ["age", "work", "gain"]) == "age is 39, work is State-gov, gain is None"
    tokens = codec.row(cells, ["work", "age", "gain"])
    assert codec.pieces.read(tokens) == b"work is State-gov, age is 39, gain is None"
    assert codec.row(cells, ["age"])[-1] == codec.eos and codec.decode(codec.row(cells, ["age"])) == {"age": 39}


def test_digits_are_tokens_of_their_own_though_the_tokenizer_has_merged_ones(exact):
    codec = RowCodec(exact["byte level"], Schema((Column(name="age", kind="integer", high=90),)))
    assert [codec.pieces.bytes[token] for token in codec.value("age", 339)] == [b" 3", b"3", b"9"]
    codec = RowCodec(exact["llama"], Schema((Column(name="age", kind="integer", high=90),)))
    assert [codec.pieces.bytes[token] for token in codec.value("age", 339)] == [b" ", b"3", b"3", b"9"]


def test_what_a_tokenizer_adds_before_a_text_stands_before_a_row(exact):
    schema = Schema((Column(name="age", kind="integer", high=90),))
    assert RowCodec(exact["llama"], schema).row({"age": 1}, ["age"])[0] == exact["llama"].bos_token_id
    assert RowCodec(exact["byte level"], schema).opening == ()


def test_values_that_a_tokenizer_does_not_know_are_told_with_their_column(exact):
    from tests.tables.great.kinds import unigram

    codec = RowCodec(unigram(), Schema((Column(name="note", kind="text"), Column(name="n", kind="integer"))))
    assert codec.decode(codec.row({"note": "some text", "n": -7}, ["n", "note"])) == {"note": "some text", "n": -7}
    with pytest.raises(CodecError, match=r"column 'note': the tokenizer cannot write '\"a😀\"'"):
        codec.value("note", "a😀")
    with pytest.raises(CodecError, match="column 'é': the tokenizer cannot write its name"):
        RowCodec(unigram(), Schema((Column(name="é", kind="integer"),)))


def test_a_text_that_is_no_unicode_is_told(exact):
    codec = RowCodec(exact["byte level"], Schema((Column(name="note", kind="text"),)))
    with pytest.raises(CodecError, match="column 'note'"):
        codec.value("note", "\ud800")


def test_tokenizers_that_cannot_write_rows_are_refused(exact):
    from tests.tables.great.kinds import byte_level, wordpiece

    schema = Schema((Column(name="age", kind="integer"),))
    with pytest.raises(TokenizerError, match="kind WordPiece"):
        RowCodec(wordpiece(), schema)
    endless = byte_level()
    endless.eos_token = None
    with pytest.raises(TokenizerError, match="no token for the end"):
        RowCodec(endless, schema)


@pytest.mark.parametrize(
    ("sentence", "told"),
    [
        ("age is 39, ", "expected ', '"),
        ("age is 39,work is a", "expected ', '"),
        ("agee is 39", "expected a column's name"),
        ("age is x", "no whole number"),
        ("age is 039", "not as the column writes it"),
        ('age is "39"', "not as the column writes it"),
        ("age is 1, age is 1", "stands twice"),
        ('note is "a', "no closing quote"),
        ("work is b", "no category"),
    ],
)
def test_what_is_no_sentence_is_told(exact, sentence, told):
    columns = (
        Column(name="age", kind="integer"),
        Column(name="work", kind="category", categories=("a",)),
        Column(name="note", kind="text"),
    )
    with pytest.raises(SentenceError, match=told):
        RowCodec(exact["byte level"], Schema(columns)).decode_text(sentence)


def test_the_bound_of_a_schema_holds_for_its_rows(exact):
    from tests.tables.great.kinds import MIXED

    rng = random.Random(1)
    for tokenizer in exact.values():
        codec = RowCodec(tokenizer, MIXED)
        names = [column.name for column in MIXED.learned]
        bound = codec.longest(max_text_tokens=8)
        for _ in range(200):
            cells = {column.name: _any(column, rng) for column in MIXED.learned}
            rng.shuffle(names)
            assert len(codec.row(cells, names)) <= bound


def _any(column, rng):
    if column.nullable and rng.random() < 0.3:
        return None
    if column.kind == "text":
        return "abcdefgh"[: rng.randrange(9)]
    low, high = column.domain.intervals[0]
    return rng.choice([low, high, rng.randint(low, high)])
