"""How new texts are: ROUGE-L to the nearest text kept before, with the threshold, and what another one would do."""

from __future__ import annotations

from collections.abc import Sequence

from factory.reporting.charts.histogram import histogram
from factory.reporting.gather.novelty import Nearest, nearest
from factory.reporting.gather.run import Run
from factory.reporting.markup import KEPT_AND_REJECTED, figure, grid, legend, paragraph, text
from factory.reporting.panels import LeftOut, Panel

TITLE = "Nearest neighbours"
ORDER = 40
MOST_SCORES = 4_000


def build(run: Run) -> Panel | LeftOut:
    """A histogram for each step that compares texts, and a threshold to be moved."""
    found = nearest(run)
    if not found:
        return LeftOut("No step of this run compares texts by ROUGE-L.")
    figures = [figure(_drawing(each), each.told, f"{each.step}: ROUGE-L of {each.field}") for each in found]
    head = paragraph(
        "Similarity of each text to the most similar one kept before it: 0 shares no word in order, 1 is the same. Move the "
        "threshold to see how many of these would pass it; each kept text is taken as it is, so this is a first estimate, and "
        "'factory refilter' gives the exact answer."
    )
    sliders = "".join(_slider(at, each) for at, each in enumerate(found))
    data = {"steps": [_data(each) for each in found]}
    scaled = any(each.kept_weight > 1 or each.rejected_weight > 1 for each in found)
    more = "Where only some texts were compared, bars and counts are scaled up to all of them." if scaled else ""
    note = paragraph(more, run.sampled, kind="soft")
    return Panel(head + legend(KEPT_AND_REJECTED) + grid(figures) + sliders + note, data)


def _drawing(each: Nearest) -> str:
    return histogram(
        {"kept": each.kept, "rejected": each.rejected},
        "ROUGE-L to the nearest text",
        bins=40,
        bounds=(0.0, 1.0),
        line=each.threshold,
        weights={"kept": each.kept_weight, "rejected": each.rejected_weight},
        title=f"ROUGE-L at {each.step}",
    )


def _slider(at: int, each: Nearest) -> str:
    passed, total = each.passing(each.threshold), each.passing(1.0)
    return (
        f'<p class="slider"><label for="limit{at}">Threshold of {text(each.step)}</label> '
        f'<input type="range" id="limit{at}" data-step="{at}" min="0" max="1" step="0.01" value="{each.threshold:g}"> '
        f'<output for="limit{at}" id="passed{at}">{each.threshold:.2f}: {passed:,} of {total:,} pass</output></p>'
    )


def _data(each: Nearest) -> dict[str, object]:
    """Scores for the script, and how many texts each of them stands for."""
    groups = [_thinned(each.kept, each.kept_weight), _thinned(each.rejected, each.rejected_weight)]
    return {"step": each.step, "threshold": each.threshold, "groups": groups, "total": each.passing(1.0)}


def _thinned(scores: Sequence[float], weight: float) -> dict[str, object]:
    """Of many scores, evenly chosen ones of them in order."""
    step = max(1, -(-len(scores) // MOST_SCORES))
    chosen = sorted(scores)[step // 2 :: step]
    return {"scores": [round(score, 4) for score in chosen], "weight": weight * len(scores) / max(1, len(chosen))}
