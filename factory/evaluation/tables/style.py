"""Colours, markers and the style sheet of the evaluation page.

Sets are told apart by colour and by the form of their marker, so that nobody depends on colours; these are those of Okabe
and Ito (2008), which differ for all kinds of colour vision, a little lighter on a dark ground. References are grey and hollow.
"""

from __future__ import annotations

from typing import Final

COLOURS: Final = ("#0072b2", "#d55e00", "#008f68", "#b5588c", "#b67d00", "#3a93c9")
LIGHTER: Final = ("#5fb0e8", "#ff8a4c", "#35c79b", "#e59bc4", "#f0b429", "#8fd0f5")
MARKERS: Final = ("circle", "square", "diamond", "triangle", "cross", "wedge", "bar")

_VARIABLES: Final = "".join(f"--c{at}: {colour}; " for at, colour in enumerate(COLOURS))
_VARIABLES_DARK: Final = "".join(f"--c{at}: {colour}; " for at, colour in enumerate(LIGHTER))
_CLASSES: Final = "\n".join(f".c{at} {{ color: var(--c{at}); }}" for at in range(len(COLOURS)))

SHEET: Final = f"""
:root {{ color-scheme: light dark; --ground: #ffffff; --text: #1d2126; --soft: #5a636e; --line: #d6dade; --bar: #c9ced4;
  --band: #e8ebee; --heat: 8, 81, 156; {_VARIABLES}}}
@media (prefers-color-scheme: dark) {{ :root {{ --ground: #15181c; --text: #e6e9ec; --soft: #a2abb5; --line: #343a41;
  --bar: #4b535c; --band: #262b31; --heat: 120, 185, 255; {_VARIABLES_DARK}}} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; max-width: 1240px; padding: 20px; background: var(--ground); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }}
h1 {{ font-size: 1.6rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }}
h2 {{ font-size: 1.2rem; margin: 36px 0 4px; padding-top: 10px; border-top: 1px solid var(--line); }}
h3 {{ font-size: 1rem; margin: 0; overflow-wrap: anywhere; }}
p {{ margin: 4px 0 10px; max-width: 76ch; }}
.soft, figcaption, .best {{ color: var(--soft); font-size: .85rem; line-height: 1.4; }}
.grid {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr)); gap: 22px 24px;
  margin-top: 14px; }}
figure {{ margin: 0; min-width: 0; }}
figcaption {{ margin: 2px 0 4px; min-height: 1.4em; }}
svg {{ display: block; width: 100%; height: auto; overflow: visible; }}
svg text {{ fill: var(--text); font-size: 11px; font-variant-numeric: tabular-nums; }}
svg .dim {{ fill: var(--soft); }}
svg .axis {{ stroke: var(--line); stroke-width: 1; }}
svg .best {{ stroke: var(--soft); stroke-width: 1; stroke-dasharray: 3 3; }}
svg .band {{ fill: var(--band); }}
svg .bar {{ fill: var(--bar); }}
svg .mark {{ fill: currentColor; stroke: currentColor; stroke-width: 1.5; }}
svg .whisker {{ stroke: currentColor; stroke-width: 1.6; }}
svg .cell {{ fill: rgb(var(--heat)); }}
svg .frame {{ fill: none; stroke: var(--line); stroke-width: 1; }}
.ref {{ color: var(--soft); }}
svg .ref .mark {{ fill: var(--ground); }}
.legend {{ display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0; font-size: .85rem; }}
.legend span {{ display: inline-flex; align-items: center; gap: 6px; overflow-wrap: anywhere; }}
.legend svg {{ width: 14px; height: 14px; flex: none; }}
.wide {{ overflow-x: auto; margin-top: 10px; }}
table {{ border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }}
th, td {{ text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); vertical-align: top;
  white-space: nowrap; }}
thead th {{ vertical-align: bottom; white-space: normal; overflow-wrap: break-word; min-width: 104px; max-width: 150px; }}
th:first-child, td:first-child {{ text-align: left; white-space: normal; min-width: 170px; max-width: 330px; }}
td small {{ color: var(--soft); display: block; }}
th small {{ color: var(--soft); display: block; font-weight: 400; }}
tr.group th {{ text-align: left; padding-top: 18px; font-size: .95rem; }}
ul {{ margin: 6px 0; padding-left: 20px; max-width: 100ch; }}
li {{ overflow-wrap: anywhere; }}
{_CLASSES}
"""
