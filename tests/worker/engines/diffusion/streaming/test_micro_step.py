"""What becomes of a forward's answers: one chain for all rows, to the bit what each row gives by itself."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import settings as limits
from hypothesis import strategies as st
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genlock_worker.engines.algorithm import noise
from genlock_worker.engines.algorithm.flow import T2V_STEPS, V2V_STEPS, sigma
from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.contract import EngineFailure
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.network.row_batch import Denoised, RowBatch
from genlock_worker.engines.diffusion.streaming import micro_step
from genlock_worker.engines.diffusion.streaming.micro_step import QueuedRow, queue_rows
from genlock_worker.engines.diffusion.streaming.row_work import Renoise, RowWork, assemble
from tests.worker.engines.diffusion.rows import CPU, empty_ring, text_pool
from tests.worker.engines.diffusion.sync_check import no_host_sync

SIDE = 4
TIMESTEPS = sorted({*V2V_STEPS, *T2V_STEPS, 613})


def flow_of(hidden: Tensor, timestep: float) -> Tensor:
    """What this file's network answers: a row's own, with factors that make every digit count."""
    return (hidden.float() * 1.7 + 0.3).sin() * (timestep / 997.0)


def forward(batch: RowBatch) -> Denoised:
    rows = zip(batch.hidden.unbind(), batch.timesteps.tolist(), strict=True)
    flow = torch.stack([flow_of(hidden, timestep) for hidden, timestep in rows])
    return Denoised(flow, batch.hidden[:, -1, :3, 0, 0].float())


def row_work(
    number: int,
    *,
    timestep: float = 700,
    to: float | None = 500,
    frames: int = 1,
    dtype: torch.dtype = torch.float32,
) -> RowWork:
    return RowWork(
        session=f"s{number}",
        hidden=torch.randn(frames, 16, SIDE, SIDE, generator=torch.Generator().manual_seed(number)).to(dtype),
        timestep=timestep,
        ring=empty_ring(TINY, V2V_RING, frame_tokens=SIDE),
        text=text_pool(TINY).put(*torch.zeros(2, TINY.layers, TINY.text_length, TINY.heads, TINY.head_dim)),
        slots=tuple(range(frames)),
        filled=frames,
        positions=tuple(range(frames)),
        sink_positions=tuple(range(frames)),
        renoise=None if to is None else Renoise(to, seed=number, chunk=3, step=1),
    )


def by_itself(work: RowWork) -> Tensor:
    """The rule for one row, with the host's numbers."""
    x = work.hidden.double() - sigma(work.timestep) * flow_of(work.hidden, work.timestep).double()
    if (to := work.renoise) is not None:
        eps = noise.draw(seed=to.seed, chunk=to.chunk, step=to.step, shape=tuple(x.shape))
        x = (1.0 - sigma(to.timestep)) * x + sigma(to.timestep) * torch.from_numpy(eps)
    return x.to(work.hidden.dtype)


def queued(works: Sequence[RowWork]) -> list[QueuedRow]:
    """All of them fit into memory."""
    rows = queue_rows(works, forward)
    found = [row for row in rows if isinstance(row, QueuedRow)]
    assert len(found) == len(works)
    return found


def latents(works: Sequence[RowWork]) -> list[Tensor]:
    return [row.latents for row in queued(works)]


@st.composite
def row_works(draw: st.DrawFn) -> list[RowWork]:
    dtype = draw(st.sampled_from((torch.float32, torch.bfloat16)))
    timesteps = st.sampled_from(TIMESTEPS)
    return [
        row_work(
            number,
            timestep=draw(timesteps),
            to=draw(st.none() | timesteps),
            frames=draw(st.sampled_from((1, 1, 2))),
            dtype=dtype,
        )
        for number in range(draw(st.integers(1, 6)))
    ]


@limits(deadline=None, max_examples=40)
@given(works=row_works())
def test_rows_together_give_to_the_bit_what_each_gives_alone(works: list[RowWork]) -> None:
    for work, together in zip(works, latents(works), strict=True):
        assert torch.equal(together, by_itself(work))
        assert torch.equal(together, latents([work])[0])


def test_that_comparison_sees_noise_that_went_to_the_row_beside(monkeypatch: pytest.MonkeyPatch) -> None:
    works = [row_work(number) for number in range(3)]
    drawn = micro_step._noise

    def shifted(works: Sequence[RowWork], shape: tuple[int, ...]) -> object:
        return drawn([*works[1:], works[0]], shape)

    monkeypatch.setattr(micro_step, "_noise", shifted)
    assert not any(torch.equal(a, by_itself(work)) for a, work in zip(latents(works), works, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_one_row_that_is_not_finite_is_told_and_the_others_are_what_they_were(bad: float) -> None:
    works = [row_work(number, to=None if number == 2 else 400) for number in range(5)]
    expected = latents(works)
    works[3].hidden[0, 5, 1, 2] = bad
    rows = queued(works)
    assert [row.is_finite for row in rows] == [True, True, True, False, True]
    for number in (0, 1, 2, 4):
        assert torch.equal(rows[number].latents, expected[number])
        assert rows[number].likeness == tuple(works[number].hidden[0, :3, 0, 0].tolist())


def test_rows_of_two_shapes_keep_their_order() -> None:
    works = [row_work(number, frames=2 if number % 2 else 1) for number in range(4)]
    for work, made in zip(works, latents(works), strict=True):
        assert torch.equal(made, by_itself(work))


def test_a_row_keeps_nobody_elses_latents_in_memory() -> None:
    works = [row_work(number) for number in range(4)]
    for work, made in zip(works, latents(works), strict=True):
        assert made.untyped_storage().nbytes() == work.hidden.nbytes


def test_halves_of_what_does_not_fit_give_the_same_and_one_that_never_fits_fails_alone() -> None:
    works = [row_work(number, timestep=float(number)) for number in range(5)]

    def cramped(batch: RowBatch) -> Denoised:
        if batch.hidden.shape[0] > 2 or 3.0 in batch.timesteps.tolist():
            raise torch.OutOfMemoryError("no room")
        return forward(batch)

    rows = queue_rows(works, cramped)
    assert isinstance(rows[3], EngineFailure)
    assert "s3" in str(rows[3])
    for number in (0, 1, 2, 4):
        row = rows[number]
        assert isinstance(row, QueuedRow)
        assert row.is_finite
        assert torch.equal(row.latents, by_itself(works[number]))


def test_all_of_it_is_queued_before_anything_is_waited_for() -> None:
    works = [row_work(number) for number in range(3)]

    def on_the_device(batch: RowBatch) -> Denoised:
        return Denoised((batch.hidden * 0.5).float(), torch.zeros(len(works), 3))

    with no_host_sync(CPU):
        rows = queue_rows(works, on_the_device)
    assert [isinstance(row, QueuedRow) and row.is_finite for row in rows] == [True] * 3


class Launched(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    """Notes every operation that works on numbers."""

    VIEWS = ("aten::unsqueeze", "aten::unbind.int", "aten::view", "aten::slice.Tensor", "aten::select.int")

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.names = list[str]()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Memory that is only taken is no launch.
        if func.name() not in self.VIEWS and not func.name().startswith("aten::empty"):
            self.names.append(func.name())
        return func(*args, **(kwargs or {}))


def launched(count: int) -> list[str]:
    """What follows a forward of so many rows."""
    works = [row_work(number) for number in range(count)]
    batch = assemble(works)
    answer = forward(batch)
    launches = Launched()

    def forward_that_ends_the_first_half(_: RowBatch) -> Denoised:
        launches.names.clear()
        return answer

    with launches:
        queue_rows(works, forward_that_ends_the_first_half)
    return launches.names


def test_as_many_kernels_follow_one_row_as_sixteen() -> None:
    assert launched(16) == launched(5) == launched(1)
    assert 10 < len(launched(1)) < 25
