"""What holds for all tests."""

from __future__ import annotations

import os
import signal

from hypothesis import HealthCheck, settings

# The same examples on every machine, however busy it is; FACTORY_SLOW=1 looks for new ones.
settings.register_profile(
    "same", derandomize=True, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("new", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_configure() -> None:
    """Ctrl-C works in the processes that tests start, also where this one runs in the background and ignores it."""
    settings.load_profile("same" if os.environ.get("FACTORY_SLOW", "0") == "0" else "new")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
