import gc
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small gain nothing from a second thread, and where cores are shared their threads wait for each
    other: twenty times as long was measured."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def nobody_collects_garbage() -> Iterator[None]:
    """What is given back without it is given back at once."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()
