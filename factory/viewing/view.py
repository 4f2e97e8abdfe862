"""`factory.view`: show a run directory on a local page until it is stopped.

    view("runs/quickstart")            # opens a browser; Ctrl-C ends it
    export_marks("runs/quickstart", "marks.csv")

Both read the directory; only `marks=True` lets the page write there, and then to `marks.jsonl` alone.
"""

from __future__ import annotations

import time
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from factory.datasets_io.whole import write_whole
from factory.errors import UserError
from factory.viewing.answers import Answers, exported
from factory.viewing.desk import Desk
from factory.viewing.marks import Marks
from factory.viewing.server import Server

FORMS = ("jsonl", "csv")


@contextmanager
def opened(
    path: str | Path,
    *,
    port: int = 0,
    marks: bool = False,
    compare: str | Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Server]:
    """A server for a run directory; whoever opens it calls `serve_forever`.

    Args:
        path: Run directory, in any state.
        port: Port on 127.0.0.1; 0 takes a free one.
        marks: Whether records may be marked, which writes `marks.jsonl` there.
        compare: Another run directory, which counts as the newer one.
        say: Gets a sentence when something is ready.

    Raises:
        UserError: If a directory holds no run, or the port is taken.
    """
    desk = Desk(Path(path), say)
    other = None if compare is None else Desk(Path(compare))
    server = Server(Answers(desk, Marks(Path(path)), writable=marks, other=other), port)
    desks = [desk] if other is None else [desk, other]
    try:
        for one in desks:
            one.start()
        yield server
    finally:
        server.server_close()
        for one in desks:
            one.close()


def view(
    path: str | Path,
    *,
    port: int = 0,
    browser: bool = True,
    marks: bool = False,
    compare: str | Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Show a run directory until Ctrl-C.

    Args:
        path: Run directory, in any state.
        port: Port on 127.0.0.1; 0 takes a free one.
        browser: Whether to open a browser.
        marks: Whether records may be marked, which writes `marks.jsonl` there.
        compare: Another run directory, which counts as the newer one.
        say: Gets the link, and a sentence when the index is ready.

    Raises:
        UserError: If a directory holds no run, or the port is taken.
    """
    with opened(path, port=port, marks=marks, compare=compare, say=say) as server:
        say(server.url)
        if browser:
            webbrowser.open(server.url)
        try:
            server.serve_forever(poll_interval=0.2)
        except KeyboardInterrupt:
            say("stopped")


def export_marks(path: str | Path, out: str | Path) -> int:
    """Write all marks of a run with their records; returns how many.

    Args:
        path: Run directory.
        out: A `.jsonl` or `.csv` file.

    Raises:
        UserError: If there is no run, the file has another ending, or cannot be written.
    """
    target = Path(out)
    form = target.suffix.removeprefix(".")
    if form not in FORMS:
        raise UserError(f"{target}: marks are written as .jsonl or .csv; give the file one of these endings.")
    desk, marks = Desk(Path(path)), Marks(Path(path))
    if target.resolve() == marks.path.resolve():
        raise UserError(f"{target}: is where the marks themselves are kept; give another file.")
    desk.start()
    try:
        while not desk.shelf.done:
            time.sleep(0.02)
        text = exported(desk, marks, form)
    finally:
        desk.close()
    try:
        write_whole(target, text.encode("utf-8", "replace"))
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror or error}); give another file.") from error
    return len(marks.all())
