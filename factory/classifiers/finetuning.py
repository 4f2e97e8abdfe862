"""An encoder that is trained to tell real from synthetic texts, for `factory.classifiers.crossfit`.

    back_end = FineTuned("embedded", Training(epochs=3, learning_rate=2e-5, batch_size=32, max_tokens=128, seed=7))

The mean of the last hidden states, one linear layer, binary cross-entropy, AdamW at a constant rate; every fold begins
from the model as it was published. No early stopping: there are no texts to spare for it. On the first GPU if there is
one, where two trainings need not agree in the last digits; on a CPU they do.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from factory.classifiers.crossfit import Bools, Floats, Ints, Say
from factory.novelty.encoder import load


class Training(NamedTuple):
    """How it is trained; see the options of the `discriminator` filter."""

    epochs: int
    learning_rate: float
    batch_size: int
    max_tokens: int
    seed: int


class FineTuned:
    """A fine-tuned encoder.

    Attributes:
        losses: Mean loss of each epoch, for each training so far.
    """

    def __init__(self, model: str, training: Training) -> None:
        """Nothing is loaded yet.

        Args:
            model: `embedded`, a local folder in Hugging Face layout, or a Hub id.
            training: How it is trained.
        """
        self._model, self._training = model, training
        self._tokens: list[list[int]] = []
        self._padding = 0
        self._network: Any = None  # as it was published
        self.losses: list[list[float]] = []

    def prepare(self, texts: Sequence[str], say: Say) -> None:
        """Load the model and tokenise the texts.

        Raises:
            UserError: If the model cannot be loaded.
        """
        tokenizer, self._network = load(self._model, self._training.max_tokens)
        self._tokens = tokenizer(list(texts), truncation=True, max_length=self._training.max_tokens)["input_ids"]
        self._padding = tokenizer.pad_token_id or 0

    def scores(self, train: Ints, real: Bools, weights: Floats, test: Ints, say: Say) -> Floats:
        """Train the published model anew, and judge: [test]."""
        import torch

        with torch.random.fork_rng():
            torch.manual_seed(self._training.seed)
            network = copy.deepcopy(self._network)
            head = torch.nn.Linear(network.config.hidden_size, 1).to(network.device)
            self._train(network, head, train, real, weights, say)
        return self._probabilities(network, head, test, say)

    def _train(self, network: Any, head: Any, train: Ints, real: Bools, weights: Floats, say: Say) -> None:
        import torch

        network.train()
        optimiser = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=self._training.learning_rate)
        order = np.random.default_rng(self._training.seed)
        size, losses = self._training.batch_size, []
        for epoch in range(self._training.epochs):
            shuffled, total = order.permutation(len(train)), 0.0
            for start in range(0, len(train), size):
                say(f"epoch {epoch + 1} of {self._training.epochs}, {start:,} of {len(train):,} texts")
                chosen = shuffled[start : start + size]
                wanted = torch.tensor(real[chosen], dtype=torch.float32, device=network.device)
                counts = torch.tensor(weights[chosen], dtype=torch.float32, device=network.device)
                logits = self._logits(network, head, train[chosen])
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, counts)
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimiser.step()
                total += float(loss.detach()) * len(chosen)
            losses.append(total / len(train))
        self.losses.append(losses)

    def _probabilities(self, network: Any, head: Any, test: Ints, say: Say) -> Floats:
        """Texts of about one length go together, and each is put back into its place."""
        import torch

        network.eval()
        found = np.zeros(len(test), np.float64)
        by_length = np.argsort([len(self._tokens[place]) for place in test.tolist()], kind="stable")
        with torch.inference_mode():
            for start in range(0, len(test), self._training.batch_size):
                say(f"judging {start:,} of {len(test):,} texts")
                chosen = by_length[start : start + self._training.batch_size]
                logits = self._logits(network, head, test[chosen])
                found[chosen] = torch.sigmoid(logits.double()).cpu().numpy()
        return found

    def _logits(self, network: Any, head: Any, places: Ints) -> Any:
        """Log-odds of being real: [places]."""
        import torch

        batch = [self._tokens[place] for place in places.tolist()]
        width = max(map(len, batch))
        tokens = torch.tensor([ids + [self._padding] * (width - len(ids)) for ids in batch], device=network.device)
        mask = torch.tensor([[1] * len(ids) + [0] * (width - len(ids)) for ids in batch], device=network.device)
        states = network(input_ids=tokens, attention_mask=mask).last_hidden_state
        shown = mask.unsqueeze(-1).to(states.dtype)
        return head((states * shown).sum(dim=1) / shown.sum(dim=1)).squeeze(-1)
