"""Can one tell from the synthetic rows which real rows the generator was trained on?

    membership(to_train, to_holdout, …)  ->  {"attack": Score(0.51, 0.009), "attack_density": Score(0.52, 0.009)}

The attacker has the synthetic rows and some real rows, of which half were trained on, and takes for members those that
have a synthetic row nearby (Chen et al. 2020, GAN-Leaks, section 4.1: full black box). The area under the ROC curve says
how often a member scores higher than a non-member: 0.5 is best, 1.0 is a copying machine.

`attack_density` weighs that by how common such rows are: the score is the log of the distance to the nearest row of
another real sample over the distance to the nearest synthetic row, a nearest-neighbour estimate of the ratio of densities
of DOMIAS (van Breugel et al. 2023, section 3), where they estimate densities with kernels and flows. These are two cheap
attacks; that they fail does not show that better ones would.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from factory.evaluation.tables.scores import Floats, Score, auc

_NEAR: Final = 1e-3  # a thousandth of one column: copies stay comparable


def membership(
    members: Floats, others: Floats, members_real: Floats | None = None, others_real: Floats | None = None
) -> dict[str, Score]:
    """Areas of both attacks, in [0, 1].

    Args:
        members: Distance from each training row to the nearest synthetic row: [members].
        others: The same of real rows that were not trained on: [others].
        members_real: Distance from each training row to the nearest row of a further real sample: [members].
        others_real: The same of the others: [others].
    """
    which = np.arange(len(members) + len(others)) < len(members)
    distances = np.concatenate([members, others])
    found = {"attack": auc(which, -distances)}
    if members_real is not None and others_real is not None:
        usual = np.concatenate([members_real, others_real])
        found["attack_density"] = auc(which, np.log(usual + _NEAR) - np.log(distances + _NEAR))
    return found
