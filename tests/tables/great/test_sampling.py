import random

import numpy as np
import pytest
import torch
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    OPTConfig,
    OPTForCausalLM,
)

from factory.draws import uniforms
from factory.engines.slots import Passes
from factory.tables.column import Column
from factory.tables.domain import Domain, just
from factory.tables.great import drafts, sampling
from factory.tables.great.drawing import draw, row_keys
from factory.tables.great.heads import ModelError, narrowed
from factory.tables.great.sampling import TransformersSampler
from factory.tables.rules import Rules
from factory.tables.schema import Schema
from factory.tables.synthesizer import Want
from tests.tables.great.kinds import MIXED

NAMES = [column.name for column in MIXED.learned]


def llama(tokenizer, hidden=32, layers=2, context=256, **options):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=hidden, intermediate_size=2 * hidden, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=context, **options,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def small(kind, size):
    """Untrained models of several architectures; Gemma 2 caps its logits, so that its head is not all there is."""
    torch.manual_seed(1)
    sizes = {"vocab_size": size, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    if kind == "gpt2":
        return GPT2LMHeadModel(GPT2Config(vocab_size=size, n_embd=32, n_layer=2, n_head=4, n_positions=256)).eval()
    if kind == "neox":
        return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, intermediate_size=64, max_position_embeddings=256)).eval()
    if kind == "opt":
        options = {"ffn_dim": 64, "word_embed_proj_dim": 32, "max_position_embeddings": 256}
        return OPTForCausalLM(OPTConfig(**sizes, **options)).eval()
    if kind == "gemma2":
        options = {"intermediate_size": 64, "num_key_value_heads": 2, "head_dim": 8, "final_logit_softcapping": 0.2}
        return Gemma2ForCausalLM(Gemma2Config(**sizes, **options, max_position_embeddings=256)).eval()
    return LlamaForCausalLM(LlamaConfig(**sizes, intermediate_size=64, num_key_value_heads=2)).eval()


class Ordered:
    """price >= age in hundredths: a relation of two columns, of which one may be missing."""

    shown = "price >= age"
    columns = ("age", "price")

    def narrow(self, column, known, domains):
        if column == "price":
            return Domain(((known.get("age", -5), 250_000),), null=True)
        price = known.get("price", domains["price"].intervals[-1][1] if domains["price"].intervals else None)
        return Domain(((-5, 120 if price is None else price),)) if price is None or price >= -5 else Domain()

    def broken(self, cells):
        return cells["price"] is not None and cells["price"] < cells["age"]


@pytest.fixture(scope="module")
def made(exact):
    tokenizer = exact["llama"]
    return llama(tokenizer), tokenizer


def sampler(made, rules=None, **options):
    return TransformersSampler(*made, MIXED, rules or Rules(MIXED), max_text_tokens=10, **options)


def quiet(_):
    pass


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.5, 1000.0])
def test_rows_of_an_untrained_model_are_whole_and_valid(made, temperature):
    rules = Rules(MIXED)
    rows = sampler(made, rules, temperature=temperature).sample([Want()] * 500, 1, quiet)
    assert len(rows) == 500
    for row in rows:
        assert list(row) == NAMES and rules.broken(row) is None
    assert {row["price"] is None for row in rows} == {True, False}
    assert len({row["age"] for row in rows}) > 20


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "opt", "gemma2"])
def test_rows_are_valid_whatever_the_architecture(exact, kind):
    tokenizer = exact["byte level"]
    rules = Rules(MIXED)
    made = small(kind, len(tokenizer)), tokenizer
    assert all(rules.broken(row) is None for row in sampler(made, rules).sample([Want()] * 40, 1, quiet))


def test_conditions_hold_in_every_row(made):
    rules = Rules(MIXED)
    conditions = [
        {"ok": just(1)},
        {"age": Domain(((30, 41), (90, 90))), "price": just(None)},
        {"note": Domain(texts=("a", 'b "c"')), "work, is": Domain(((2, 3), (5, 6)))},
        {"born": Domain(((MIXED.named["born"].low, MIXED.named["born"].low + 2),))},
    ]
    wants = [Want(conditions[at % 4]) for at in range(200)]
    for want, row in zip(wants, sampler(made, rules).sample(wants, 3, quiet), strict=True):
        assert rules.broken(row) is None
        assert all(domain.holds(row[name]) for name, domain in want.domains.items())


def test_cells_that_are_given_stay_and_the_others_are_filled(made):
    full = sampler(made).sample([Want()] * 120, 5, quiet)
    rng = random.Random(2)
    wants = [Want({name: just(row[name]) for name in rng.sample(NAMES, rng.randrange(8))}) for row in full]
    assert len({tuple(want.domains) for want in wants}) > 60
    for row, want in zip(sampler(made).sample(wants, 6, quiet), wants, strict=True):
        assert Rules(MIXED).broken(row) is None
        assert all(row[name] == domain.only[0] for name, domain in want.domains.items())
    assert sampler(made).sample([Want({name: just(cell) for name, cell in full[0].items()})], 6, quiet) == full[:1]


def test_relations_hold_in_every_row_and_rows_without_a_way_are_given_up(made):
    rules = Rules(MIXED, [Ordered()])
    rows = sampler(made, rules).sample([Want()] * 300, 1, quiet)
    assert all(row is None or rules.broken(row) is None for row in rows)
    assert sum(row is not None for row in rows) > 150
    hopeless = Want({"price": just(-1990)})
    assert sampler(made, rules).sample([hopeless, Want({"price": just(None)})], 1, quiet)[0] is None


def test_the_same_seed_gives_the_same_rows_whatever_is_drawn_beside_them(made):
    rows = sampler(made).sample([Want()] * 60, 9, quiet)
    torch.manual_seed(4)
    assert sampler(made).sample([Want()] * 60, 9, quiet) == rows
    assert sampler(made, batch_rows=7).sample([Want()] * 60, 9, quiet) == rows
    assert sampler(made).sample([Want()] * 25, 9, quiet) == rows[:25]
    assert sampler(made).sample([Want()] * 60, 10, quiet) != rows


def test_restricted_columns_come_first_and_orders_differ(made):
    one = sampler(made)
    keys = row_keys(1, 50)
    orders = [
        one._drafting.order(Want({"ok": Domain(((0, 1),)), "price": just(3), "note": Domain(text=True)}), key)
        for key in keys
    ]
    assert all(order[:3] == ["price", "ok", "note"] and sorted(order) == sorted(NAMES) for order in orders)
    assert len({tuple(order) for order in orders}) > 15
    fixed = sampler(made, order=NAMES[::-1])
    assert fixed._drafting.order(Want(), keys[0]) == NAMES[::-1]
    assert fixed._drafting.order(Want({"age": just(1)}), keys[0])[0] == "age"


def fed_in_pieces(model, rows, head_tokens=None):
    """Logits after each row, whose tokens are fed in pieces of many widths, some rows being dropped on the way."""
    rng = random.Random(3)
    with narrowed(model) as head:
        passes, left, ahead = Passes(model, len(rows)), list(range(len(rows))), [list(row) for row in rows]
        logits = {}
        while left:
            chunks = [ahead[at][: rng.randrange(4)] for at in left]
            if not any(chunks):
                continue
            head.tokens = head_tokens
            found = passes.feed(chunks)
            for place, (at, chunk) in enumerate(zip(left, chunks, strict=True)):
                ahead[at] = ahead[at][len(chunk) :]
                if chunk and not ahead[at]:
                    logits[at] = found[place]
            keep = [place for place, at in enumerate(left) if ahead[at]]
            left = [left[place] for place in keep]
            if left:
                passes.keep(keep)
    return torch.stack([logits[at] for at in range(len(rows))])


@pytest.mark.parametrize("kind", ["llama", "gpt2", "neox", "opt", "gemma2"])
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_logits_are_those_of_the_model_for_the_whole_sentence(kind, attention):
    model = small(kind, 90)
    model.set_attn_implementation(attention)
    rng = random.Random(1)
    rows = [[rng.randrange(90) for _ in range(rng.randint(1, 80))] for _ in range(12)]
    tokens = np.array([3, 7, 50, 89])
    with torch.no_grad():
        expected = torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])
    torch.testing.assert_close(fed_in_pieces(model, rows), expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(fed_in_pieces(model, rows, tokens), expected[:, tokens], atol=1e-5, rtol=1e-4)
    assert "forward" not in vars(model.get_output_embeddings())


def test_a_narrowed_head_draws_the_same_rows(made, monkeypatch):
    rows = sampler(made).sample([Want()] * 50, 9, quiet)
    monkeypatch.setattr(sampling, "_NARROWED_FROM", 0)
    assert sampler(made).sample([Want()] * 50, 9, quiet) == rows


def test_draws_have_the_probabilities_of_the_choices():
    logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4]] * 20_000, dtype=np.float32))
    numbers = uniforms(row_keys(1, 20_000), np.zeros(20_000))
    drawn = np.array(draw(logits, [np.array([1, 3])] * 20_000, numbers, 1.0))
    assert abs((drawn == 1).mean() - 2 / 3) < 0.01
    drawn = np.array(draw(logits, [np.array([1, 3])] * 20_000, numbers, 0.5))
    assert abs((drawn == 1).mean() - 4 / 5) < 0.01
    assert set(draw(np.full((3, 4), np.nan, np.float32), [np.array([0, 2])] * 3, numbers[:3], 1.0)) <= {0, 1}


def test_draws_of_a_row_are_spread_evenly():
    numbers = uniforms(np.repeat(row_keys(5, 200), 100), np.tile(np.arange(100), 200))
    assert abs(numbers.mean() - 0.5) < 0.01 and len(np.unique(numbers)) == 20_000
    assert np.abs(np.histogram(numbers, 10, (0, 1))[0] - 2000).max() < 200


def test_the_table_is_drawn_as_the_model_has_learnt_it(exact):
    """A model that has learnt one column by heart gives its shares back."""
    tokenizer = exact["llama"]
    schema = Schema((Column(name="x", kind="integer", low=0, high=99, nullable=True),))
    model = llama(tokenizer, layers=1)
    codec = TransformersSampler(model, tokenizer, schema, Rules(schema)).codec
    rows = [codec.row({"x": cell}, ["x"]) for cell in (7, 7, 7, 70, 42, None)]
    width = max(map(len, rows))
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    labels = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(60):
        model(input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    drawn = [
        row["x"]
        for row in TransformersSampler(model, tokenizer, schema, Rules(schema)).sample([Want()] * 1200, 1, quiet)
    ]
    for cell, share in ((7, 1 / 2), (70, 1 / 6), (42, 1 / 6), (None, 1 / 6)):
        assert abs(drawn.count(cell) / 1200 - share) < 0.06


def test_models_that_cannot_hold_a_row_are_refused(exact):
    tokenizer = exact["llama"]
    with pytest.raises(ModelError, match=r"may take \d+ tokens, and the model reads 64 at most"):
        sampler((llama(tokenizer, context=64), tokenizer))
    with pytest.raises(ModelError, match="temperature is 0"):
        sampler((llama(tokenizer), tokenizer), temperature=0)


def test_an_order_names_each_column_once(made):
    with pytest.raises(ModelError, match="order is"):
        sampler(made, order=NAMES[1:])


def test_a_model_with_an_adapter_draws_with_it(exact):
    from peft import LoraConfig, get_peft_model

    tokenizer = exact["llama"]
    plain, rules = llama(tokenizer), Rules(MIXED)
    rows = sampler((plain, tokenizer), rules).sample([Want()] * 20, 1, quiet)
    adapted = get_peft_model(plain, LoraConfig(target_modules=["q_proj", "lm_head"], init_lora_weights=False))
    others = sampler((adapted, tokenizer), rules).sample([Want()] * 20, 1, quiet)
    assert all(rules.broken(row) is None for row in others) and rows != others


def test_progress_is_told(made, monkeypatch):
    monkeypatch.setattr(drafts, "_SAY_EVERY_S", 0.0)
    said = []
    sampler(made).sample([Want()] * 30, 1, said.append)
    assert said[-1].startswith("drew 30 of 30 rows") and "s left" in said[-1]


def test_nothing_wanted_gives_nothing(made):
    assert sampler(made).sample([], 1, quiet) == []


def test_the_model_is_left_as_it_was(made):
    model, _ = made
    model.train()
    sampler(made).sample([Want()], 1, quiet)
    assert model.training and "forward" not in vars(model.get_output_embeddings())
    model.eval()
