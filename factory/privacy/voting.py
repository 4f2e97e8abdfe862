"""Votes of private texts for the synthetic texts that are nearest to them, with noise.

    noisy_votes(voters, ["a", "b"], candidates, ["a", "a", "b"], nearest=1, noise=4.2, …)   ->  [3.917, -0.224, 1.063]

A voter votes for the nearest candidates of its own group with 1 / sqrt(nearest) each, so that one voter more or less moves
all votes together, seen as one vector, by a Euclidean norm of at most 1. That holds over all groups at once, as a voter
votes in one group only: its group is part of its record.

The votes without noise never leave `noisy_votes`. A voter is compared by itself, in a place of memory that is the same for
all: how it votes depends on nobody else, not even through the rounding of a product of matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from factory.privacy.randomness import Randomness

Vectors = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]
DIGITS = 3


def noisy_votes(
    voters: Vectors,
    voter_groups: Sequence[str],
    candidates: Vectors,
    candidate_groups: Sequence[str],
    *,
    nearest: int,
    noise: float,
    randomness: Randomness,
    pay: Callable[[], None],
) -> list[float]:
    """Votes for each candidate, with Gaussian noise.

    Args:
        voters: Unit vectors: [voters, dimensions].
        voter_groups: Group of each; one without candidates casts no vote.
        candidates: Unit vectors: [candidates, dimensions].
        candidate_groups: Group of each.
        nearest: How many candidates a voter votes for, or all of its group if they are fewer.
        noise: Standard deviation; 0 for none.
        randomness: Where the noise comes from.
        pay: Called once, before the noise is drawn; if it raises, nothing is released.

    Returns:
        Votes, to three digits where there is noise: the last bits of a floating-point sum can tell what the noise was
        added to (Mironov 2012).
    """
    counts = _counted(voters, voter_groups, candidates, candidate_groups, nearest)
    pay()
    votes = counts / math.sqrt(nearest)
    if noise:
        votes = np.round(votes + noise * randomness.normals(len(votes)), DIGITS)
    return [float(vote) for vote in votes]


def _counted(
    voters: Vectors, voter_groups: Sequence[str], candidates: Vectors, candidate_groups: Sequence[str], nearest: int
) -> Counts:
    """How many voters have each candidate among their nearest: [candidates]."""
    counts = np.zeros(len(candidates), dtype=np.int64)
    voting, standing = np.array(voter_groups, dtype=object), np.array(candidate_groups, dtype=object)
    one = np.empty(voters.shape[1:], dtype=np.float32)
    for group in dict.fromkeys(candidate_groups):
        places = np.flatnonzero(standing == group)
        those = np.ascontiguousarray(candidates[places])
        for voter in np.flatnonzero(voting == group):
            one[:] = voters[voter]
            counts[places[_nearest(those @ one, nearest)]] += 1
    return counts


def _nearest(cosines: Vectors, count: int) -> npt.NDArray[np.int64]:
    """Places of the greatest; of equal ones the first."""
    if count == 1:
        return np.array([int(np.argmax(cosines))])
    return np.argsort(-cosines, kind="stable")[:count]
