import json
import math
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factory.errors import Problem, RecipeError, UserError
from factory.recipe.strict_yaml import SECRET_MESSAGE, Document, dotted, load, scalar
from factory.recipe.yaml_events import MAX_DEPTH

HF_KEY = "hf_" + "aB3dE6gH9j" * 3
SK_KEY = "sk-proj-" + "aB3_E6-H9j" * 3


def read(text: str) -> Document:
    document, problems = load(text, "r.yaml")
    assert problems == []
    assert document.complete
    return document


def problems_of(text: str) -> list[Problem]:
    return load(text, "r.yaml")[1]


def only(text: str) -> Problem:
    problems = problems_of(text)
    assert len(problems) == 1, [str(problem) for problem in problems]
    return problems[0]


def places(text: str) -> list[tuple[int, int]]:
    return [(problem.line, problem.column) for problem in problems_of(text)]


# --- scalars -------------------------------------------------------------------------------------

SCALARS = [
    *[(text, None) for text in ("", "~", "null", "Null", "NULL")],
    *[(text, True) for text in ("true", "True", "TRUE")],
    *[(text, False) for text in ("false", "False", "FALSE")],
    *[(t, t) for t in ["yes", "Yes", "NO", "no", "on", "Off", "y", "n", "tRUE", "nULL", "none", "None"]],
    *[("0", 0), ("12", 12), ("012", 12), ("-7", -7), ("+7", 7), ("0o14", 12), ("0x1F", 31), ("0xff", 255)],
    *[(t, t) for t in ["0b11", "-0x1F", "0o8", "0x", "0o", "1_000", "12e", "1,5", "١٢", "0xG"]],
    *[("3e-4", 3e-4), ("1E5", 1e5), (".5", 0.5), ("1.", 1.0), ("-1.5e+3", -1500.0), ("+.5", 0.5), ("6.02e23", 6.02e23)],
    *[(".inf", math.inf), ("-.INF", -math.inf), ("+.Inf", math.inf)],
    *[(t, t) for t in [".", ".e3", "e3", "inf", "nan", "NaN", "Infinity", "-.nan", "1.2.3", "1e", ".iNF", "1e5.0"]],
    *[(t, t) for t in ("2026-01-01", "2026-01-01T10:00:00Z", "12:30:45", "1:30", "=", "0.1.0", "a<<b")],
    *[("'12'", "12"), ('"true"', "true"), ("''", ""), ('"~"', "~"), ('"3e-4"', "3e-4")],
]


@pytest.mark.parametrize(("text", "expected"), SCALARS, ids=[text or "empty" for text, _ in SCALARS])
def test_a_scalar_follows_the_core_schema_of_yaml_1_2(text: str, expected: object) -> None:
    found = [scalar(text), read(f"a: {text}\n").data["a"], read(f"a: {text}  # x\nb: 1\n").data["a"]]
    if "," not in text:
        found.append(read(f"{{a: {text} }}").data["a"])
    assert [(type(value), value) for value in found] == [(type(expected), expected)] * len(found)


def test_not_a_number_is_a_float() -> None:
    assert all(isinstance(scalar(text), float) and math.isnan(scalar(text)) for text in (".nan", ".NaN", ".NAN"))


def test_a_block_scalar_is_always_text() -> None:
    assert read("a: |\n  12\nb: >-\n  true\n  x\n").data == {"a": "12\n", "b": "true x"}


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 5000, "0x" + "f" * 5000])
def test_a_number_that_python_cannot_hold_is_refused(number: str) -> None:
    problem = only(f"a:\n  b: {number}\n")
    assert (problem.line, problem.column, problem.path) == (2, 6, "a.b")
    assert "too l" in problem.message and len(problem.message) < 120


# --- data ----------------------------------------------------------------------------------------

json_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | json_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(json_text, inner, max_size=4),
    max_leaves=15,
)
json_mapping = st.dictionaries(json_text, json_data, max_size=5)


def same(left: object, right: object) -> bool:
    return json.dumps(left) == json.dumps(right)  # Unlike ==, tells True from 1 and 1 from 1.0.


@settings(deadline=None)
@given(json_mapping, st.sampled_from([None, 2, "\t"]))
def test_json_is_read_as_json_reads_it(data: dict[str, object], indent: int | str | None) -> None:
    assert same(read(json.dumps(data, indent=indent)).data, data)


@settings(deadline=None)
@given(json_mapping)
def test_raw_unicode_is_read_as_it_stands(data: dict[str, object]) -> None:
    text = json.dumps(data, ensure_ascii=False)
    if re.search(r"[\x7f-\x84\x86-\x9f\ufffe\uffff]", text):
        assert not load(text, "r.yaml")[0].complete
    else:
        assert same(read(text).data, data)


@settings(deadline=None)
@given(json_data)
def test_a_set_value_may_be_any_json(data: object) -> None:
    assert same(scalar(json.dumps(data)), data)


@settings(deadline=None)
@given(st.text(max_size=40) | st.text("ab:-?#&*!|>'\"%@`{}[], \n\t\r\\U0x.~<\x85\ufeff", max_size=40))
def test_no_text_makes_the_reader_stumble(text: str) -> None:
    document, problems = load(text, "r.yaml")
    assert isinstance(document.data, dict)
    assert document.complete or problems
    assert all(p.line >= 1 and p.column >= 1 and p.file == "r.yaml" and "\n" not in p.message for p in problems)
    assert min(document.position(["a", 0])) >= 1


@settings(deadline=None)
@given(st.text(max_size=30) | st.text("ab:-?#&*!|>'\"%@`{}[], \n\t\\", max_size=30))
def test_a_set_value_is_read_or_refused_as_the_users_error(text: str) -> None:
    try:
        scalar(text)
    except UserError as error:
        assert str(error).startswith("--set: ")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_byte_order_mark_and_line_ends_change_nothing(end: str) -> None:
    document = read("\ufeffname: x\ntext: |\n  one\n  two\nlast: 3\n".replace("\n", end))
    assert document.data == {"name": "x", "text": "one\ntwo\n", "last": 3}
    assert document.position(["name"]) == (1, 7)
    assert document.position(["last"]) == (5, 7)


def test_question_marks_are_letters_inside_flow_text() -> None:
    assert read("a: [Who?, what? why?, a?b, ?c]\nb: {q: really?}\n").data == {
        "a": ["Who?", "what? why?", "a?b", "?c"],
        "b": {"q": "really?"},
    }


def test_an_explicit_key_is_still_a_key() -> None:
    assert read("? a\n: 1\nb: {? c : 2}\n").data == {"a": 1, "b": {"c": 2}}


def test_what_stands_in_for_odd_letters_does_not_leak_into_other_text() -> None:
    text = 'a: "x\u2028y"\nb: [Who?]\nc: \U000f0000\nd: "\\U000F0001"\ne: "\\udb80\\udc02"\n'
    assert read(text).data == {"a": "x\u2028y", "b": ["Who?"], "c": "\U000f0000", "d": "\U000f0001", "e": "\U000f0002"}


def test_a_surrogate_pair_is_one_letter_and_half_of_one_is_refused() -> None:
    assert read(r'a: "\ud83d\ude00"').data == {"a": "\U0001f600"}
    document, problems = load(r'a: "\ud83d"', "r.yaml")
    assert [(p.line, p.column, p.path) for p in problems] == [(1, 4, "a")]
    json.dumps(document.data, ensure_ascii=False).encode()


def test_document_markers_and_directive_are_fine_around_one_document() -> None:
    assert read("%YAML 1.2\n---\na: 1\n...\n").data == {"a": 1}


# --- positions -----------------------------------------------------------------------------------

RECIPE = """\
# a comment
name: rivers
steps:
  - self_instruct:
      accept: 100
      tags: [a, {b: 2, "c d": [3]}]
  -   - x
      - y: |
          long
          text
        z:
          folded
          plain
lists:
- 1
- "two"
last: 'x'
"""

POSITIONS = [
    ([], (2, 1), (2, 1)),
    (["name"], (2, 7), (2, 1)),
    (["steps"], (4, 3), (3, 1)),
    (["steps", 0], (4, 5), (4, 5)),
    (["steps", 0, "self_instruct"], (5, 7), (4, 5)),
    (["steps", 0, "self_instruct", "accept"], (5, 15), (5, 7)),
    (["steps", 0, "self_instruct", "tags"], (6, 13), (6, 7)),
    (["steps", 0, "self_instruct", "tags", 0], (6, 14), (6, 14)),
    (["steps", 0, "self_instruct", "tags", 1], (6, 17), (6, 17)),
    (["steps", 0, "self_instruct", "tags", 1, "b"], (6, 21), (6, 18)),
    (["steps", 0, "self_instruct", "tags", 1, "c d"], (6, 31), (6, 24)),
    (["steps", 0, "self_instruct", "tags", 1, "c d", 0], (6, 32), (6, 32)),
    (["steps", 1], (7, 7), (7, 7)),
    (["steps", 1, 0], (7, 9), (7, 9)),
    (["steps", 1, 1], (8, 9), (8, 9)),
    (["steps", 1, 1, "y"], (8, 12), (8, 9)),
    (["steps", 1, 1, "z"], (12, 11), (11, 9)),
    (["lists"], (15, 1), (14, 1)),
    (["lists", 1], (16, 3), (16, 3)),
    (["last"], (17, 7), (17, 1)),
]


@pytest.mark.parametrize(("path", "value", "key"), POSITIONS, ids=[dotted(path) or "top" for path, _, _ in POSITIONS])
def test_positions_are_exact(path: list[str | int], value: tuple[int, int], key: tuple[int, int]) -> None:
    document = read(RECIPE)
    assert document.position(path) == value
    assert document.position(path, key=True) == key


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (["steps", 0, "self_instruct", "missing"], (4, 5)),
        (["steps", 0, "self_instruct", "tags", 9], (6, 7)),
        (["name", "deeper", "still"], (2, 1)),
        (["steps", "0"], (3, 1)),
        (["nothing"], (2, 1)),
    ],
)
def test_a_missing_path_points_at_the_key_of_its_nearest_ancestor(
    path: list[str | int], expected: tuple[int, int]
) -> None:
    assert read(RECIPE).position(path) == expected
    assert read(RECIPE).position(path, key=True) == expected


def test_positions_in_json() -> None:
    document = read('{\n  "a": [\n    1,\n    {"b": null}\n  ]\n}')
    assert document.position(["a"]) == (2, 8)
    assert document.position(["a", 1, "b"]) == (4, 11)
    assert document.position(["a", 1, "b"], key=True) == (4, 6)


def test_an_empty_value_stands_behind_its_colon() -> None:
    assert read("a:\nb: 1\n").position(["a"]) == (1, 3)


def test_columns_count_letters_that_pyyaml_skips() -> None:
    assert read("{a: \ufeffx, b: \u2028y, c: 1}").position(["c"]) == (1, 19)


def test_an_empty_file_still_has_a_position() -> None:
    document, _ = load("", "r.yaml")
    assert document.position(["a", 1]) == (1, 1)


# --- refused -------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "\n\n", "# only a comment\n", "---\n", "\ufeff"])
def test_an_empty_file_is_refused(text: str) -> None:
    assert "the file is empty: expected a mapping" in only(text).message


@pytest.mark.parametrize(
    ("text", "found"),
    [("- a\n", "a list"), ("just words", "a text"), ("12", "a number"), ("true", "true or false"), ("null", "null")],
)
def test_a_top_level_that_is_no_mapping_is_refused(text: str, found: str) -> None:
    document, problems = load("# x\n" + text, "r.yaml")
    assert [(p.line, p.column) for p in problems] == [(2, 1)]
    assert f"found {found}: expected a mapping" in problems[0].message
    assert (document.data, document.complete) == ({}, False)


def test_a_top_level_list_is_named_beside_what_is_wrong_inside_it() -> None:
    assert places("- *a\n") == [(1, 1), (1, 3)]


def test_a_duplicate_key_says_where_the_first_one_was_and_the_first_one_counts() -> None:
    document, problems = load("a:\n  b: 1\n  c: 2\n  b: {x: 3}\nd: {e: 1, e: 2}\n", "r.yaml")
    assert [str(problem) for problem in problems] == [
        "r.yaml:4:3: a.b: the key 'b' already stands at line 2, column 3: keep one of the two",
        "r.yaml:5:11: d.e: the key 'e' already stands at line 5, column 5: keep one of the two",
    ]
    assert document.data == {"a": {"b": 1, "c": 2}, "d": {"e": 1}}
    assert document.complete
    assert document.position(["a", "b"]) == (2, 6)
    assert document.position(["a", "b", "x"]) == (2, 3)


def test_a_long_key_is_shortened_in_the_message() -> None:
    assert "'" + "k" * 37 + "...'" in only(f"{'k' * 200}: 1\n{'k' * 200}: 2\n").message


def test_the_same_key_in_two_mappings_and_two_spellings_is_fine() -> None:
    assert read("a: {b: 1}\nc: [{b: 1}, {b: 2}]\nA: 1\n").data["c"] == [{"b": 1}, {"b": 2}]
    assert places("a: 1\n'a': 2\n\"\\x61\": 3\n") == [(2, 1), (3, 1)]


@pytest.mark.parametrize(
    ("text", "place", "path", "words"),
    [
        ("a: &x 1", (1, 4), "a", "anchor"),
        ("&x a: 1", (1, 1), "", "anchor"),
        ("a: [1, &x [2]]", (1, 8), "a[1]", "anchor"),
        ("a: &x {b: 1}", (1, 4), "a", "anchor"),
        ("a: *x", (1, 4), "a", "alias"),
        ("b: 1\n*x : 2", (2, 1), "", "alias"),
        ("a:\n  <<: {b: 1}", (2, 3), "a", "merge"),
        ("a: !!str 1", (1, 4), "a", "tag"),
        ("a: !!python/object/apply:os.system [ls]", (1, 4), "a", "tag"),
        ("a: !x {}", (1, 4), "a", "tag"),
        ("a: ! x", (1, 4), "a", "tag"),
        ("!x a: 1", (1, 1), "", "tag"),
        ("a: !undefined!x 1", (1, 4), "", "tag"),
        ("a: *.json", (1, 4), "", "in quotes|use quotes"),
        ("a: {1: x}", (1, 5), "a", "'1', which is a number: put it in quotes"),
        ("1.5: x", (1, 1), "", "'1.5', which is a number"),
        ("true: x", (1, 1), "", "which is true or false"),
        ("~: x", (1, 1), "", "which is null"),
        ("?\n: x", (1, 2), "", "nothing: name the key"),
        ("? [a]\n: 1", (1, 3), "", "cannot be a key"),
        ("{{a: 1}: 1}", (1, 2), "", "cannot be a key"),
        ("a: 1\n---\nb: 2\n", (2, 1), "", "second document"),
        ("a: 1\n...\n---\n", (3, 1), "", "second document"),
        ("a: 1\nb: \x07", (2, 4), "", r"U\+0007"),
        ("a:\r\n  b\x00", (2, 4), "", r"U\+0000"),
    ],
)
def test_what_a_recipe_has_no_use_for_is_refused(text: str, place: tuple[int, int], path: str, words: str) -> None:
    problem = only(text)
    assert ((problem.line, problem.column), problem.path) == (place, path)
    assert re.search(words, problem.message)


def test_quoted_and_inner_signs_are_plain_text() -> None:
    text = "'<<': '*x'\n'1': '&y'\n\"true\": '!z'\non: a&b*c!d <<\n"
    assert read(text).data == {"<<": "*x", "1": "&y", "true": "!z", "on": "a&b*c!d <<"}


@pytest.mark.parametrize("text", ["a: *x", "a: {1: 2}", "<<: {}", "a: !t b", "a: 1\n---\n", "a: '"])
def test_a_document_that_hides_something_is_not_complete(text: str) -> None:
    assert not load(text, "r.yaml")[0].complete


def test_everything_wrong_is_reported_at_once_in_order_up_to_a_syntax_error() -> None:
    text = "a: &x 1\nb: *x\na: 2\n3: [*y, !t z]\nc:\n\td: 1\ne: 'open\n"
    assert places(text) == [(1, 4), (2, 4), (3, 1), (4, 1), (4, 5), (4, 9), (6, 1), (7, 4)]


def test_problems_inside_refused_parts_are_reported_too() -> None:
    assert places("a: 1\na: {b: 1, b: 2}\n? {c: 1, c: 2}\n: 3\n") == [(2, 1), (2, 11), (3, 3), (3, 10)]


def test_nesting_without_end_is_refused_quickly() -> None:
    began = time.perf_counter()
    for opening in ("[", "{a: ", "- ", "? ", "{? "):
        problems = problems_of(opening * 5000)
        assert "nested more than" in problems[-1].message
    assert time.perf_counter() - began < 20
    assert read("a: [" + "[[1]], " * (2 * MAX_DEPTH) + "]").complete
    assert read("a: " + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)).complete


# --- tabs ----------------------------------------------------------------------------------------


def test_every_line_indented_with_a_tab_is_named() -> None:
    document, problems = load("a:\n\tb: 1\n\tc:\n\t\t- d\n \t- e\nf: 2\n", "r.yaml")
    assert [(p.line, p.column) for p in problems] == [(2, 1), (3, 1), (4, 1), (5, 2)]
    assert all(p.message == "a tab indents this line: indent with spaces" for p in problems)
    assert document.data == {"a": {"b": 1, "c": ["d", "e"]}, "f": 2}


def test_a_tab_after_a_dash_indents_too() -> None:
    assert places("a:\n-\tb: 1\n- \tc: 2\n") == [(2, 2), (3, 3)]
    assert places("a:\n\t-\tb\n") == [(2, 1)]


def test_a_tab_explains_the_layout_error_that_it_causes() -> None:
    assert places("a:\n  b: 1\n\tc: 2\n") == [(3, 1)]


def test_tabs_elsewhere_are_fine() -> None:
    text = "a:\t1\t# x\nb: x\ty \t\nc: |\n  \tz\n\t\n\t# y\nd: [1,\n\t2\t]\ne: '\tq\n\tr'\n\t\t\nf:\tg\n\t"
    assert read(text).data == {"a": 1, "b": "x\ty", "c": "\tz\n", "d": [1, 2], "e": "\tq r", "f": "g"}


# --- syntax --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ('a: "open\nb: 1\n', (1, 4), "the quote that opens here is never closed"),
        ("a: 'it's'", (1, 8), "put the whole value in quotes"),
        ("a: [1, 2", (1, 4), "the bracket that opens here is never closed: add ']'"),
        ("x: 1\na: {b: 1]", (2, 9), "expected ',' or '}' in the brackets that open at line 2, column 4"),
        ("a: [1,,2]", (1, 7), "expected a value, found ','"),
        ("a: b: c", (1, 5), "a ':' cannot stand here"),
        ("a: 1\n  b: 2", (2, 4), "check the indentation"),
        ("a: - b", (1, 4), "a list item cannot begin here"),
        ("a:\n  - b\n c: 1", (3, 2), "does not fit the block that begins at line 1, column 1"),
        ("a: 1\n- b", (2, 1), "does not fit the block"),
        ("a: 1\nfoo\nb: 2", (2, 1), "add the ':'"),
        ("a: @x", (1, 4), "a value cannot begin with '@': put it in quotes"),
        ("a: `x`", (1, 4), "a value cannot begin with '`'"),
        ("a: %x", (1, 4), "a value cannot begin with '%'"),
        (r'a: "\d"', (1, 6), "'d' cannot follow a backslash in double quotes"),
        (r'a: "\?x"', (1, 6), "'?' cannot follow a backslash in double quotes"),
        (r'a: "\u12"', (1, 7), "needs 4 hexadecimal digits"),
        (r'a: "\UFFFFFFFF"', (1, 7), "names no character"),
        ("a: |x\n  b", (1, 5), "begin on the next line"),
        ("{a: 1} b", (1, 8), "nothing may follow the last value"),
        ("%FOO\na: 1", (2, 1), "begin with '%'"),
    ],
)
def test_a_syntax_error_is_one_sentence_for_people(text: str, place: tuple[int, int], words: str) -> None:
    problem = only(text)
    assert (problem.line, problem.column) == place
    assert words in problem.message
    assert not re.search(r"token|block end|mapping values|<|scanning|while", problem.message)


# --- secrets -------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [HF_KEY, SK_KEY, f"Bearer {HF_KEY}", f'"{SK_KEY}"', f"|\n    {HF_KEY}\n"])
def test_a_secret_is_refused_and_never_repeated(key: str) -> None:
    document, problems = load(f"engine:\n  api_key: {key}\n", "r.yaml")
    assert [(p.line, p.column, p.path, p.message) for p in problems] == [(2, 12, "engine.api_key", SECRET_MESSAGE)]
    assert HF_KEY not in f"{document}{problems}" and SK_KEY not in f"{document}{problems}"


@pytest.mark.parametrize(
    "text",
    [
        f"a: 1  # {HF_KEY}\n",
        f"{SK_KEY}: 1\n{SK_KEY}: 2\n",
        f"a: [1, *{HF_KEY}]\n",
        f"a: !{HF_KEY} 1\n",
        f"a: &{SK_KEY} 1\n",
        f"a: '{HF_KEY}\n",
        f'a: "hf_\\\n  {HF_KEY[3:]}"\n',
        f'a: "\\x68f_{HF_KEY[3:]}"\n',
        f"# {SK_KEY}\n",
        f"- {SK_KEY}\n",
        f"{SK_KEY}: {{{SK_KEY}: *a}}\n",
        f"a: {HF_KEY}\x07\n",
        f"%{HF_KEY} x\n---\na: 1\n",
        f"%TAG !{HF_KEY}! x\n%TAG !{HF_KEY}! x\n---\na: 1\n",
    ],
)
def test_a_secret_is_found_wherever_it_hides(text: str) -> None:
    document, problems = load(text, "r.yaml")
    assert SECRET_MESSAGE in [problem.message for problem in problems]
    shown = " ".join([*map(str, problems), repr(document), repr(document.data)])
    assert HF_KEY[3:] not in shown and SK_KEY[3:] not in shown


def test_each_secret_is_reported_once() -> None:
    assert places(f"a: {HF_KEY}\nb: [{SK_KEY}, '{HF_KEY}']\n# {HF_KEY}\n") == [(1, 4), (2, 5), (2, 45), (3, 3)]


@pytest.mark.parametrize("text", ["risk-assessment-of-large-language-models", "hf_short", "sk-learn", "HF_TOKEN"])
def test_ordinary_words_are_no_secrets(text: str) -> None:
    assert read(f"a: {text}").data == {"a": text}


# --- --set ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (" x ", "x"),
        ("hello, world", "hello, world"),
        ("[1, no, {a: 3e-4}]", [1, "no", {"a": 3e-4}]),
        ("{a: [b]}", {"a": ["b"]}),
        ("[]", []),
        ("'# x'", "# x"),
        ("a#b", "a#b"),
        ("https://example.org/v1", "https://example.org/v1"),
        ("What?", "What?"),
    ],
)
def test_a_set_value_is_any_flow_value(text: str, value: object) -> None:
    assert same(scalar(text), value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1", "a mapping as {a: 1}"),
        ("- 1", "a list as [a, b]"),
        ("|\n x", "a text in quotes"),
        ("a # b", "nothing else"),
        ("# b", "nothing else"),
        ("[1] # b", "nothing else"),
        ("---", "nothing else"),
        ("--- 1", "nothing else"),
        ("[1", "never closed"),
        ("{a: 1, a: 2}", "already stands"),
        ("*x", "alias"),
        ("!!str 1", "tag"),
        ("{1: 2}", "found '1', which is a number"),
        (HF_KEY, "no secrets"),
    ],
)
def test_a_set_value_is_refused_under_the_same_rules(text: str, words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        scalar(text)
    assert words in str(caught.value)
    assert HF_KEY not in str(caught.value)
    assert all((p.file, p.line, p.column) == ("--set", 0, 0) for p in caught.value.problems)


def test_a_set_value_reports_all_its_problems() -> None:
    with pytest.raises(RecipeError) as caught:
        scalar("[&a 1, {b: *a}]")
    assert [problem.path for problem in caught.value.problems] == ["[0]", "[1].b"]


@pytest.mark.parametrize(
    ("path", "text"), [([], ""), (["a"], "a"), (["a", 0, "b", 1, 2], "a[0].b[1][2]"), ([0, "a"], "[0].a")]
)
def test_a_path_is_written_with_dots_and_brackets(path: list[str | int], text: str) -> None:
    assert dotted(path) == text
