"""How some records came to be: their ancestors as a tree, with prompts and answers."""

from __future__ import annotations

from factory.reporting.charts.svg import short
from factory.reporting.gather.lineage import Family, families
from factory.reporting.gather.run import Run
from factory.reporting.markup import details, paragraph, record, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Lineage of some records"
ORDER = 140
DEEPEST = 8
SHORT = 140


def build(run: Run) -> Panel | LeftOut:
    """Trees of some kept and some rejected records."""
    found = families(run)
    if not found:
        return LeftOut("No record of this run was made from another one or from an answer of a model.")
    head = "Each record with what it was made from below it. 'factory why' does this for any record, by its id."
    note = f"Prompts and answers are not shown: {run.no_journal}." if run.no_journal else ""
    trees = "".join(_tree(family, column=run.text_column) for family in found)
    return Panel(paragraph(head, note) + trees, {"records": [family.head for family in found]})


def _tree(family: Family, column: str) -> str:
    return f'<ul class="tree">{_branch(family, family.head, column, 0, set())}</ul>'


def _branch(family: Family, name: str, column: str, depth: int, shown: set[str]) -> str:
    member = family.members.get(name)
    if member is None:
        return f'<li><span class="soft">not shown: <code>{text(name)}</code></span></li>'
    if name in shown:
        return f'<li><span class="soft">as above: <code>{text(name)}</code></span></li>'
    shown.add(name)
    row = member.row
    said = row.fields.get(column) or next((each for each in row.fields.values() if isinstance(each, str) and each), "")
    if not said and row.evidence:
        said = row.evidence
    state = f"{member.state} by {row.step} ({row.rule}: {row.reason})" if row.step else member.state
    exchanges = "".join(
        f"<h4>Prompt {at}</h4><pre>{text(each.prompt)}</pre><h4>Answer {at}</h4><pre>{text(each.answer)}</pre>"
        for at, each in enumerate(member.exchanges, 1)
    )
    made = f"made by {row.made_by}" if member.state != "source row" else f"from {row.made_by}"
    inner = f'<p class="id"><code>{text(row.id)}</code>, {text(made)}</p>{record(row.fields)}{exchanges}'
    children = [_branch(family, parent, column, depth + 1, shown) for parent in row.parents] if depth < DEEPEST else []
    below = f"<ul>{''.join(children)}</ul>" if children else ""
    summary = f"{state}: {short(str(said), SHORT)}"
    return f'<li class="{"rejected" if row.step else "kept"}">{details(summary, inner)}{below}</li>'
