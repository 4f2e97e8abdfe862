import pytest


@pytest.fixture(autouse=True)
def _one_core():
    """As `compare` does: threads that wait for each other on a busy machine take a hundred times as long."""
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):
        yield
