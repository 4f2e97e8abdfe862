"""`factory view`: a local page that shows a run directory, searches it, and tries other thresholds.

    index.py      every record's place, state, verdict and text, as arrays and one temporary file
    search.py     substring search over that file, continued as pages are asked for
    desk.py       what the page asks for, over the index of one run (or two)
    server.py     HTTP on 127.0.0.1: token, Host and Origin checks, JSON
    page/         one HTML, one CSS, one JavaScript file, without a build step
"""
