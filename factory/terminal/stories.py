"""What `factory why` prints: the story of a record, and its lineage as a tree."""

from __future__ import annotations

from collections.abc import Sequence

from factory.inspection import Story
from factory.terminal.layout import CLIP, WIDTH, field_text, indented, measured, printable

LINEAGE_LINES = 40
SHARED_CHARS = 24


def story_text(stories: Sequence[Story], *, full: bool) -> str:
    """What `factory why` prints: the record, then its ancestors."""
    first, *ancestors = stories
    parts = [_story_text(first, clip=10**9 if full else CLIP, exchanges=True)]
    if ancestors:
        parts.append("\n".join(["lineage:", *_lineage(stories)]))
        parts.append(f"made from {len(ancestors)} {'record' if len(ancestors) == 1 else 'records, nearest first'}:")
        parts += [_story_text(story, clip=10**9 if full else 160, exchanges=full) for story in ancestors]
    return "\n\n".join(parts)


def _lineage(stories: Sequence[Story]) -> list[str]:
    """A tree: from the first ancestor down to the record where each has one parent, else from the record to its parents."""
    by_id = {story.id: story for story in stories}
    parents = {story.id: [name for name in story.provenance["parents"] or [] if name in by_id] for story in stories}
    if all(len(names) <= 1 for names in parents.values()):
        chain = list(reversed(stories))
        before = ["", *map(_text_of, chain)]
        leads = ["", *("   " * depth + "└─ " for depth in range(len(chain)))]
        return [_branch(*each) for each in zip(chain, leads, before, strict=False)]
    lines: list[str] = []
    todo, seen = [(stories[0].id, "", "")], {stories[0].id}
    while todo:
        name, lead, below = todo.pop()
        lines.append(_branch(by_id[name], lead))
        found = [parent for parent in dict.fromkeys(parents[name]) if parent not in seen]
        seen.update(found)
        ends = [("├─ ", "│  ")] * (len(found) - 1) + [("└─ ", "   ")]
        todo += [(parent, below + one, below + two) for parent, (one, two) in zip(found, ends, strict=False)][::-1]
    more = len(lines) - LINEAGE_LINES
    return [*lines[:LINEAGE_LINES], f"  … and {more:,} more"] if more > 0 else lines


def _text_of(story: Story) -> str:
    instruction = story.fields.get("instruction")
    texts = [value for value in story.fields.values() if isinstance(value, str) and len(value) > 3]
    return instruction if isinstance(instruction, str) else next(iter(texts), "")


def _branch(story: Story, lead: str, before: str = "") -> str:
    """One line of a tree: its lead, id, what it is, how its text begins, or goes on where the text before it begins so too."""
    fields, step = story.fields, story.provenance["step"]
    kind = f"epoch {fields['epoch']}, {fields['operation']}" if fields.get("operation") else step
    state = "" if story.state in ("kept", "source row", "on the way") else f" ({story.state})"
    text = _text_of(story)
    shared = next(
        (place for place, (one, other) in enumerate(zip(text, before, strict=False)) if one != other),
        min(len(text), len(before)),
    )
    text = f"…{text[shared:]}" if shared > SHARED_CHARS else text
    line = f"{lead}[{story.id}] {kind}{state}: {' '.join(printable(text).split())}"
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


def _story_text(story: Story, *, clip: int, exchanges: bool) -> str:
    provenance = story.provenance
    lines = [f"[{story.id}] {story.state}"]
    if story.verdict is not None:
        verdict = story.verdict
        lines.append(indented(f"rejected in {story.step} by {verdict.rule}: {verdict.reason}{measured(verdict)}"))
        if verdict.evidence:
            lines.append(field_text("evidence", verdict.evidence, clip))
    made = f"made by {provenance['step']}"
    made += f" ({provenance['method']})" if provenance["method"] != provenance["step"] else ""
    if provenance["prompt"]:
        made += f", prompt {provenance['prompt']} ({provenance['prompt_hash']}), seed {provenance['seed']}"
    lines.append(indented(made))
    lines += [field_text(name, value, clip) for name, value in story.fields.items()]
    if provenance["parents"]:
        lines.append(field_text("parents", " ".join(provenance["parents"]), clip))
    if exchanges:
        for number, (request, completion) in enumerate(story.exchanges, 1):
            asked = request.text or "\n".join(f"{message.role}: {message.content}" for message in request.messages)
            lines.append(field_text(f"request {number}", asked, clip))
            lines.append(field_text(f"answer {number} ({completion.finish_reason})", completion.text, clip))
    return "\n".join(lines)
