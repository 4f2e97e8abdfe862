import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.recipe.suggest import did_you_mean

OPTIONS = [
    "accept",
    "max_tokens",
    "min_p",
    "model",
    "name",
    "rouge_l",
    "seed",
    "steps",
    "temperature",
    "top_k",
    "top_p",
]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("acecpt", "accept"),
        ("nmae", "name"),
        ("sede", "seed"),
        ("max-tokens", "max_tokens"),
        ("maxTokens", "max_tokens"),
        ("MAX_TOKEN", "max_tokens"),
        ("temprature", "temperature"),
        ("step", "steps"),
        ("top p", "top_p"),
        ("t-o-p-k", "top_k"),
        ("rouge-L", "rouge_l"),
        ("modell", "model"),
        ("Seed", "seed"),
    ],
)
def test_a_misspelt_word_finds_its_neighbour(word: str, expected: str) -> None:
    assert did_you_mean(word, OPTIONS) == f" (did you mean '{expected}'?)"


@pytest.mark.parametrize("word", ["", "_", "banana", "x", "seed", "accelerate", "colour", "s" * 100_000])
def test_no_hint_is_better_than_a_wild_one(word: str) -> None:
    assert did_you_mean(word, OPTIONS) == ""


def test_swapped_letters_count_in_short_words_too() -> None:
    assert did_you_mean("ot", ["to", "at"]) == " (did you mean 'to'?)"


def test_the_hint_does_not_depend_on_the_order_of_the_known_words() -> None:
    assert did_you_mean("top_x", ["top_p", "top_k"]) == did_you_mean("top_x", iter(["top_k", "top_p"])) != ""
    assert did_you_mean("a", []) == ""


def test_a_very_long_word_is_not_compared() -> None:
    assert did_you_mean("s" * 100, ["s" * 101]) == ""


@settings(deadline=None)
@given(st.sampled_from(OPTIONS).filter(lambda word: len(word) > 3), st.data())
def test_any_swap_of_two_neighbours_is_found(word: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(word) - 2))
    swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    if swapped not in OPTIONS:
        assert did_you_mean(swapped, OPTIONS) != ""
