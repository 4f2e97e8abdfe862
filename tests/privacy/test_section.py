"""The privacy section of a card."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from factory.privacy.claim import Audit, Claim
from factory.privacy.section import contradicted, section

CLAIM = Claim(
    step="dp_lora", method="dp_lora", run="0f", private=True, epsilon=1.99031, delta=1e-5, accountant="PRV", mechanism="DP-SGD",
    noise_multiplier=0.9155, max_grad_norm=0.1, sample_rate=256 / 6900, steps=60, records=6900, records_policy="rounded",
    unit="one record", sampler="Poisson", randomness="operating system", labels="equal | shares", epsilon_counts=0.1,
    trained="soft prompt, 20 x 576", ledger_runs=3, ledger_epsilon=4.2,
)  # fmt: skip


def text(**changes: Any) -> str:
    return "\n".join(section([msgspec.structs.replace(CLAIM, **changes)]))


def test_epsilon_is_never_told_smaller_than_it_is() -> None:
    assert "| epsilon | 1.9904, of which at most 0.01 is the accountant's error, 0.1 of it for label counts |" in text()
    assert "| epsilon | 2.0000," in text(epsilon=2.0)
    assert "| epsilon | 0.0001," in text(epsilon=1e-6)
    assert "| epsilon | infinite |" in text(epsilon=None, private=False)


def test_what_does_not_apply_is_left_out() -> None:
    assert "clipping norm" not in text(max_grad_norm=None)
    assert "accountant's error" not in text(accountant_error=0.0)
    assert "ledger of the data" not in text(private_source=False)
    assert "| source | declared public |" in text(private_source=False)


def test_a_unit_that_covers_persons_needs_no_word_on_several_records() -> None:
    assert "Several records of one person" in text()
    assert "Several records of one person" not in text(unit="one user (column 'customer'), who has one text")


def test_a_table_stays_a_table() -> None:
    assert "| labels | equal \\| shares |" in text()
    assert all(line.count("|") - line.count("\\|") == 3 for line in text().splitlines() if line.startswith("|"))


@pytest.mark.parametrize("bound", [0.38, 3.75])
def test_an_audit_is_told_as_a_lower_bound(bound: float) -> None:
    audit = Audit(kind="white-box", lower_bound=bound, confidence=0.95, violation=bound > 2)
    told = text(audits=(audit,))
    assert f"white-box: epsilon is at least {bound:.2f} (confidence 95%)" in told
    assert "an audit proves nothing safe" in told
    assert ("which contradicts the claim" in told) == (bound > 2)
    assert contradicted(msgspec.structs.replace(CLAIM, audits=(audit,))) == (audit if bound > 2 else None)
    assert "| audits | none |" in text()
    assert "proves nothing safe" not in text()


def test_a_run_without_a_claim_that_holds_does_not_say_what_it_covers() -> None:
    assert "does not cover" in text()
    told = text(private=False, why_not="no noise", epsilon=None)
    assert told.startswith("`dp_lora`: this is NOT differentially private: no noise.")
    assert "does not cover" not in told


def test_steps_that_read_the_same_texts_add_up() -> None:
    """Each claim is of its step alone; who publishes the rows publishes those of all."""
    other = msgspec.structs.replace(CLAIM, step="second", run="1f", epsilon=3.0)
    together = "rows of all steps together are (5, 2e-05)-differentially private for adding or removing one record"
    assert together in "\n".join(section([CLAIM, other]))
    for alone in ([CLAIM], [CLAIM, msgspec.structs.replace(other, run="0f")]):
        assert "together are" not in "\n".join(section(alone))
    user = msgspec.structs.replace(other, unit="one user (column 'who'), who has one text")
    assert "nothing is claimed for the rows of all together" in "\n".join(section([CLAIM, user]))


def test_a_number_that_is_told_without_noise_is_said_to_be() -> None:
    assert "The rounded number of records" in text()
    assert "The rounded number of records" not in text(records_policy="public")
