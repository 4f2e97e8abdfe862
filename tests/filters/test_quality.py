"""Rules of quality: each with its own reason, each switched off by itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.errors import OptionError
from factory.filters import quality
from factory.filters.quality import Options
from factory.recipe.validate import validate
from factory.records import Verdict

from .sifting import holds_for_batches, kept, rows, sizes, verdicts

ALPACA = Path(__file__).parents[2].parent / "shared" / "data" / "instructions" / "alpaca_52k.jsonl"
PROSE = " ".join(f"word{number}" for number in range(200))


def judged(text: Any, **options: Any) -> Verdict | None:
    return verdicts(quality, [{"output": text}], **options)[0]


# A text that breaks one rule with its default limit, its reason, the rule, and what is shown.
BROKEN = [
    ("a" * 100_001, "too_long", "length", "100,001 characters"),
    ("Here it is. " + "I hope this helps you. " * 6, "looped_ending", "repetition", "i hope this helps you"),
    ("one two three\nfour five six\n" * 3 + "end", "duplicate_lines", "repetition", "3 times: one two three"),
    (
        "the cat sat " * 30 + PROSE[:200] + " the dog stood up and left",
        "repeated_ngram",
        "repetition",
        "30 times: the cat",
    ),
    ("#" * 30 + "=" * 30 + "ab", "symbols", "symbols", "#" * 30 + "=" * 30 + "ab"),
    ("1234567890 " * 6, "few_letters", "symbols", ("1234567890 " * 6).strip()),
    ("I'm sorry, but I can't help with that.", "refusal", "refusals", "I'm sorry, but I can't help with that"),
    ("Paris.<|im_end|>", "leaked_words", "leaks", "<|im_end|>"),
]


@pytest.mark.parametrize(("text", "reason", "rule", "evidence"), BROKEN, ids=[reason for _, reason, _, _ in BROKEN])
def test_each_rule_has_its_reason_and_can_be_switched_off(text: str, reason: str, rule: str, evidence: str) -> None:
    found = judged(text)
    assert found is not None
    assert (found.rule, found.reason, found.evidence) == ("quality", reason, evidence)
    for off in ("off", False, {"on": False}):
        assert judged(text, **{rule: off}) is None
    others = {name for _, _, name, _ in BROKEN} - {rule}
    assert judged(text, **dict.fromkeys(others, "off")) == found


def test_limits_can_be_set_and_exactly_the_limit_is_kept() -> None:
    assert judged("one two three", length={"min_words": 3, "max_words": 3, "min_chars": 13, "max_chars": 13}) is None
    for limit, reason in (("min_words", "too_short"), ("min_chars", "too_short")):
        found = judged("one two three", length={limit: 14})
        assert found is not None
        assert (found.reason, found.threshold) == (reason, 14)
    found = judged("one two three", length={"max_words": 2})
    assert found is not None
    assert (found.reason, found.score, found.threshold, found.evidence) == ("too_long", 3, 2, "3 words")
    lines = "one two three\none two three\nx y z\np q r\ns t u"
    assert judged(lines, repetition={"duplicate_lines": 0.2}) is None
    assert judged(lines, repetition={"duplicate_lines": 0.19}) is not None
    assert judged(lines, repetition={"duplicate_lines": 0.1, "min_lines": 6}) is None
    assert judged(BROKEN[1][0], repetition={"loop_repeats": 7}) is None
    assert judged(BROKEN[1][0], repetition={"loop_repeats": None}) is None
    assert judged("ab + cd = ef", symbols={"min_chars": 5, "max_symbols": 0.25, "min_letters": 0.75}) is None
    assert judged("ab + cd = ef", symbols={"min_chars": 5, "max_symbols": 0.24}) is not None
    assert judged("ab + cd = ef", symbols={"min_chars": 5, "min_letters": 0.76}) is not None


def test_rows_without_text_are_kept_unless_length_asks_for_some() -> None:
    given_rows = [{"output": None}, {}, {"output": "  "}, {"output": 7}, {"output": "ok"}]
    assert kept(quality, given_rows) == [0, 1, 2, 3, 4]
    assert kept(quality, given_rows, length={"min_chars": 1}) == [3, 4]


def test_scripts_are_judged_where_some_are_named() -> None:
    allowed = {"allowed": ["Latin"]}
    russian = judged("Назовите три реки в Европе, please", script=allowed)
    assert russian is not None
    assert (russian.reason, russian.evidence, russian.threshold) == ("script", "mostly Cyrillic", 0.5)
    assert judged("Translate to English: Назови три", script=allowed) is None
    assert judged("Река", script=allowed) is None
    assert judged("3.14159 = 2 + 1.14159", script=allowed) is None
    assert judged("Назовите три реки в Европе") is None
    assert judged("東京タワーへ行くには電車が", script={"allowed": ["Han", "Hiragana", "Katakana"]}) is None


def test_languages_are_judged_where_some_are_named() -> None:
    pytest.importorskip("py3langid")
    german = "Nenne drei große Flüsse in Europa und beschreibe sie."
    found = judged(german, language={"allowed": ["en", "fr"]})
    assert found is not None
    assert (found.reason, found.evidence, found.threshold) == ("language", "de", 0.8)
    assert judged(german, language={"allowed": ["en", "de"]}) is None
    assert judged(german, language={"allowed": ["en"], "min_chars": 200}) is None
    assert judged(german, language={"allowed": ["en"], "min_confidence": 1.0}) is None
    assert judged(german, language={"allowed": ["en"], "on": False}) is None
    assert judged("def f(x):\n    return x + 1", language={"allowed": ["en"]}) is None


def test_a_language_that_nobody_knows_and_a_package_that_is_not_there_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("py3langid")
    assert quality.check(Options(), Path()) == []
    assert quality.check(Options(language={"allowed": ["en", "de"]}), Path()) == []
    problem = quality.check(Options(language={"allowed": ["en", "deu"]}), Path())[0]
    assert isinstance(problem, OptionError)
    assert problem.option == "language.allowed"
    assert "no language 'deu' (did you mean 'de'?)" in str(problem)
    monkeypatch.setattr("importlib.util.find_spec", lambda name, package=None: None)
    assert quality.check(Options(), Path()) == []
    assert "pip install" in str(quality.check(Options(language={"allowed": ["en"]}), Path())[0])


def test_phrases_of_ones_own_are_found() -> None:
    assert judged("NO CAN DO, friend", refusals={"phrases": ["no can do"]}) is not None
    assert judged("x" * 300 + " no can do", refusals={"phrases": ["no can do"]}) is None
    found = judged("x" * 300 + " #Evolved Text", leaks={"phrases": ["#evolved text"]})
    assert found is not None
    assert (found.reason, found.evidence) == ("leaked_words", "#evolved text")
    assert judged("User: hi\nAssistant: hello", leaks={"roles": False}) is None


def test_a_wrong_name_is_put_right() -> None:
    def said(data: dict[str, Any]) -> list[str]:
        found: list[str] = []
        validate(
            Options, data, (), lambda path, sentence, about: found.append(f"{'.'.join(map(str, path))}: {sentence}")
        )
        return found

    assert said({"refusal": "off"}) == ["refusal: unknown key (did you mean 'refusals'?)"]
    assert said({"length": {"min_char": 1}}) == ["length.min_char: unknown key (did you mean 'min_chars'?)"]
    assert said({"length": "of"}) == ["length: expected a mapping (key: value), found 'of'"]
    assert "did you mean 'Latin'" in said({"script": {"allowed": ["latin"]}})[0]
    assert said({"length": "off", "leaks": False, "refusals": True, "symbols": {"min_chars": 3}}) == []


@given(rows("output"), sizes, st.integers(0, 25))
def test_batches_and_a_resumed_run_change_no_verdict(
    given_rows: list[dict[str, Any]], parts: list[int], at: int
) -> None:
    options = Options(length={"min_words": 2, "max_chars": 30}, script={"allowed": ["Latin"], "min_letters": 1})
    holds_for_batches(lambda: quality.sift(options, Path()), given_rows, parts, at)


def test_a_column_that_is_not_there_is_named() -> None:
    with pytest.raises(OptionError, match="did you mean 'output'"):
        quality.columns(Options(field="outptu"), Path(), {"output"})


@pytest.mark.skipif(not ALPACA.exists(), reason="the shared data are not beside the checkout")
def test_real_instructions_are_kept() -> None:
    """Alpaca's instructions were written by a large model and filtered: what is rejected here is a false alarm."""
    instructions = [json.loads(line) for line in ALPACA.read_text().splitlines()][:10_000]
    found = quality.sift(Options(field="instruction", script={"allowed": ["Latin"]}), Path()).judge(instructions)
    assert [verdict for verdict in found if verdict] == []
