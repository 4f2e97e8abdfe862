"""Tokens for novelty: `rouge` equals rouge_score, `unicode` leaves no script out, `auto` picks per text."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factory.novelty.tokenizers import tokenize

KINDS = ("auto", "rouge", "unicode")
MIXED = Path(__file__).parents[2].parent / "shared" / "data" / "instructions" / "mixed_5000.jsonl"

ADVERSARIAL = [
    "",
    " \t\n\u00a0\u3000",
    "K (Kelvin) İstanbul ſs ﬁne ß ẞ",
    "x² + y₃ = ½, ١٢٣, Ⅷ, ①",
    "snake_case __init__ a__b",
    "don't o\u2019clock e-mail co\u00adoperate",
    "canción naïve Zoë Đà Nẵng",
    "\ud800 lone \udfff surrogates\udc00x",
    "写一首诗 Python GPIO扩展",
    "👩\u200d💻 1\ufe0f\u20e3 ❤\ufe0f",
    "tab\x00null\x1fcontrol\x85next\u2028line",
    "a" * 5000 + " " + "b " * 5000,
]
any_text = st.text(
    st.one_of(st.sampled_from(" -_'’aZk09éKİß²١写あ한กй\u0301\u200d\ud800"), st.characters()), max_size=60
)
latin_text = st.text(st.characters(max_codepoint=0x24F), max_size=60)


@pytest.fixture(scope="module")
def reference():
    """rouge_score's default tokenizer, without a stemmer."""
    module = pytest.importorskip("rouge_score.tokenizers", reason="needs the package rouge_score (extra `rouge`)")
    return module.DefaultTokenizer(use_stemmer=False).tokenize


@pytest.mark.parametrize("text", ADVERSARIAL, ids=range(len(ADVERSARIAL)))
def test_rouge_equals_rouge_score_on_adversarial_texts(reference, text):
    assert tokenize(text, "rouge") == reference(text)


@given(any_text)
def test_rouge_equals_rouge_score_on_any_text(reference, text):
    assert tokenize(text, "rouge") == reference(text)


def test_rouge_and_auto_equal_rouge_score_on_real_instructions(reference):
    if not MIXED.exists():
        pytest.skip(f"needs {MIXED.name} in ../shared")
    texts = [json.loads(line)["instruction"] for line in MIXED.read_text(encoding="utf-8").splitlines()]
    assert [tokenize(text, "rouge") for text in texts] == [reference(text) for text in texts]
    otherwise = [text for text in texts if tokenize(text, "auto") != reference(text)]
    assert otherwise == ["Translate from Chinese to English.\n他坚持不懈。"]


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_gives_the_same_tokens_whatever_the_kind(text):
    assert tokenize(text, "unicode") == tokenize(text, "auto") == tokenize(text, "rouge")


@given(latin_text)
def test_auto_is_rouge_for_latin_script(text):
    assert tokenize(text, "auto") == tokenize(text, "rouge")


@pytest.mark.parametrize(
    "text",
    [
        "La canción “más” bonita… – 5 µm, 20 °C, 1ª ½ €",  # letters of no script, or Latin under another name
        "ﬁne Ｗｉｄｅ ʻokina K Å ℓ 𝐛𝐨𝐥𝐝",
        "🙂 ١٢ ∑ ≠",  # no letters at all
        "é \ud800 lone",
    ],
)
def test_auto_is_rouge_without_a_letter_of_another_script(text):
    assert tokenize(text, "auto") == tokenize(text, "rouge") != tokenize(text, "unicode")


@pytest.mark.parametrize(
    "text", ["π is 3.14159", "Напиши стих", "اكتب قصيدة", "कविता लिखो", "写一首诗", "ひらがな", "시를 써줘"]
)
def test_auto_is_unicode_with_a_letter_of_another_script(text):
    assert tokenize(text, "auto") == tokenize(text, "unicode") != tokenize(text, "rouge")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("用Python写代码", ["用", "python", "写", "代", "码"]),
        ("人々は〇", ["人", "々", "は", "〇"]),
        ("スーパーのﾊﾟﾝ・パン", ["ス", "ー", "パ", "ー", "の", "パ", "ン", "パ", "ン"]),
        ("서울의 날씨", ["서", "울", "의", "날", "씨"]),
        ("เขียน", ["เ", "ข", "ี", "ย", "น"]),
        ("ຂຽນ ខ្មែរ", ["ຂ", "ຽ", "ນ", "ខ", "្", "ម", "ែ", "រ"]),
        ("မြန်မာ", ["မ", "ြ", "န", "်", "မ", "ာ"]),
        ("Напиши СТИХ, ёж!", ["напиши", "стих", "ёж"]),
        ("اكتب قصيدةً عن ١٢ بحرًا", ["اكتب", "قصيدةً", "عن", "١٢", "بحرًا"]),
        ("कविता लिखो।", ["कविता", "लिखो"]),
        ("བོད་སྐད", ["བོད", "སྐད"]),
        ("می\u200cخواهم", ["میخواهم"]),
        ("Straße ΣΊΣΥΦΟΣ ǅ", ["strasse", "σίσυφοσ", "dž"]),
        ("x² ½ № ﬁ Ｗ", ["x2", "1", "2", "no", "fi", "w"]),
        ("snake_case é", ["snake", "case", "é"]),
        ("co\u00adoperate\u200bnow ❤\ufe0f 葛\U000e0100 é", ["cooperate", "now", "葛", "é"]),
        ("1\ufe0f\u20e3 é", ["1", "é"]),
        ("🙂 \ud800 \ue000 ∑", []),
    ],
)
def test_unicode_tokens_of_many_scripts(text, tokens):
    assert tokenize(text, "unicode") == tokens


@given(any_text)
def test_unicode_does_not_see_how_characters_are_composed(text):
    assert tokenize(unicodedata.normalize("NFD", text), "unicode") == tokenize(
        unicodedata.normalize("NFC", text), "unicode"
    )


@pytest.mark.parametrize("text", ["Ώ ΐ ΰ", "straße", "ǰ ŉ", "привет", "ﬃ", "ɐ é"])
def test_unicode_does_not_see_case(text):
    assert tokenize(text.upper(), "unicode") == tokenize(text, "unicode")


@given(any_text, st.sampled_from(KINDS))
def test_tokens_hold_no_space_and_any_string_is_taken(text, kind):
    tokens = tokenize(text, kind)
    assert all(tokens) and all(not any(char.isspace() for char in token) for token in tokens)


@given(st.text(st.characters(categories=["L", "N"]), min_size=1))
def test_unicode_never_turns_letters_or_digits_into_nothing(text):
    assert tokenize(text, "unicode")
