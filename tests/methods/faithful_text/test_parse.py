"""What is read from an answer: every form in which models list texts, and nothing that is no text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.methods.faithful_text.parse import Item, clean_way, normal, parse_texts

PLAIN = st.text(alphabet=st.sampled_from("abcdeXYZ ,!?:é🙂'5"), min_size=3, max_size=60).map(
    lambda text: "q" + " ".join(text.split()) + "x"
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(PLAIN, min_size=2, max_size=12),
    st.sampled_from(["{n}. {t}", "{n}) {t}", "**{n}.** {t}", '{n}. "{t}"', "- {t}", "• “{t}”", "{t}"]),
    st.sampled_from(
        ["", "Sure!\n", "Sure, here are some texts:\n\n", "Certainly! Below are ten posts of this kind:\n"]
    ),
)
def test_a_list_comes_back_whole_in_any_typography(texts: list[str], form: str, lead: str) -> None:
    answer = lead + "\n".join(form.format(n=n, t=text) for n, text in enumerate(texts, 1))
    items = parse_texts(answer, asked=len(texts))
    assert [item.text for item in items if item.problem is None] == texts
    assert [item.problem for item in items if item.problem] == (["preamble"] if lead else [])


@settings(deadline=None, max_examples=200)
@given(st.text(max_size=200), st.integers(1, 12), st.booleans(), st.booleans())
def test_any_answer_gives_items_on_one_line_each(answer: str, asked: int, cut: bool, opened: bool) -> None:
    items = parse_texts(answer, asked=asked, cut=cut, opened=opened)
    assert items
    for item in items:
        assert item.text == " ".join(item.text.split())
        assert item.text or item.problem == "empty_answer"
    assert not cut or items[-1].problem in ("cut_off", "empty_answer")


@pytest.mark.parametrize(
    ("answer", "asked", "texts"),
    [
        ("1. Oh great: rain again\n2. It's 12:30: late", 2, ["Oh great: rain again", "It's 12:30: late"]),
        ("1. Sure, I love Mondays\n2. Here's the thing: no", 2, ["Sure, I love Mondays", "Here's the thing: no"]),
        ("1. one line\nand its end\n2. two", 2, ["one line and its end", "two"]),
        ("1. Post 1: one\n2. plain: two", 2, ["one", "two"]),
        ('1. "one," he said, "two"\n2. b', 2, ['"one," he said, "two"', "b"]),
        ('Sure! Here is a rewritten version: "It rains."', 1, ["It rains."]),
        ("Here's the text:\n\nIt rains.\nStill.", 1, ["It rains. Still."]),
        ("It rains.\n\nLet me know if you want more!", 1, ["It rains."]),
        ("1. It rains.", 1, ["It rains."]),
        ("5 euros for a coffee", 1, ["5 euros for a coffee"]),
        ("first\nsecond", 2, ["first", "second"]),
        ("1. one\n2. two\n\nLet me know if you like them.", 2, ["one", "two"]),
        ("Sure!", 1, ["Sure!"]),
    ],
)
def test_texts_of_an_answer(answer: str, asked: int, texts: list[str]) -> None:
    items = parse_texts(answer, asked=asked, names=["plain", "boast"])
    assert [item.text for item in items if item.problem is None] == texts


def test_what_is_no_text_says_why() -> None:
    assert parse_texts("  \n", asked=3) == [Item("", "empty_answer")]
    assert parse_texts("I cannot think of any.", asked=3) == [Item("I cannot think of any.", "no_list")]
    assert parse_texts("1. one\n2. tw", asked=2, cut=True) == [Item("one"), Item("tw", "cut_off")]
    assert parse_texts("1. one\n2. two\n\nEnjoy", asked=2)[-1] == Item("Enjoy", "remark")
    assert parse_texts(" one\n2. two", asked=2, opened=True) == [Item("one"), Item("two")]


def test_texts_are_compared_by_their_words() -> None:
    assert normal("Oh, GREAT!") == normal("“oh great”")
    assert normal("🙂") != normal("🙁")
    assert clean_way("**Irony**: says the opposite.") == "Irony: says the opposite"
