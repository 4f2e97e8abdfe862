import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column, code_of_float
from factory.tables.domain import Domain, just
from factory.tables.great.automata import Automata
from factory.tables.great.codec import RowCodec
from factory.tables.great.dates import PatternError
from factory.tables.schema import Schema
from tests.tables.great.kinds import MIXED, days

KINDS = ["byte level", "byte level, single digits", "byte level, blank first", "llama"]


def paths(automaton):
    """All paths of a small automaton."""

    def go(node, tokens):
        if node.final:
            yield tokens
        for token in node.allowed.tolist():
            yield from go(node.next(token), (*tokens, token))

    return list(go(automaton.start, ()))


def walk(automaton, rng):
    """A random path."""
    node, tokens = automaton.start, []
    while not node.final or (len(node.allowed) and rng.random() < 0.8):
        assert len(node.allowed), "nothing may follow"
        forced, after = node.forced
        if forced and rng.random() < 0.5:
            tokens, node = tokens + list(forced), after
            continue
        tokens.append(int(rng.choice(node.allowed)))
        node = node.next(tokens[-1])
    return tuple(tokens)


def automaton(tokenizer, column, domain, **options):
    codec = RowCodec(tokenizer, Schema((column,)))
    return codec, Automata(codec, **options).of(column.name, domain)


@st.composite
def intervals(draw, least, greatest, size):
    found, low = [], draw(st.integers(least, greatest))
    for _ in range(draw(st.integers(1, 4))):
        high = low + draw(st.integers(0, size))
        found.append((low, high))
        low = high + draw(st.integers(2, size))
    return tuple(found)


def all_cells(domain):
    return [*domain.codes(), *([None] if domain.null else [])]


def exactly(tokenizer, column, domain):
    codec, made = automaton(tokenizer, column, domain)
    found = paths(made)
    assert sorted(found) == sorted(codec.value(column.name, cell) for cell in all_cells(domain))
    assert {codec.cell(column.name, path) for path in found} == set(all_cells(domain))


@settings(max_examples=60, deadline=None)
@given(intervals(-400, 400, 130), st.integers(0, 3), st.booleans(), st.sampled_from(KINDS))
def test_numbers_have_exactly_the_paths_of_their_range(exact, ranges, places, null, kind):
    column = Column(name="x", kind="decimal" if places else "integer", places=places, nullable=True)
    exactly(exact[kind], column, Domain(ranges, null))


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([0.0, 1.0, 1e-4, 1e16, 123.456, 5e-324, 1e-5, -1e-4, 2.5, -0.3, 2.2250738585072014e-308, 1e308]),
    intervals(-100, 20, 100),
    st.booleans(),
    st.sampled_from(KINDS),
)
def test_doubles_have_exactly_the_paths_of_their_range(exact, number, ranges, null, kind):
    around = code_of_float(number)
    ranges = tuple((around + low, around + high) for low, high in ranges)
    exactly(exact[kind], Column(name="x", kind="float", nullable=True), Domain(ranges, null))


WIDE = [(0.0, 14.5), (-2.5, 1e-3), (-1e308, 1e308), (0.5, 1.0), (1e-4, 1e16), (5e-324, 1e-300), (-1e17, -3.25)]


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(WIDE), st.data(), st.randoms(use_true_random=False))
def test_all_doubles_of_a_wide_range_have_a_path_and_all_paths_are_in_it(exact, ends, data, rng):
    domain = Domain((tuple(map(code_of_float, ends)),))
    codec, made = automaton(exact["llama"], Column(name="x", kind="float"), domain)
    for number in data.draw(st.lists(st.floats(*ends, allow_nan=False), max_size=20)):
        for each in {number, float(f"{number:.3g}")}:
            if ends[0] <= each <= ends[1]:
                node = made.start
                for token in codec.value("x", code_of_float(each)):
                    node = node.next(token)
                assert node.final
    for _ in range(10):
        assert domain.holds(codec.cell("x", walk(made, rng)))


FORMS = ["%Y-%m-%d", "%d.%m.%Y", "%d %b, %Y", "%d/%m/%y", '%B "%d" \\ %Y']
TIMES = ["%Y-%m-%dT%H:%M:%S", "%m/%d/%Y %I:%M %p", "%Y-%m-%d %H:%M:%S.%f", "%f %S %M %H %d %m %Y"]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(FORMS + TIMES),
    st.sampled_from(["1999-12-30", "2000-02-25", "2023-02-20", "2024-06-01"]),
    intervals(-90, 90, 150),
    st.sampled_from([0, 0, 43_200]),
    st.sampled_from(KINDS),
)
def test_dates_have_exactly_the_paths_of_their_range(exact, form, day, ranges, seconds, kind):
    column = Column(name="x", kind="date", form=form, nullable=True)
    around = _code(day, seconds, form)
    exactly(exact[kind], column, Domain(tuple((around + low, around + high) for low, high in ranges), True))


def _code(day, seconds, form):
    from factory.tables.column import step_us

    return (days(day) * 86_400 + seconds) * 10**6 // step_us(form)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=5), min_size=1, max_size=12, unique=True),
    st.data(),
    st.sampled_from(KINDS),
)
def test_categories_have_exactly_their_paths(exact, labels, data, kind):
    column = Column(name="x", kind="category", categories=tuple(labels), nullable=True)
    last = data.draw(st.integers(0, len(labels) - 1))
    exactly(exact[kind], column, Domain(((data.draw(st.integers(0, last)), last),), data.draw(st.booleans())))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 9), st.booleans(), st.randoms(use_true_random=False), st.sampled_from(KINDS))
def test_free_text_is_unicode_and_ends_in_time(exact, longest, null, rng, kind):
    column = Column(name="x", kind="text", nullable=True)
    codec, made = automaton(exact[kind], column, Domain(null=null, text=True), max_text_tokens=longest)
    for _ in range(20):
        path = walk(made, rng)
        cell = codec.cell("x", path)
        assert column.domain.holds(cell)
        assert len(path) <= max(longest + len(codec.open_quote) + 1, len(codec.value("x", None)))
        if cell is not None:
            assert codec.cell("x", codec.value("x", cell)) == cell


def test_all_texts_have_a_path(exact):
    column = Column(name="x", kind="text")
    for tokenizer in exact.values():
        codec, made = automaton(tokenizer, column, column.domain, max_text_tokens=400)
        for text in ["", "plain", "é😀日本語", 'a "quote"', "\\q\\", "line\nline", "None"]:
            node = made.start
            for token in codec.value("x", text):
                node = node.next(token)
            assert node.final and not len(node.allowed)


def test_texts_that_are_named_are_the_only_ones(exact):
    column = Column(name="x", kind="text", nullable=True)
    codec, made = automaton(exact["llama"], column, Domain(null=True, texts=("a", "a b", 'c"')))
    assert {codec.cell("x", path) for path in paths(made)} == {None, "a", "a b", 'c"'}


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(MIXED.learned), st.randoms(use_true_random=False), st.sampled_from(KINDS))
def test_random_walks_end_in_the_domain_of_their_column(exact, column, rng, kind):
    codec, made = automaton(exact[kind], column, column.domain)
    for _ in range(20):
        assert column.domain.holds(codec.cell(column.name, walk(made, rng)))


def test_what_must_follow_is_given_at_once(exact):
    column = Column(name="x", kind="integer", high=99)
    codec, made = automaton(exact["llama"], column, Domain(((41, 41),)))
    tokens, node = made.start.forced
    assert tokens == codec.value("x", 41) and node.final
    _, made = automaton(exact["llama"], column, Domain(((400, 499),)))
    tokens, node = made.start.forced
    assert [codec.pieces.bytes[token] for token in tokens] == [b" ", b"4"] and len(node.allowed) == 10
    with pytest.raises(KeyError):
        node.next(codec.comma)
    assert codec.eos not in node.choices(codec.eos)
    end = node.next(int(node.allowed[0])).next(int(node.allowed[0]))
    assert end.choices(codec.eos).tolist() == [codec.eos]


def test_large_domains_take_few_states_and_little_time(exact):
    column = Column(name="fnlwgt", kind="integer", low=12_285, high=1_484_705)
    codec, made = automaton(exact["llama"], column, column.domain)
    seen, ahead = set(), [made.start]
    while ahead:
        node = ahead.pop()
        if node not in seen:
            seen.add(node)
            ahead += [node.next(token) for token in node.allowed.tolist()]
    assert len(seen) < 60
    labels = tuple(f"Category {number} of many" for number in range(10_000))
    column = Column(name="x", kind="category", categories=labels)
    codec = RowCodec(exact["llama"], Schema((column,)))
    for code in range(10_000):
        codec.value("x", code)
    started = time.perf_counter()
    made = Automata(codec).of("x", column.domain)
    for code in range(0, 10_000, 10):
        node = made.start
        for token in codec.value("x", code):
            node = node.next(token)
    assert time.perf_counter() - started < 1.5


def test_each_domain_has_one_automaton(exact):
    codec = RowCodec(exact["llama"], MIXED)
    automata = Automata(codec)
    assert automata.of("age", just(3)) is automata.of("age", Domain(((3, 3),)))
    assert automata.of("age", just(3)) is not automata.of("age", just(4))


def test_patterns_that_are_not_known_are_told(exact):
    column = Column(name="x", kind="date", form="%Y-W%W")
    with pytest.raises(PatternError, match="%W is not known here"):
        automaton(exact["llama"], column, Domain(((0, 9),)))
