import re
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.tables.column import Column
from factory.tables.identifiers import IdentifierError, fresh

TEXT = Column(name="id", kind="identifier")
NUMBER = Column(name="id", kind="identifier", numeric=True)


@settings(max_examples=200)
@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, unique=True), st.integers(0, 20), st.integers(0, 9))
def test_identifiers_are_new_and_differ(known, count, seed):
    try:
        found = fresh(TEXT, [*known, None], count, seed)
    except IdentifierError as error:
        assert f"no room for {count} new identifiers" in str(error)
        return
    assert len(found) == len(set(found)) == count
    assert not set(found) & set(known)
    assert {len(text) for text in found} <= {len(text) for text in known}
    assert fresh(TEXT, [*known, None], count, seed) == found


@given(st.lists(st.integers(-(10**20), 10**20), min_size=1, unique=True), st.integers(0, 20))
def test_numbers_are_new_and_differ(known, count):
    try:
        found = fresh(NUMBER, [str(number) for number in known], count, 1)
    except IdentifierError:
        assert sum(9 * 10 ** (length - 1) for length in {len(str(abs(n))) for n in known}) < count + len(known)
        return
    assert len(set(found) - set(known)) == len(found) == count
    assert all(type(number) is int for number in found)


def test_counting_goes_on():
    assert fresh(NUMBER, ["1", "2", "3", None], 3, 1) == [4, 5, 6]
    assert fresh(TEXT, [], 2, 1) == ["1", "2"]


def test_numbers_keep_their_digits():
    known = [str(15_600_000 + 7919 * i) for i in range(50)]
    assert all(10**7 <= number < 10**8 for number in fresh(NUMBER, known, 100, 1))


def test_patterns():
    found = fresh(TEXT, [f"C-{i * 7:05d}" for i in range(60)], 100, 1)
    assert all(re.fullmatch(r"C-00[0-9]{3}", text) for text in found)
    found = fresh(TEXT, ["AB12-x", "CD99-x"], 50, 1)
    assert all(re.fullmatch(r"[A-Z]{2}[0-9]{2}-x", text) for text in found)
    found = fresh(TEXT, [uuid.uuid5(uuid.NAMESPACE_DNS, str(i)).hex[:10] for i in range(30)], 50, 1)
    assert all(re.fullmatch(r"[0-9a-f]{10}", text) for text in found)
    found = fresh(TEXT, ["C-00477"], 2, 1)
    assert all(re.fullmatch(r"C-[0-9]{5}", text) for text in found)


def test_numbers_without_zeros_in_front_stay_so():
    known = [f"T{1000 + 37 * i}" for i in range(100)]
    assert all(re.fullmatch(r"T[1-9][0-9]{3}", text) for text in fresh(TEXT, known, 200, 1))


def test_a_constant_part_gives_way_where_there_is_no_room():
    known = [f"C-0000{i}" for i in range(10)]
    found = fresh(TEXT, known, 50, 1)
    assert len(set(found) - set(known)) == 50
    assert all(re.fullmatch(r"C-[0-9]{5}", text) for text in found)


def test_uuids_are_valid():
    known = [str(uuid.uuid5(uuid.NAMESPACE_DNS, str(i))) for i in range(5)]
    for text in fresh(TEXT, known, 50, 1):
        assert str(uuid.UUID(text)) == text
        assert uuid.UUID(text).version == 4
    assert all(text == text.upper() for text in fresh(TEXT, [text.upper() for text in known], 5, 1))


def test_all_of_a_small_room_is_found():
    assert len(fresh(TEXT, ["#1", "#2"], 8, 1)) == 8
    with pytest.raises(IdentifierError, match="column 'id': no room for 9 new identifiers like '#1'"):
        fresh(TEXT, ["#1", "#2"], 9, 1)


def test_seeds_decide():
    known = [f"{i:08d}" for i in range(0, 10**8, 10**6)]
    assert fresh(TEXT, known, 5, 1) != fresh(TEXT, known, 5, 2)


def test_negative_numbers_stay_negative():
    assert fresh(NUMBER, [str(-n) for n in range(1, 40)], 3, 1) == [-40, -41, -42]
    assert fresh(NUMBER, ["-2", "-1", "0", "1"], 2, 1) == [2, 3]
    found = fresh(NUMBER, [str(-(10_000 + 7919 * n)) for n in range(10)], 50, 1)
    assert all(-(10**6) < number <= -(10**4) for number in found)


FORENAMES = [
    "Anna",
    "Bob",
    "Cecilia",
    "Dmitri",
    "Eva",
    "Fatima",
    "Gus",
    "Hannah",
    "Ian",
    "Josephine",
    "Kwame",
    "Lu",
    "Magdalena",
    "Noor",
    "Ole",
]
SURNAMES = [
    "Smith",
    "Okafor",
    "Li",
    "Brandt",
    "Rossi",
    "Haddad",
    "Ng",
    "Kowalski",
    "Dubois",
    "Lind",
    "Osei",
    "Wu",
    "Ruiz",
    "Aziz",
    "Berg",
]


@pytest.mark.parametrize(
    ("known", "form"),
    [
        ([f"{a.lower()}.{b.lower()}@mail.com" for a, b in zip(FORENAMES, SURNAMES, strict=True)], r"[a-z.]+@mail\.com"),
        ([f"{a.lower()}@{a.lower()}{b.lower()}.net" for a, b in zip(FORENAMES, SURNAMES, strict=True)],
         r"[a-z]+@example\.org"),
        ([f"user{n}@x.org" for n in range(15)], r"user[0-9]{1,2}@x\.org"),
        ([f"+1 555 {100 + 7 * n} {2000 + 31 * n}" for n in range(15)], r"\+1 555 [0-9]{3} [0-9]{4}"),
        ([f"{100 + n}-{10 + n}-{1000 + 37 * n}" for n in range(15)], r"[0-9]{3}-[0-9]{2}-[0-9]{4}"),
        ([f"é{n}" for n in range(50)], r"é[0-9]{1,2}"),
        ([f"{a} {b}" for a, b in zip(FORENAMES, SURNAMES, strict=True)], r"[A-Z][a-z]* [A-Z][a-z]*"),
        (["anna", "bob"], r"[a-z]{3,4}"),
        (["Анна", "Борис", "Вера", "Галина", "Дмитрий", "Елена", "Жанна", "Зоя", "Иван", "Катя", "Лев", "Мария"], r"[А-Я][а-я]+"),
    ],
)  # fmt: skip
def test_what_tells_people_apart_is_made_up(known, form):
    found = fresh(TEXT, known, 30, 1)
    assert len(set(found) - set(known)) == 30
    assert all(re.fullmatch(form, text) for text in found), found
    words = {word for text in known for word in re.findall(r"\w{4,}", text) if word.lower() not in ("mail", "user")}
    letters = {word for word in words if word.isalpha()}
    assert not letters & {word for text in found for word in re.findall(r"\w{4,}", text)}
