import gc
import threading
from collections.abc import Iterator

import pytest

ENDS_WITHIN_S = 5.0


@pytest.fixture(autouse=True)
def no_device_is_left() -> Iterator[None]:
    """The device of an engine that was stopped or dropped has ended."""
    before = set(threading.enumerate())
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        if thread.name == "mock device":
            thread.join(ENDS_WITHIN_S)
            assert not thread.is_alive(), "an engine is still running"
