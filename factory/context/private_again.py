"""A run directory learns the private texts of a step once: that others stand in the file now is told before they are paid."""

from __future__ import annotations

from factory.context.context import Context
from factory.errors import UserError
from factory.recipe.private import PrivateSource

META = "private texts/"


def require_same_texts(ctx: Context, data: PrivateSource, settings: str, texts: str) -> None:
    """Make sure that what would be paid for is not the same training of a file that has changed meanwhile.

    Another training, by a recipe that was changed, is asked for by that change.

    Args:
        ctx: Of the step.
        data: Whose texts.
        settings: Digest of everything else that decides what is learnt.
        texts: Digest of the texts.

    Raises:
        UserError: If it is, and the recipe does not say that it may be paid for again.
    """
    before = (ctx.session.journal.meta(META + ctx.step) or " ").split(" ")
    if data.private and not data.again and before[0] == settings and before[1] != texts:
        raise UserError(
            f"{ctx.step}: {data.path} is not what it was when this run directory learnt it. Learning it once more is paid on top: put "
            "the texts back, or set 'data.again: true'.",
        )


def remember_texts(ctx: Context, settings: str, texts: str) -> None:
    """Keep in the journal what `require_same_texts` compares with."""
    ctx.session.journal.set_meta(META + ctx.step, f"{settings} {texts}")
