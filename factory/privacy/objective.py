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


class Example(NamedTuple):
    """A text as tokens.

    Attributes:
        head: What the model reads before it.
        text: What it is to write, with the end of text where the text was not cut.
    """

    head: list[int]
    text: list[int]

    @property
    def length(self) -> int:
        """Tokens that the model reads: all but the last."""
        return len(self.head) + len(self.text) - 1


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
        return Example(self.heads[label], [*ids, self._base.end] if whole else ids[: self.max_tokens])


def micro_batches(examples: Sequence[Example], rows: int) -> Iterator[list[Example]]:
    """The examples of a step in parts that are computed at once: sorted by length, so that little is padding.

    What is released does not depend on the parts: gradients are clipped one by one and summed.
    """
    ordered = sorted(examples, key=lambda example: example.length)
    for first in range(0, len(ordered), rows):
        yield ordered[first : first + rows]


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

    rows, width = len(examples), max(example.length for example in examples)
    ids = torch.full((rows, width), base.end, dtype=torch.long)
    mask = torch.zeros((rows, width), dtype=torch.long)
    for row, example in enumerate(examples):
        ids[row, : example.length] = torch.tensor([*example.head, *example.text[:-1]], dtype=torch.long)
        mask[row, : example.length] = 1
    embeds, mask, before = _with_prompt(base, base.embed(ids.to(base.device)), mask.to(base.device), prompt)
    places, owners, targets = _targets(examples, before, base.device)
    hidden = base.hidden(embeds, mask)[owners, places]
    found = cross_entropy(base.logits(hidden), targets, reduction="none")
    return found.new_zeros(rows).index_add(0, owners, found) / scale


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


def _targets(examples: Sequence[Example], before: int, device: Any) -> tuple[Any, Any, Any]:
    """Places that predict a token of a text, the rows that they are in, and the tokens."""
    import torch

    places: list[int] = []
    owners: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        first = before + len(example.head) - 1
        places += range(first, first + len(example.text))
        owners += [row] * len(example.text)
        targets += example.text
    return tuple(torch.tensor(each, dtype=torch.long, device=device) for each in (places, owners, targets))  # type: ignore[return-value]
