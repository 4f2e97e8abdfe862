"""What a run claims of privacy: the lines of the card, made of the manifest alone; no private row is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from factory.claims import claims_of
from factory.privacy.section import section
from factory.reporting.gather.run import Run
from factory.reporting.markup import Markup, paragraph, table, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Privacy"
ORDER = 120
_CODE = re.compile(r"`([^`]+)`")
_STRONG = re.compile(r"\*\*([^*]+)\*\*")
_BAR = re.compile(r"(?<!\\)\|")


def build(run: Run) -> Panel | LeftOut:
    """Claims, what they rest on, and what they do not cover."""
    if "privacy" not in run.manifest:
        return LeftOut("The recipe has no differentially private step, and nothing is claimed.")
    claims = claims_of(run.manifest)
    parts = [f'<p class="banner"><strong>NOT PRIVATE:</strong> {text(run.not_private)}</p>'] if run.not_private else []
    if not claims and not run.not_private:
        parts.append(paragraph("No step has read private rows."))
    parts += html_of(section(claims))
    epsilons = {claim.step: claim.epsilon for claim in claims}
    return Panel("".join(parts), {"not_private": run.not_private, "epsilon": epsilons})


def html_of(lines: Sequence[str]) -> Iterator[str]:
    """Lines of the card as HTML: paragraphs, items of a list, and tables of two columns."""
    held: list[str] = []
    for line in [*lines, ""]:
        if held and line[:1] != held[-1][:1]:
            yield _block(held)
            held = []
        if line.startswith(("| ", "- ", "|-")):
            held.append(line)
        elif line:
            yield f"<p>{_inline(line)}</p>"


def _block(lines: list[str]) -> str:
    if lines[0].startswith("- "):
        return f"<ul>{''.join(f'<li>{_inline(line[2:])}</li>' for line in lines)}</ul>"
    cells = [[part.strip().replace("\\|", "|") for part in _BAR.split(line.strip("|"))] for line in lines]
    rows = [
        tuple(Markup(_inline(cell)) for cell in row)
        for row in cells
        if any(row) and not set("".join(row)) <= {"-", ":"}
    ]
    return table(("what", "claim"), rows, "What the claim rests on", sort=False)


def _inline(line: str) -> str:
    return _STRONG.sub(r"<strong>\1</strong>", _CODE.sub(r"<code>\1</code>", text(line)))
