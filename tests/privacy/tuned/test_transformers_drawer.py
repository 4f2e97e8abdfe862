"""Texts through transformers: those that the model would write one by one, and each by its own seed."""

import numpy as np
import pytest
import torch

from factory.draws import mixed, uniforms
from factory.engines.protocol import Sampling
from factory.errors import UserError
from factory.privacy.tuned.model import Tuned, tuned
from factory.privacy.tuned.transformers_drawer import TransformersDrawer, chosen
from tests.privacy.tuned import small

GREEDY = Sampling(max_tokens=12, temperature=0)


def with_artifact(kind, start=False, architecture="llama"):
    base = small.base(start, architecture)
    made = {"prompt": small.prompt, "lora": small.lora, "none": lambda _: None}[kind](base)
    return tuned(base, made)


def one_by_one(model, head, sampling, seed=0):
    """A text written without cache, padding or company."""
    embeds, ids = model.opening(head)[None], []
    ends = {model.base.end, *(model.base.tokenizer.all_special_ids)}
    with torch.no_grad():
        while len(ids) < sampling.max_tokens:
            logits = model.base.model(inputs_embeds=embeds).logits[0, -1:]
            number = uniforms(mixed(np.array([seed], dtype=np.uint64)), np.array([len(ids)]))
            scores = logits / (sampling.temperature or 1)
            (token,) = chosen(scores, number if sampling.temperature else None)
            if token in ends:
                return model.base.tokenizer.decode(ids), len(ids), True
            ids.append(token)
            embeds = torch.cat([embeds, model.base.embed(torch.tensor([[token]]))], 1)
    return model.base.tokenizer.decode(ids), len(ids), False


def heads_of(base, count):
    heads = [base.ids(text) for text in ("Delivery: ", "A bill that somebody wrote about: ", "x")]
    return [heads[at % 3] for at in range(count)]


@pytest.mark.parametrize("start", [False, True])
@pytest.mark.parametrize("kind", ["prompt", "lora", "none"])
def test_texts_are_those_of_the_model_one_by_one(kind, start):
    model = with_artifact(kind, start)
    heads = heads_of(model.base, 14)
    warm = Sampling(max_tokens=12, temperature=1.3)
    drawn = TransformersDrawer(model, rows=5).draw(heads, list(range(14)), warm)
    assert drawn == [one_by_one(model, head, warm, seed) for seed, head in enumerate(heads)]
    assert len({text.text for text in drawn}) == 14
    greedy = TransformersDrawer(model, rows=5).draw(heads, [0] * 14, GREEDY)
    assert greedy == [one_by_one(model, head, GREEDY) for head in heads]
    assert len(set(greedy)) == 3


@pytest.mark.parametrize("architecture", ["gpt2", "neox", "opt", "gemma2"])
def test_the_architecture_decides_nothing(architecture):
    model = with_artifact("prompt", architecture=architecture)
    heads, warm = heads_of(model.base, 6), Sampling(max_tokens=6, temperature=1.2)
    drawn = TransformersDrawer(model, rows=4).draw(heads, list(range(6)), warm)
    assert drawn == [one_by_one(model, head, warm, seed) for seed, head in enumerate(heads)]


@pytest.fixture(scope="module")
def model():
    return with_artifact("prompt")


def test_a_text_depends_on_its_head_and_seed_alone(model):
    heads, seeds = heads_of(model.base, 90), [7 * at for at in range(90)]
    warm = Sampling(max_tokens=30)
    drawn = TransformersDrawer(model, rows=64).draw(heads, seeds, warm)
    torch.manual_seed(5)
    assert TransformersDrawer(model, rows=4).draw(heads, seeds, warm) == drawn
    assert TransformersDrawer(model, rows=7).draw(heads[::-1], seeds[::-1], warm) == drawn[::-1]
    assert TransformersDrawer(model).draw(heads[20:23], seeds[20:23], warm) == drawn[20:23]
    assert TransformersDrawer(model, rows=1).draw(heads[:6], seeds[:6], warm) == drawn[:6]
    assert {text.finished for text in drawn} == {True, False}
    others = TransformersDrawer(model).draw(heads, [seed + 1 for seed in seeds], warm)
    assert sum(one == two for one, two in zip(drawn, others, strict=True)) < 20


def test_the_soft_prompt_the_head_and_the_adapter_change_what_is_written(model):
    heads, seeds = heads_of(model.base, 30), list(range(30))
    drawn = TransformersDrawer(model).draw(heads, seeds, GREEDY)
    others = [Tuned(model.base), with_artifact("lora"), tuned(model.base, small.prompt(model.base, seed=8))]
    for other in others:
        assert TransformersDrawer(other).draw(heads, seeds, GREEDY) != drawn


@pytest.mark.parametrize(("temperature", "options"), [(1.0, {}), (0.6, {}), (1.5, {"top_k": 4}), (1.0, {"top_p": 0.6})])
def test_first_tokens_have_the_probabilities_of_the_model(model, temperature, options):
    head, count = model.base.ids("x"), 6000
    with torch.no_grad():
        logits = model.base.model(inputs_embeds=model.opening(head)[None]).logits[0, -1].double() / temperature
    ordered = logits.softmax(-1).sort(descending=True)
    kept = options.get("top_k") or len(logits)
    if "top_p" in options:
        kept = int((ordered.values.cumsum(-1) - ordered.values < options["top_p"]).sum())
    wanted = torch.zeros_like(logits).index_copy(0, ordered.indices[:kept], ordered.values[:kept])
    wanted = (wanted / wanted.sum()).numpy()
    drawer, ids = TransformersDrawer(model, rows=512), []
    drawer._drawn = lambda text, sampling: ids.append(text.ids)
    drawer.draw(
        [head] * count, [3 * at for at in range(count)], Sampling(max_tokens=1, temperature=temperature, **options)
    )
    found = np.bincount([each[0] for each in ids if each], minlength=len(wanted))
    ends = sorted(drawer._ends)
    pairs = [(count - found.sum(), wanted[ends].sum())]
    pairs += [(found[token], wanted[token]) for token in np.argsort(-wanted)[:8] if token not in ends]
    for times, chance in pairs:
        assert abs(times - chance * count) <= 5 * np.sqrt(chance * count)
    assert found[wanted == 0].sum() == 0 and np.count_nonzero(found) > 2


def end_at(model, at, token):
    """A drawer whose texts end by that token at that place, whatever the model would write."""
    drawer = TransformersDrawer(model)
    choose = drawer._choose

    def choosing(texts, logits, stems, sampling):
        for row, text in enumerate(texts):
            if len(text.ids) == at:
                logits[row, token] = 1e9
        choose(texts, logits, stems, sampling)

    drawer._choose = choosing
    return drawer


@pytest.mark.parametrize("at", [0, 1, 5])
def test_any_special_token_ends_a_text_and_is_no_part_of_it(model, at):
    heads = heads_of(model.base, 5)
    special = model.base.tokenizer.convert_tokens_to_ids(["<end>", "<other>"])
    whole = [one_by_one(model, head, Sampling(max_tokens=at, temperature=0)) for head in heads]
    for token in special:
        drawn = end_at(model, at, token).draw(heads, [0] * 5, GREEDY)
        assert drawn == [(text, at, True) for text, _, _ in whole]


def test_a_text_that_is_cut_is_not_finished(model):
    (drawn,) = TransformersDrawer(model).draw([model.base.ids("x")], [1], Sampling(max_tokens=3, temperature=0))
    assert (drawn.token_count, drawn.finished) == (3, False)


def test_a_string_ends_a_text(model):
    head = model.base.ids("x")
    (whole,) = TransformersDrawer(model).draw([head], [1], GREEDY)
    stop = whole.text[4:6]
    (drawn,) = TransformersDrawer(model).draw([head], [1], Sampling(max_tokens=12, temperature=0, stop=(stop,)))
    assert drawn.text == whole.text[: whole.text.index(stop)] and drawn.finished
    assert drawn.token_count < whole.token_count


def test_penalties_count_what_was_written(model):
    head = model.base.ids("x")
    sampling = Sampling(max_tokens=40, temperature=0, frequency_penalty=2.0, presence_penalty=2.0)
    penalised = Sampling(max_tokens=40, temperature=0, repetition_penalty=1000.0)
    plain, _, other = (
        TransformersDrawer(model).draw([head], [1], each)[0]
        for each in (Sampling(max_tokens=40, temperature=0), sampling, penalised)
    )
    ids = model.base.ids(other.text)
    assert other.text != plain.text and len(set(ids)) > len(set(model.base.ids(plain.text)))


def test_nothing_asked_gives_nothing_and_heads_need_seeds(model):
    assert TransformersDrawer(model).draw([], [], GREEDY) == []
    with pytest.raises(ValueError, match="shorter"):
        TransformersDrawer(model).draw([[1], [2]], [1], GREEDY)


def test_more_distinct_heads_than_rows(model):
    heads = [model.base.ids(f"{at}: ") for at in range(11)]
    drawn = TransformersDrawer(model, rows=3).draw(heads, list(range(11)), GREEDY)
    assert drawn == [one_by_one(model, head, GREEDY) for head in heads]


def test_the_model_is_left_as_it_was(model):
    layer = model.base.model.model.layers[0]
    layer.train()
    TransformersDrawer(model).draw([[5]], [1], GREEDY)
    assert layer.training and not model.base.model.training
    assert model.base.model.config._attn_implementation == "sdpa"
    layer.eval()


def test_models_that_cannot_be_drawn_from_are_refused(model):
    with pytest.raises(UserError, match="takes 129 with what stands before it, and the model small reads at most 128"):
        TransformersDrawer(model).draw([[5]], [1], Sampling(max_tokens=123))
    with pytest.raises(UserError, match="nothing to begin from"):
        TransformersDrawer(Tuned(model.base)).draw([[]], [1], GREEDY)
    assert len(TransformersDrawer(model).draw([[]], [1], GREEDY)) == 1
    other = small.base()
    other.model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(UserError, match="model small: the model is loaded with attention 'flash_attention_2'"):
        TransformersDrawer(Tuned(other))
