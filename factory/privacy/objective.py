"""What is learnt of a text: the model reads [soft prompt][head of the class] and is to write the text and its end.

    encoder = Encoder(base, heads={"spam": "Message (spam): "}, max_tokens=64)
    encoder.encode("WIN a prize", "spam")     ->  Example(head=[…], text=[…, end])

The head has no part in the loss (prefix language modelling, as in Kurakin et al. 2023, arXiv 2306.01684). The loss of a text
is the sum over its tokens divided by `max_tokens`, a constant: a mean over the tokens of the batch would let a text change
what others contribute, and no clipping norm would bound that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from factory.errors import UserError
from factory.privacy.base import Base

GRID = 16
_NO_TARGET = -100


class Example(NamedTuple):
    """A text as tokens.

    Attributes:
        head: What the model reads before it.
        text: What it is to write, with the end of text where the text was not cut.
        shortest: Tokens of the shortest head of all classes.
    """

    head: list[int]
    text: list[int]
    shortest: int = 0

    @property
    def length(self) -> int:
        """Tokens that the model reads: all but the last."""
        return len(self.head) + len(self.text) - 1

    @property
    def width(self) -> int:
        """Places that are computed for it: its length on a grid, whatever is computed beside it."""
        return -(-self.length // GRID) * GRID

    @property
    def window(self) -> int:
        """Places whose predictions are computed for it: enough for any text of this width."""
        return self.width - self.shortest + 1


class MicroBatch(NamedTuple):
    """Examples that are computed at once.

    Attributes:
        examples: As many as ever, all of one width; those that were lacking are copies.
        records: How many of them, from the first on, count.
    """

    examples: list[Example]
    records: int


class Encoder:
    """From texts to examples.

    Args:
        base: The model.
        heads: Head of each class; `{"": …}` where there are none.
        max_tokens: Most tokens of a text; longer ones are cut, each by itself, and have no end then.
        before: Tokens of a soft prompt, for which there must be room.

    Raises:
        UserError: If head and text do not fit the context, or a head is empty and nothing stands before it.
    """

    def __init__(self, base: Base, heads: Mapping[str, str], max_tokens: int, before: int = 0) -> None:
        """Tokenise the heads once."""
        self.heads = {label: base.ids(text) for label, text in heads.items()}
        self._shortest = min(map(len, self.heads.values()), default=0)
        self.max_tokens = max_tokens
        self._base = base
        longest = max(map(len, self.heads.values()), default=0) + max_tokens + before + len(base.start)
        if base.context is not None and longest > base.context:
            raise UserError(
                f"max_tokens: a text of {max_tokens:,} tokens takes {longest:,} with what stands before it, and the model "
                f"reads at most {base.context:,}; lower max_tokens."
            )
        if not before and not base.start and not all(self.heads.values()):
            raise UserError("the head of a class has no token, so that the model has nothing to begin from.")

    def encode(self, text: str, label: str) -> Example:
        """Tokens of a text."""
        ids = self._base.ids(text)
        whole = len(ids) < self.max_tokens
        written = [*ids, self._base.end] if whole else ids[: self.max_tokens]
        return Example(self.heads[label], written, self._shortest)


def micro_batches(examples: Sequence[Example], rows: int) -> Iterator[MicroBatch]:
    """The examples of a step in parts that are computed at once.

    The shape of everything that is computed for an example is decided by itself alone: parts are of one width and of one
    number of rows, filled up with copies. Floating-point results depend on shapes, in bfloat16 by a hundredth of a gradient;
    were a shape decided by who else is there, a text could change what others contribute by more than its clipping norm.
    Texts that fill their width are apart: where no row has padding transformers leaves the mask out, and other kernels run.
    """
    groups: dict[tuple[int, bool], list[Example]] = {}
    for example in examples:
        groups.setdefault((example.width, example.length == example.width), []).append(example)
    for kind in sorted(groups):
        for first in range(0, len(groups[kind]), rows):
            part = groups[kind][first : first + rows]
            yield MicroBatch(part + part[:1] * (rows - len(part)), len(part))


def losses(base: Base, examples: Sequence[Example], prompt: Any, scale: float) -> Any:
    """Loss of each example: [rows], at least in float32.

    Args:
        base: The model; with adapters, if it has some.
        examples: At least one.
        prompt: Soft prompts [rows, P, width], one for each row, or None.
        scale: What the sum of the tokens' negative log-likelihoods is divided by.
    """
    import torch
    from torch.nn.functional import cross_entropy

    rows, width = len(examples), max(example.width for example in examples)
    ids = torch.full((rows, width), base.end, dtype=torch.long)
    mask = torch.zeros((rows, width), dtype=torch.long)
    for row, example in enumerate(examples):
        ids[row, : example.length] = torch.tensor([*example.head, *example.text[:-1]], dtype=torch.long)
        mask[row, : example.length] = 1
    embeds, mask, before = _with_prompt(base, base.embed(ids.to(base.device)), mask.to(base.device), prompt)
    places, targets = _targets(examples, before, before + width - 1, base.device)
    hidden = base.hidden(embeds, mask)[torch.arange(rows, device=base.device)[:, None], places]
    logits = base.logits(hidden)
    found = cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none", ignore_index=_NO_TARGET)
    return found.view(rows, -1).sum(dim=1) / scale


def _with_prompt(base: Base, embeds: Any, mask: Any, prompt: Any) -> tuple[Any, Any, int]:
    """Put the start token and the soft prompt before; also gives how many places they take."""
    import torch

    rows = len(embeds)
    parts = []
    if base.start:
        parts.append(base.embed(torch.tensor([base.start], device=base.device)).expand(rows, -1, -1))
    if prompt is not None:
        parts.append(prompt.to(embeds.dtype))
    before = sum(part.shape[1] for part in parts)
    if not parts:
        return embeds, mask, 0
    ones = torch.ones((rows, before), dtype=mask.dtype, device=mask.device)
    return torch.cat([*parts, embeds], dim=1), torch.cat([ones, mask], dim=1), before


def _targets(examples: Sequence[Example], before: int, last: int, device: Any) -> tuple[Any, Any]:
    """Places that predict the tokens of the texts, and the tokens: [rows, window] both; beyond a text there is no target."""
    import torch

    window = max(example.window for example in examples)
    places = torch.zeros((len(examples), window), dtype=torch.long)
    targets = torch.full((len(examples), window), _NO_TARGET, dtype=torch.long)
    for row, example in enumerate(examples):
        places[row] = torch.arange(before + len(example.head) - 1, before + len(example.head) - 1 + window)
        targets[row, : len(example.text)] = torch.tensor(example.text, dtype=torch.long)
    return places.clamp(0, last).to(device), targets.to(device)
