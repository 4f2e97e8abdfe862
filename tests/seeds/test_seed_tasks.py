"""The seed tasks of Self-Instruct keep the shape that the method's sampling and filters rely on.

The ranges are centred on the original 175 tasks of arXiv 2212.10560 (instructions of 13 words on average,
median 11, 95th percentile 27); the tasks themselves are our own.
"""

import json
import re
from itertools import combinations
from pathlib import Path
from statistics import mean, median

import pytest
from rapidfuzz.distance import LCSseq

SEEDS = Path(__file__).parents[2] / "seeds" / "self_instruct.jsonl"
TASKS = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]
BY_NAME = {task["name"]: task for task in TASKS}
INSTANCES = [(task["id"], instance) for task in TASKS for instance in task["instances"]]

# Words that the method's heuristic filter turns away: a text model cannot act on them.
FILTERED = re.compile(r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.IGNORECASE)
MODALS_AND_AUXILIARIES = {"can", "do", "does", "is", "should", "would"}
NEITHER_VERB_NOR_QUESTION = {
    *("a", "at", "from", "half", "here", "hearts", "i", "in", "knights", "my"),
    *("our", "the", "three", "using", "you"),
}


def rouge_tokens(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def rouge_l(first, second):
    return 2 * LCSseq.similarity(first, second) / (len(first) + len(second))


def nearest_pairs():
    tokens = [(task["instruction"], rouge_tokens(task["instruction"])) for task in TASKS]
    scored = ((rouge_l(a, b), x, y) for (x, a), (y, b) in combinations(tokens, 2))
    return sorted(scored, reverse=True)


def first_instance(name):
    instance = BY_NAME[name]["instances"][0]
    return instance["input"], instance["output"]


def word_count(text):
    return len(text.split())


def test_there_are_175_tasks_with_running_ids_and_unique_names():
    assert [task["id"] for task in TASKS] == [f"seed_{number:03d}" for number in range(175)]
    assert len(BY_NAME) == 175
    assert [name for name in BY_NAME if not re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", name)] == []
    assert len({task["instruction"] for task in TASKS}) == 175


def test_lines_are_plain_utf8_json_with_exactly_the_declared_fields():
    raw = SEEDS.read_bytes()
    assert raw.endswith(b"\n") and b"\r" not in raw and not raw.startswith(b"\xef\xbb\xbf")
    for task in TASKS:
        assert list(task) == ["id", "name", "instruction", "is_classification", "instances"], task["id"]
        assert isinstance(task["is_classification"], bool), task["id"]
        assert [list(instance) for instance in task["instances"]] == [["input", "output"]] * len(task["instances"])


def test_every_text_is_trimmed():
    untrimmed = [task["id"] for task in TASKS if task["instruction"] != task["instruction"].strip()]
    untrimmed += [id_ for id_, instance in INSTANCES for text in instance.values() if text != text.strip()]
    assert untrimmed == []


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task["id"])
def test_instruction_passes_the_heuristic_filters(task):
    instruction = task["instruction"]
    assert 4 <= word_count(instruction) <= 60
    assert re.match(r"[A-Za-z]", instruction)
    assert not FILTERED.search(instruction)
    assert not instruction.startswith("Write a program")


def test_instances_pass_the_heuristic_filters():
    assert [id_ for id_, instance in INSTANCES if not instance["output"]] == []
    assert [id_ for id_, instance in INSTANCES if instance["input"] == instance["output"]] == []
    assert [id_ for id_, instance in INSTANCES if any(text.endswith(":") for text in instance.values())] == []


def test_instruction_lengths_resemble_the_original_set():
    lengths = sorted(word_count(task["instruction"]) for task in TASKS)
    assert 12 <= mean(lengths) <= 14.5
    assert 10 <= median(lengths) <= 12
    assert 23 <= lengths[int(0.95 * len(lengths))] <= 29
    assert lengths[0] <= 5
    assert sum(length >= 40 for length in lengths) >= 3


def test_output_lengths_run_from_one_word_to_about_150():
    lengths = [word_count(task["instances"][0]["output"]) for task in TASKS]
    assert 35 <= mean(lengths) <= 45
    assert min(lengths) == 1
    assert 100 <= max(lengths) <= 160


def test_26_tasks_are_classification_and_name_their_labels():
    classification = [task for task in TASKS if task["is_classification"]]
    assert len(classification) == 26
    for task in classification:
        labels = [instance["output"] for instance in task["instances"]]
        assert 1 <= len(labels) <= 2 and len(set(labels)) == len(labels), task["id"]
        assert [label for label in labels if not names_label(task["instruction"], label)] == [], task["id"]
        assert all(instance["input"] for instance in task["instances"]), task["id"]


def names_label(instruction, label):
    # Not \b: the labels O(n) and O(n^2) end in a bracket.
    return re.search(rf"(?<!\w){re.escape(label)}(?!\w)", instruction, re.IGNORECASE)


def test_other_tasks_have_one_instance():
    assert [task["id"] for task in TASKS if not task["is_classification"] and len(task["instances"]) != 1] == []


def test_about_thirty_percent_of_the_tasks_have_no_input():
    assert 45 <= sum(task["instances"][0]["input"] == "" for task in TASKS) <= 55


def test_openings_are_varied():
    openings = [rouge_tokens(task["instruction"])[0] for task in TASKS]
    verbs_and_questions = set(openings) - NEITHER_VERB_NOR_QUESTION
    assert len(verbs_and_questions) >= 70
    assert set(openings) >= {"what", "how", "why", "which", "where", "who"}
    assert verbs_and_questions & MODALS_AND_AUXILIARIES
    assert max(openings.count(word) for word in set(openings)) <= 8


def test_no_two_instructions_are_near_duplicates():
    pairs = nearest_pairs()
    assert pairs[0][0] <= 0.7, pairs[0]
    assert [pair for pair in pairs if pair[0] > 0.6][3:] == []


def test_the_similarity_used_here_is_that_of_rouge_score():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    for similarity, first, second in nearest_pairs()[:300]:
        assert scorer.score(first, second)["rougeL"].fmeasure == pytest.approx(similarity)


def test_some_tasks_involve_another_language():
    foreign = ["english_to_spanish", "german_proverb", "french_menu", "correct_french", "italian_numbers"]
    assert [name for name in foreign if name not in BY_NAME] == []


def test_json_answers_parse_to_what_was_asked():
    assert json.loads(first_instance("yaml_to_json")[1]) == {
        "server": {"port": 8080, "debug": False},
        "hosts": ["alpha", "beta"],
    }
    assert json.loads(first_instance("repair_json")[1])["available"] is True
    assert json.loads(first_instance("interview_to_json")[1])["age"] is None
    assert list(json.loads(first_instance("parse_address")[1])) == ["street", "number", "postcode", "town", "country"]


def defined_in(code, name):
    namespace = {}
    exec(code, namespace)
    return namespace[name]


def test_python_answers_run_and_agree_with_their_inputs():
    slow, fast = first_instance("speed_up_lookup")
    assert defined_in(fast.split("\n\n")[0], "common")(["a", "b"], ["b"]) == defined_in(slow, "common")(
        ["a", "b"], ["b"]
    )
    before, after = (defined_in(code, "describe") for code in first_instance("refactor_repetition"))
    assert all(before(w, h) == after(w, h) for w in range(3) for h in range(3))
    broken, corrected = first_instance("average_bug")
    assert defined_in(broken, "average")([1, 2, 6]) == 2
    assert defined_in(corrected.split("\n\n", 1)[1], "average")([1, 2, 6]) == 3
    assert defined_in(first_instance("js_to_python")[1], "longest_run")("aabbbc") == 3
    assert defined_in(first_instance("add_docstring")[1], "split_evenly")(100, 3) == [34, 33, 33]
    are_anagrams = defined_in(first_instance("anagram_function")[1].split("\n\nSorting")[0], "are_anagrams")
    assert are_anagrams("Dirty room", "dormitory") and not are_anagrams("cat", "cart")


def test_predicted_print_is_what_python_prints(capsys):
    code, answer = first_instance("predict_output")
    exec(code, {})
    assert capsys.readouterr().out.strip() == answer.splitlines()[0]


def test_time_pattern_accepts_exactly_the_times_of_a_day():
    pattern = first_instance("time_regex")[1].splitlines()[0]
    for hour, minute in ((h, m) for h in range(100) for m in range(100)):
        assert bool(re.match(pattern, f"{hour:02}:{minute:02}")) == (hour < 24 and minute < 60)


def test_caesar_and_vowel_answers_are_recomputed():
    coded, plain = first_instance("caesar_decode")
    shifted = "".join(chr((ord(c) - 97 + 3) % 26 + 97) if c.isalpha() else c for c in plain.lower())
    assert shifted == coded.lower()
    sentence, counts = first_instance("count_vowels")
    assert counts == ", ".join(f"{vowel}: {sentence.lower().count(vowel)}" for vowel in "aeiou")
