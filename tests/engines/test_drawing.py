"""Each row of a batch is drawn by its own rules and its own seed."""

import math

import pytest

from factory.engines.drawing import BatchDraw, RowDraw, penalise, truncate
from factory.engines.protocol import Sampling

torch = pytest.importorskip("torch")

LOGITS = [2.0, 1.0, 0.0, -1.0, -2.0]


def draw(sampling: Sampling, seed: int | None = 0, generated: tuple[int, ...] = ()) -> int:
    ids = torch.tensor([[0, *generated]])
    scores = BatchDraw([RowDraw([0], sampling, seed)], prompt_width=1)(ids, torch.tensor([LOGITS]))
    return int(scores.argmax())


def kept(**options: float) -> list[int]:
    scores = truncate(torch.tensor(LOGITS), Sampling(**options))
    return [token for token, score in enumerate(scores.tolist()) if score > -math.inf]


def test_draws_follow_the_softmax() -> None:
    rows = 20_000
    batch = BatchDraw([RowDraw([0], Sampling(), seed) for seed in range(rows)], prompt_width=1)
    drawn = batch(torch.zeros(rows, 1, dtype=torch.long), torch.tensor([LOGITS] * rows)).argmax(-1)
    shares = torch.bincount(drawn, minlength=5) / rows
    expected = torch.tensor(LOGITS).softmax(-1)
    # Five standard errors of a share.
    assert (shares - expected).abs().max() < 5 * 0.5 / math.sqrt(rows)


def test_a_seed_fixes_the_draw_and_no_seed_leaves_it_open() -> None:
    hot = Sampling(temperature=50.0)
    assert len({draw(hot, seed=7) for _ in range(20)}) == 1
    assert len({draw(hot, seed=seed) for seed in range(50)}) == 5
    assert len({draw(hot, seed=None) for _ in range(50)}) > 1


def test_the_global_generator_is_neither_used_nor_changed() -> None:
    before = torch.get_rng_state()
    draw(Sampling(), seed=None)
    assert torch.equal(before, torch.get_rng_state())


def test_rows_of_one_batch_keep_their_own_sampling() -> None:
    rows = [RowDraw([0], Sampling(temperature=0), None), RowDraw([0], Sampling(top_k=1), None)]
    rows.append(RowDraw([0], Sampling(temperature=0, frequency_penalty=2.0), None))
    ids = torch.tensor([[0, 0, 0]] * 3)
    assert BatchDraw(rows, prompt_width=1)(ids, torch.tensor([LOGITS] * 3)).argmax(-1).tolist() == [0, 0, 1]


def test_truncation_keeps_what_each_rule_says() -> None:
    mass = torch.tensor(LOGITS).softmax(-1)
    assert kept() == [0, 1, 2, 3, 4]
    assert kept(top_k=2) == [0, 1]
    assert kept(top_k=9) == [0, 1, 2, 3, 4]
    assert kept(top_p=float(mass[0]) - 0.01) == [0]
    assert kept(top_p=float(mass[0]) + 0.01) == [0, 1]
    assert kept(top_p=1e-9) == [0]
    assert kept(min_p=float(mass[2] / mass[0]) - 1e-4) == [0, 1, 2]
    assert kept(min_p=1.0) == [0]


def test_repetition_counts_prompt_and_answer_but_presence_and_frequency_the_answer() -> None:
    logits, generated = torch.tensor(LOGITS), torch.tensor([1, 1, 4])

    def penalised(**options: float) -> list[float]:
        return penalise(logits, RowDraw([0], Sampling(**options), None), generated).tolist()

    assert penalised(repetition_penalty=2.0) == [1.0, 0.5, 0.0, -1.0, -4.0]
    assert penalised(presence_penalty=0.5) == [2.0, 0.5, 0.0, -1.0, -2.5]
    assert penalised(frequency_penalty=0.5) == [2.0, 0.0, 0.0, -1.0, -2.5]
    assert penalised() == LOGITS
