"""`factory.report`: a run as one HTML page that needs nothing else and asks nobody for anything.

    report("runs/quickstart")  ->  Report(path=Path("runs/quickstart/report.html"), panels=("Summary", …), left_out={…}, …)

`gather` reads facts from the run directory, `charts` draws them as SVG, each module of `panels` is one panel of the page, and
`page` puts them into `template`. A new panel is one new file in `panels`.
"""

from factory.reporting.writing import Report, report

__all__ = ["Report", "report"]
