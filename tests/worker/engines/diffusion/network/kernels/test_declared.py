"""A custom op runs, fakes and declares what its one plan says."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.diffusion.network.kernels.declared import DeclaredOp, Launch, Launches, PlannedCall


class Doubling:
    """Stands for a kernel: what `triton.jit` makes is indexed with a grid and called."""

    __name__ = "doubling"

    def __init__(self) -> None:
        self.launched: list[tuple[tuple[int, int, int], dict[str, object]]] = []

    def __getitem__(self, grid: tuple[int, int, int]) -> "Doubling":
        self.launched.append((grid, {}))
        return self

    def __call__(self, given: Tensor, out: Tensor, **options: object) -> None:
        self.launched[-1][1].update(options)
        out.copy_(2 * given)


DOUBLING = Doubling()


@cache
def doubled() -> DeclaredOp:
    """In PyTorch's registry names are for ever."""

    def plan(given: Tensor) -> PlannedCall:
        out = torch.empty_like(given)
        launch = Launch(DOUBLING, (len(given), 1, 1), (given, out), {"BLOCK": 4}, warps=8)
        return PlannedCall((out,), (launch,), given.nbytes + out.nbytes)

    return DeclaredOp("test_doubled", "(Tensor given) -> Tensor", plan)


@pytest.fixture(autouse=True)
def nothing_launched() -> None:
    DOUBLING.launched.clear()


def test_a_call_launches_what_is_planned() -> None:
    answer = doubled()(torch.tensor([1.0, 2.0]))
    assert answer.tolist() == [2.0, 4.0]
    assert DOUBLING.launched == [((2, 1, 1), {"BLOCK": 4, "num_warps": 8, "num_stages": 2, "enable_fp_fusion": True})]


def test_it_launches_on_the_device_that_its_tensors_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not on the thread's current one."""
    given = torch.tensor([1.0, 2.0])
    seen: list[tuple[Tensor, int, int]] = []

    @contextmanager
    def device_of(tensor: Tensor) -> Iterator[None]:
        before = len(DOUBLING.launched)
        yield
        seen.append((tensor, before, len(DOUBLING.launched)))

    monkeypatch.setattr(torch.cuda, "device_of", device_of)
    doubled()(given)
    ((tensor, before, after),) = seen
    assert tensor is given or tensor.data_ptr() == given.data_ptr()
    assert (before, after) == (0, 1)


def test_meta_tensors_run_through_it_and_launch_nothing() -> None:
    answer = doubled()(torch.empty(3, dtype=torch.bfloat16, device="meta"))
    assert (answer.shape, answer.dtype, answer.device.type) == ((3,), torch.bfloat16, "meta")
    assert not DOUBLING.launched


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_it_declares_its_launches_without_making_them(device: str) -> None:
    assert doubled().launches(torch.empty(3, device=device)) == Launches(("doubling",), 24)
    assert not DOUBLING.launched
