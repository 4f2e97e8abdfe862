"""The loss of a batch and its gradient, for any causal language model of transformers.

    gradients = Gradients(model, bf16=True)
    gradients.learn([batch])    # 1.234, nats per learnt token; parameters now have their .grad

What costs most beside the layers is the head: logits of every token over the whole vocabulary. Here the head sees only
tokens whose successor is learnt, its logits are never copied to float32 as a whole, and its gradient is made where they
lie. On a CPU, attention in bfloat16 is done as two products of matrices: torch's fused kernel is five times slower
backwards there. Both are checked against the model's own logits before use, and left alone where they differ.

Rows are padded on the right. Under causal attention no token sees what comes after it, so padding needs no mask: what is
learnt is the same with one, and faster without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from typing import Any

from factory.engines.attention import registered
from factory.tables.great.batches import Batch

Tensor = Any
BLOCK_BYTES = 8 * 2**20
LOGITS_BYTES = 256 * 2**20
# How far apart two log-probabilities may be, relative to their mean size, for attention to count as the same. In
# bfloat16 rounding alone makes 0.009 (SmolLM2-135M); a window or scores a tenth larger make 0.03 and more.
SAME, SAME_IN_BF16 = 1e-4, 0.02


class Gradients:
    """Losses and gradients of one model.

    Args:
        model: A causal language model, perhaps with adapters of peft; some of its parameters want gradients.
        bf16: Whether products are made in bfloat16.
    """

    def __init__(self, model: Any, *, bf16: bool) -> None:
        """Take over a model on its device, and find the fastest way through it that gives its own logits."""
        import torch

        self._model = model
        inner = model.get_base_model() if hasattr(model, "peft_config") else model
        self._inner, self._body, self._head = inner, inner.base_model, inner.get_output_embeddings()
        self._device = next(model.parameters()).device
        self._dtype = torch.bfloat16 if bf16 else torch.float32
        self._bf16 = bf16
        self._room: tuple[Tensor, Tensor] | None = None
        self.split = self._same_without_head()
        self.own_attention = self._use_own_attention()

    def learn(self, batches: Sequence[Batch], seed: int | None = None) -> float:
        """Add the gradient of the mean loss over the learnt tokens of all batches.

        Args:
            batches: Rows.
            seed: Decides dropout; None where there is none.

        Returns:
            The mean loss in nats per learnt token.
        """
        import torch

        count = sum(sum(map(sum, batch.learnt)) for batch in batches)
        with torch.random.fork_rng(devices=self._forked(), enabled=seed is not None):
            if seed is not None:
                torch.manual_seed(seed % 2**63)
            return sum(self._learn(batch, count) for batch in batches)

    def loss(self, batches: Iterable[Batch]) -> float:
        """The mean loss in nats per learnt token."""
        import torch

        total, count = 0.0, 0
        with torch.no_grad():
            for batch in batches:
                total += self._learn(batch, 1, backward=False)
                count += sum(map(sum, batch.learnt))
        return total / max(1, count)

    def _learn(self, batch: Batch, count: int, *, backward: bool = True) -> float:
        tokens, places, targets = self._tensors(batch)
        if not self.split:
            return self._learn_plainly(tokens, places, targets, count, backward)
        with self._autocast():
            hidden = self._body(input_ids=tokens, use_cache=False).last_hidden_state
        hidden = hidden.reshape(-1, hidden.shape[-1])[places]
        loss, gradient = self._through_head(hidden.detach(), targets, 1 / count, backward)
        if backward:
            hidden.backward(gradient.to(hidden.dtype))
        return loss

    def _learn_plainly(self, tokens: Tensor, places: Tensor, targets: Tensor, count: int, backward: bool) -> float:
        import torch

        with self._autocast():
            logits = self._model(input_ids=tokens, use_cache=False).logits
        chosen = logits.reshape(-1, logits.shape[-1])[places].float()
        loss = torch.nn.functional.cross_entropy(chosen, targets, reduction="sum") / count
        if backward:
            loss.backward()  # type: ignore[no-untyped-call]
        return float(loss)

    def _through_head(self, hidden: Tensor, targets: Tensor, scale: float, backward: bool) -> tuple[float, Tensor]:
        """Loss of hidden states [n, width], times `scale`, and its gradient to them; adds that to the head's weights."""
        import torch

        with torch.no_grad():
            weight = self._head.weight
            cast, hidden = weight.to(self._dtype), hidden.to(self._dtype)
            step = max(1, LOGITS_BYTES // (cast.element_size() * cast.shape[0]))
            total, parts = 0.0, []
            for at in range(0, len(hidden), step):
                rows = hidden[at : at + step]
                logits = self._logits(rows, cast)
                total += _into_gradient(logits, targets[at : at + step], scale, self._block(cast))
                if backward:
                    parts.append(logits @ cast)
                    if weight.requires_grad:
                        added = (logits.T @ rows).to(weight.dtype)
                        weight.grad = added if weight.grad is None else weight.grad.add_(added)
            return total, torch.cat(parts) if parts else hidden

    def _logits(self, rows: Tensor, weight: Tensor) -> Tensor:
        """Logits [n, vocabulary] in room that is kept, since to take so much from the system each time costs more."""
        import torch

        if self._room is None or len(self._room[0]) < len(rows):
            self._room = (
                torch.empty(len(rows), len(weight), dtype=weight.dtype, device=weight.device),
                torch.empty(0, device=weight.device),
            )
        return torch.mm(rows, weight.T, out=self._room[0][: len(rows)])

    def _block(self, weight: Tensor) -> Tensor:
        """Room for some rows of logits in float32, small enough for a cache."""
        import torch

        room = self._room
        if room is None or not len(room[1]):
            rows = max(1, BLOCK_BYTES // (4 * len(weight))) if weight.device.type == "cpu" else 4096
            block = torch.empty(rows, len(weight), dtype=torch.float32, device=weight.device)
            self._room = (room[0] if room else block, block)
            return block
        return room[1]

    def _tensors(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Padded tokens [rows, length], flat places of hidden states that predict, and the tokens they should."""
        import torch

        length = max(map(len, batch.tokens))
        tokens = [row + [0] * (length - len(row)) for row in batch.tokens]
        places = [
            number * length + at - 1
            for number, row in enumerate(batch.learnt)
            for at, learnt in enumerate(row)
            if learnt
        ]
        targets = [
            token
            for row, learnt in zip(batch.tokens, batch.learnt, strict=True)
            for token, wanted in zip(row, learnt, strict=True)
            if wanted
        ]
        found = (torch.tensor(each, device=self._device) for each in (tokens, places, targets))
        return next(found), next(found), next(found)

    def _autocast(self) -> Any:
        import torch

        return torch.autocast(self._device.type, torch.bfloat16, enabled=self._bf16)

    def _forked(self) -> list[int]:
        return [self._device.index or 0] if self._device.type == "cuda" else []

    def _probe(self, split: bool, *, bf16: bool = True) -> Tensor:
        import torch

        tokens = torch.arange(24, device=self._device).reshape(2, 12) % self._inner.config.get_text_config().vocab_size
        training = self._model.training
        self._model.eval()
        with torch.no_grad(), self._autocast() if bf16 else nullcontext():
            if split:
                logits = self._head(self._body(input_ids=tokens, use_cache=False).last_hidden_state)
            else:
                logits = self._model(input_ids=tokens, use_cache=False).logits
        self._model.train(training)
        return logits.float().log_softmax(-1)

    def _same_without_head(self) -> bool:
        """Whether the logits are nothing but the head's weights times the last hidden states."""
        import torch

        if not isinstance(self._head, torch.nn.Linear) or self._head.bias is not None:
            return False
        return bool(torch.allclose(self._probe(split=False), self._probe(split=True), atol=1e-3))

    def _use_own_attention(self) -> bool:
        """Turn to our attention where it is faster and gives the same."""
        before = getattr(self._inner.config, "_attn_implementation", None)
        if not (self._bf16 and self._device.type == "cpu" and before == "sdpa"):
            return False
        import torch

        exact = all(weights.dtype == torch.float32 for weights in self._model.parameters())
        expected = self._probe(split=False, bf16=not exact)
        self._inner.set_attn_implementation(registered())
        apart = (self._probe(split=False, bf16=not exact) - expected).abs().mean() / expected.abs().mean()
        if float(apart) < (SAME if exact else SAME_IN_BF16):
            return True
        self._inner.set_attn_implementation(before)
        return False

    def close(self) -> None:
        """Give the model its own attention back, and free what was kept."""
        self._room = None
        if self.own_attention:
            self._inner.set_attn_implementation("sdpa")


def _into_gradient(logits: Tensor, targets: Tensor, scale: float, room: Tensor) -> float:
    """Summed cross-entropy of logits [n, vocabulary] times `scale`; the logits become its gradient in their place."""
    total = None
    for at in range(0, len(logits), len(room)):
        part = logits[at : at + len(room)]
        block, target = room[: len(part)].copy_(part), targets[at : at + len(part), None]
        block -= block.amax(1, keepdim=True)
        reached = block.gather(1, target)
        block.exp_()
        mass = block.sum(1, keepdim=True)
        loss = (mass.log() - reached).sum()
        total = loss if total is None else total + loss
        block.mul_(scale / mass)
        block.scatter_add_(1, target, block.new_full(target.shape, -scale))
        part.copy_(block)
    return 0.0 if total is None else float(total) * scale
