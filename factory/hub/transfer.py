"""Bytes on their way to the Hub, counted as they are read, and shown on standard error.

    pushing 12/50 files  1.2/4.0 GB  34.0 MB/s  ETA 01:20

Files whose content was there before count as done at once. Xet reads files by itself: then whole batches are counted.
"""

from __future__ import annotations

import io
import logging
import re
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from factory.hub.files import Upload
from factory.progress import LIVE_EVERY_S, PLAIN_EVERY_S, Speed, clock

UNITS = ("B", "kB", "MB", "GB", "TB")


class Transfer:
    """How far a push has come; a context that shows it while it lasts."""

    def __init__(self, uploads: Sequence[Upload], *, enabled: bool) -> None:
        """Nothing is shown before it is entered."""
        self._sizes = {upload.path: upload.size for upload in uploads}
        self._at = dict.fromkeys(self._sizes, 0)
        self._whole: set[str] = set()
        self._enabled = enabled
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._speed = Speed()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._before: Any = None
        self.stopped = False

    def tell(self, path: str, position: int) -> None:
        """A file was read up to there."""
        self._at[path] = position

    def settle(self, paths: Sequence[str]) -> None:
        """These files are on the Hub."""
        for path in paths:
            self._at[path] = self._sizes[path]
            self._whole.add(path)

    def say(self, sentence: str) -> None:
        """Show one sentence."""
        if self._enabled:
            self._console.print(Text(sentence, style="dim"))

    def line(self, now: float) -> str:
        """All of it on one line."""
        done, total = sum(self._at.values()), sum(self._sizes.values())
        speed = self._speed.now(now, done)
        text = f"pushing {len(self._whole):,}/{len(self._sizes):,} files  {amount(done, total)}/{amount(total)}"
        if speed > 0 and done < total:
            text += f"  {amount(speed)}/s  ETA {clock((total - done) / speed)}"
        return text

    def __enter__(self) -> Transfer:
        """Begin to show; Ctrl-C stops files that are being read, which the client's threads would send to their end."""
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._interrupt)
        if self._enabled:
            self._thread = threading.Thread(target=self._show, name="push-progress", daemon=True)
            self._thread.start()
        return self

    def _interrupt(self, *_: object) -> None:
        self.stopped = True
        raise KeyboardInterrupt

    def __exit__(self, *_: object) -> None:
        """Show the last state."""
        self.stopped = True
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
        self._ended.set()
        if self._thread is not None:
            self._thread.join()

    def _show(self) -> None:
        if not sys.stderr.isatty():
            while not self._ended.wait(PLAIN_EVERY_S):
                self._console.print(Text(self.line(time.monotonic())))
            self._console.print(Text(self.line(time.monotonic())))
            return
        with Live(console=self._console, auto_refresh=False) as live:
            while not self._ended.wait(LIVE_EVERY_S):
                live.update(Text(self.line(time.monotonic())), refresh=True)
            live.update(Text(self.line(time.monotonic())), refresh=True)


def amount(size: float, like: float | None = None) -> str:
    """Bytes in a unit that fits; with `like`, in the unit of that, which is left out.

    >>> amount(1_234_567), amount(500_000, 4e9)
    ('1.2 MB', '0.0')
    """
    power = min(len(UNITS) - 1, (len(str(int(like if like is not None else size))) - 1) // 3)
    number = f"{size / 1000**power:,.{1 if power else 0}f}"
    return number if like is not None else f"{number} {UNITS[power]}"


class Stopped(Exception):
    """The push was interrupted while a file was being sent."""


class _Counted(io.BufferedReader):
    """A file that tells how far it was read."""

    def __init__(self, path: str, name: str, transfer: Transfer) -> None:
        super().__init__(io.FileIO(path))
        self._name = name
        self._transfer = transfer

    def read(self, size: int | None = -1, /) -> bytes:
        if self._transfer.stopped:
            raise Stopped
        found = super().read(-1 if size is None else size)
        self._transfer.tell(self._name, self.tell())
        return found


def addition(upload: Upload, transfer: Transfer) -> Any:
    """The client's operation for a file, which tells how far it was read."""
    from huggingface_hub import CommitOperationAdd

    class Addition(CommitOperationAdd):
        """A file that is counted."""

        @contextmanager
        def as_file(self, with_tqdm: bool = False) -> Iterator[Any]:
            """The content; the client's own bar is not shown."""
            if not isinstance(upload.source, Path):
                yield io.BytesIO(upload.source)
                return
            with _Counted(str(upload.source), upload.path, transfer) as file:
                yield file

    source = upload.source if isinstance(upload.source, bytes) else str(upload.source)
    operation = Addition(path_in_repo=upload.path, path_or_fileobj=source)
    operation.upload_info.sha256 = bytes.fromhex(upload.sha256)
    return operation


@contextmanager
def quiet_client(transfer: Transfer) -> Iterator[None]:
    """The client shows no bars of its own, and says what it says on our lines, without what signs a URL."""
    from huggingface_hub import utils

    client: Any = utils
    logger, ours = logging.getLogger("huggingface_hub"), _Lines(transfer)
    theirs, were_off = list(logger.handlers), client.are_progress_bars_disabled()
    for handler in theirs:
        logger.removeHandler(handler)
    logger.addHandler(ours)
    if not were_off:
        client.disable_progress_bars()
    try:
        yield
    finally:
        logger.removeHandler(ours)
        for handler in theirs:
            logger.addHandler(handler)
        if not were_off:
            client.enable_progress_bars()


class _Lines(logging.Handler):
    def __init__(self, transfer: Transfer) -> None:
        super().__init__(logging.WARNING)
        self._transfer = transfer

    def emit(self, record: logging.LogRecord) -> None:
        self._transfer.say(re.sub(r"\?\S*", "", record.getMessage()))
