"""Texts through transformers: rows that are at different places side by side, each with numbers of its own.

    drawer = TransformersDrawer(tuned(load_base(folder), prompt))
    drawer.draw([head] * 500, seeds=list(range(500)), sampling=Sampling(max_tokens=64))

Each head is read once, however many texts begin with it. A text that has ended makes room for the next one at once, so that
passes stay full until the last texts. The number that decides a draw is a hash of the text's seed and of its length so far:
what else is drawn beside it changes nothing (but for rounding, which in float32 turns about one draw in a million).
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from factory.draws import mixed, uniforms
from factory.engines.drawing import RowDraw, penalise, truncate
from factory.engines.protocol import Sampling
from factory.engines.slots import Passes, drawing_mode, most_tokens, refusal
from factory.errors import UserError
from factory.privacy.tuned.drawing import Drawn, check_asked, special_ids, text_of
from factory.privacy.tuned.model import Tuned

_ROWS = {"cpu": 64}
_ROWS_ELSEWHERE = 256
_KEPT = 0.75  # rows that are over leave the passes once no more than this share is left
_STOP_TAIL = 4  # tokens beyond the bytes of a stop string in which it is looked for: a character split over tokens


class Text:
    """A text that is being written.

    Attributes:
        stem: Which of the distinct heads it begins with.
        ids: Tokens so far.
        finished: Whether it came to its end.
        over: Whether nothing more is written.
    """

    def __init__(self, stem: int, seed: int) -> None:
        """Begin."""
        self.stem = stem
        self.seed = seed % 2**64
        self.ids: list[int] = []
        self.finished = self.over = False


class TransformersDrawer:
    """Draws texts with a model of transformers, as `drawing.Drawer`."""

    def __init__(self, model: Tuned, *, rows: int | None = None, context: int | None = None) -> None:
        """Take over a loaded model.

        Args:
            model: With what was tuned for it.
            rows: Texts that are written side by side; their keys and values are held in memory.
            context: Most tokens that are read and written for a text.

        Raises:
            UserError: If passes over the model cannot be made.
        """
        base = model.base
        if sentence := refusal(base.model):
            raise UserError(f"model {base.name}: {sentence}")
        self._tuned: Tuned | None = model
        self._tokenizer = base.tokenizer
        self._rows = rows or _ROWS.get(base.device.type, _ROWS_ELSEWHERE)
        self._most = min((each for each in (context, most_tokens(base.model)) if each), default=None)
        self._ends = special_ids(base.tokenizer) | {base.end} | _configured_ends(base.model)

    @property
    def description(self) -> str:
        """For example `transformers 5.19.0, cpu float32`."""
        import transformers

        base = self._model.base
        return f"transformers {transformers.__version__}, {base.device.type} {str(base.dtype).removeprefix('torch.')}"

    def draw(self, heads: Sequence[Sequence[int]], seeds: Sequence[int], sampling: Sampling) -> list[Drawn]:
        """One text for each head; see `Drawer.draw`."""
        distinct = list(dict.fromkeys(tuple(head) for head in heads))
        places = {head: place for place, head in enumerate(distinct)}
        texts = [Text(places[tuple(head)], seed) for head, seed in zip(heads, seeds, strict=True)]
        base, prompt = self._model
        before = len(base.start) + (0 if prompt is None else len(prompt))
        check_asked(heads, before, sampling, self._most, base.name)
        with drawing_mode(base.model):
            for first in range(0, len(distinct), self._rows):
                stems = range(first, min(first + self._rows, len(distinct)))
                begun = [text for text in texts if text.stem in stems]
                self._write(begun, _Stems(self._model, [distinct[stem] for stem in stems], first), sampling)
        return [self._drawn(text, sampling) for text in texts]

    def close(self) -> None:
        """Free the model."""
        import torch

        self._tuned = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def _model(self) -> Tuned:
        if self._tuned is None:
            raise ValueError("the drawer is closed")
        return self._tuned

    def _write(self, texts: Sequence[Text], stems: _Stems, sampling: Sampling) -> None:
        """Write texts to their end."""
        for first in range(0, len(texts), self._rows):
            begun = texts[first : first + self._rows]
            self._choose(begun, stems.logits(begun), stems, sampling)
        waiting = deque(text for text in texts if not text.over)
        beside = [waiting.popleft() for _ in range(min(self._rows, len(waiting)))]
        if not beside:
            return
        passes = stems.passes.taken([stems.place(text) for text in beside])
        while beside:
            logits = passes.feed([[] if text.over else text.ids[-1:] for text in beside])
            going = [at for at, text in enumerate(beside) if not text.over]
            self._choose([beside[at] for at in going], logits[going], stems, sampling)
            _refill(beside, waiting, passes, stems)
            left = [at for at, text in enumerate(beside) if not text.over]
            if len(left) <= _KEPT * len(beside):
                beside = [beside[at] for at in left]
                if beside:
                    passes.keep(left)

    def _choose(self, texts: Sequence[Text], logits: Any, stems: _Stems, sampling: Sampling) -> None:
        """Draw a token for each text from logits [texts, vocabulary], and end those that are over by it."""
        scores = _scores(logits.float(), texts, stems, sampling)
        keys = mixed(np.array([text.seed for text in texts], dtype=np.uint64))
        numbers = uniforms(keys, np.array([len(text.ids) for text in texts]))
        for text, token in zip(texts, chosen(scores, numbers if sampling.temperature > 0 else None), strict=True):
            if token in self._ends:
                text.finished = text.over = True
                continue
            text.ids.append(token)
            if sampling.stop and self._stopped(text, sampling):
                text.finished = text.over = True
            text.over = text.over or len(text.ids) >= sampling.max_tokens

    def _stopped(self, text: Text, sampling: Sampling) -> bool:
        tail = max(len(stop.encode()) for stop in sampling.stop) + _STOP_TAIL
        found = text_of(self._tokenizer, text.ids[-tail:], Sampling())
        return any(stop in found for stop in sampling.stop)

    def _drawn(self, text: Text, sampling: Sampling) -> Drawn:
        return Drawn(text_of(self._tokenizer, text.ids, sampling), len(text.ids), text.finished)


class _Stems:
    """Distinct heads that the model has read, from which texts go on.

    Attributes:
        passes: A row for each head.
    """

    def __init__(self, model: Tuned, heads: Sequence[tuple[int, ...]], first: int) -> None:
        self.heads = heads
        self._first = first
        self.passes = Passes(model.base.model, len(heads))
        self._logits = self.passes.feed_embeddings([model.opening(head) for head in heads])

    def place(self, text: Text) -> int:
        """Where the head of a text stands."""
        return text.stem - self._first

    def logits(self, texts: Sequence[Text]) -> Any:
        """What the first tokens of these texts are drawn from."""
        return self._logits[[self.place(text) for text in texts]]


def chosen(scores: Any, numbers: npt.NDArray[np.float64] | None) -> list[int]:
    """Draw a token from each row of scores [rows, vocabulary] by inverse transform, summed up in doubles.

    Args:
        scores: Logits over temperature, in float32; minus infinity for what may not be drawn.
        numbers: A number in [0, 1) for each row; None takes the greatest scores.
    """
    import torch

    if numbers is None:
        return [int(token) for token in scores.argmax(-1).tolist()]
    mass = scores.softmax(-1).cumsum(-1, dtype=torch.float64)
    at = torch.from_numpy(numbers).to(mass.device)[:, None] * mass[:, -1:]
    tokens = torch.searchsorted(mass, at, right=True).clamp(max=mass.shape[1] - 1)
    return [int(token) for token in tokens[:, 0].tolist()]


def _scores(logits: Any, texts: Sequence[Text], stems: _Stems, sampling: Sampling) -> Any:
    """Logits after penalties, temperature and truncation, in vLLM's order."""
    import torch

    warmth = sampling.temperature if sampling.temperature > 0 else 1.0
    if not _narrows(sampling):
        return logits / warmth
    rows = []
    for row, text in zip(logits, texts, strict=True):
        draw = RowDraw(list(stems.heads[stems.place(text)]), sampling, text.seed)
        penalised = penalise(row, draw, torch.tensor(text.ids, dtype=torch.long, device=row.device))
        rows.append(truncate(penalised / warmth, sampling))
    return torch.stack(rows)


def _narrows(sampling: Sampling) -> bool:
    """Whether more than the temperature changes the logits."""
    plain = Sampling(max_tokens=sampling.max_tokens, temperature=sampling.temperature, stop=sampling.stop)
    return sampling != plain


def _refill(beside: list[Text], waiting: deque[Text], passes: Passes, stems: _Stems) -> None:
    """Let texts that wait take the places of those that are over."""
    at = [place for place, text in enumerate(beside) if text.over][: len(waiting)]
    if at:
        for place in at:
            beside[place] = waiting.popleft()
        passes.put(at, stems.passes, [stems.place(beside[place]) for place in at])


def _configured_ends(model: Any) -> set[int]:
    config = getattr(model, "generation_config", None)
    found = config.eos_token_id if config is not None else None
    return {int(token) for token in (found if isinstance(found, list) else [found]) if token is not None}
