"""`factory view`: a local page that shows a run directory, searches it, and tries other thresholds.

    batches.py, index.py, texts.py   every record's place, state, verdict and text: arrays, and one temporary file
    search.py, pages.py, reading.py  substring search over that file, lists, whole records
    lineage.py, thresholds.py, rescoring.py, comparing.py, marks.py   what the page shows
    desk.py, answers.py, server.py, view.py   a run that is looked at, questions and answers, HTTP, the command
    page/                            HTML, CSS and JavaScript as they are sent, without a build step

It needs nothing that the package does not bring. Measured beside it at a million records: SQLite's FTS5 with trigrams
takes minutes to build, DuckDB 10 s to load or 3 s for each search over the shards; this index takes seconds.
"""
