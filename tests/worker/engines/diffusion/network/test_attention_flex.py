"""FlexAttention, really compiled: once for each dtype, at the sizes of the tiny model. Everything here reuses that."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
import torch
from torch import Tensor

from genlock_worker.engines.contract import Change, Frames
from genlock_worker.engines.diffusion.components import load_components
from genlock_worker.engines.diffusion.config import MODELS, TINY, StreamOptions
from genlock_worker.engines.diffusion.network import attention
from genlock_worker.engines.diffusion.network.attention import Attend, AttentionMissing
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.engines.diffusion.streaming.micro_step import Forward
from tests.worker.engines.diffusion.streams import components, difference, engine, play, settings

CPU = torch.device("cpu")
LAYERS, SLOTS = 2, 6
TOLERANCES = {torch.float32: 1e-5, torch.bfloat16: 1.6e-2}
"""bfloat16: two of its steps at 1."""

Call = tuple[Tensor, Tensor, Tensor]


@pytest.fixture(scope="module", params=TOLERANCES, ids=["float32", "bfloat16"])
def dtype(request: pytest.FixtureRequest) -> torch.dtype:
    chosen: torch.dtype = request.param
    return chosen


@pytest.fixture(scope="module")
def flex(dtype: torch.dtype) -> Attend:
    if shutil.which(os.environ.get("CXX", "g++")) is None and os.environ.get("CI") != "true":
        pytest.skip("needs a C++ compiler")
    return attention.choose("flex", TINY, device=CPU, dtype=dtype)


@pytest.fixture(autouse=True)
def nothing_more_is_compiled() -> Iterator[None]:
    """What would compile once more than `flex` does is an error, in every test."""
    with torch.compiler.set_stance("fail_on_recompile"):
        yield


def numbers(*shape: int, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, TINY.heads, TINY.head_dim, generator=generator).to(dtype)


def ring_calls(frame_tokens: int, frames: Sequence[int], dtype: torch.dtype) -> Iterator[Call]:
    """As a layer's memory calls it: a row of the queries, keys that were just rotated, values where the ring has them;
    of each row, in each layer."""
    values = numbers(LAYERS, SLOTS * frame_tokens, dtype=dtype)
    for filled in frames:
        new = 2 if filled == 2 else 1  # the first chunk has two frames
        for queries in numbers(2, new * frame_tokens, dtype=dtype):
            for layer in range(LAYERS):
                valid = filled * frame_tokens
                yield queries, numbers(valid, dtype=dtype), values[layer, :valid]


def prompt_calls(frame_tokens: int, text_length: int, dtype: torch.dtype) -> Iterator[Call]:
    keys, values = (numbers(LAYERS, text_length, dtype=dtype) for _ in range(2))
    for queries in numbers(2, frame_tokens, dtype=dtype):
        for layer in range(LAYERS):
            yield queries, keys[layer], values[layer]


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param(lambda dtype: ring_calls(20, (2, 3), dtype), id="a ring that fills"),
        pytest.param(lambda dtype: ring_calls(20, (SLOTS,), dtype), id="a full ring"),
        pytest.param(lambda dtype: ring_calls(135, (SLOTS,), dtype), id="more than a block, and not whole blocks"),
        pytest.param(lambda dtype: prompt_calls(20, 64, dtype), id="a prompt"),
        pytest.param(lambda dtype: prompt_calls(135, 512, dtype), id="a long prompt"),
    ],
)
def test_it_gives_what_pytorchs_gives(
    flex: Attend, dtype: torch.dtype, calls: Callable[[torch.dtype], Iterator[Call]]
) -> None:
    for call in calls(dtype):
        answer, expected = flex(*call), attention.sdpa(*call)
        torch.testing.assert_close(answer, expected, rtol=0, atol=TOLERANCES[dtype])


def test_one_kernel_serves_all_rings_prompts_pictures_and_threads(flex: Attend, dtype: torch.dtype) -> None:
    def serve() -> None:
        for frame_tokens in (16, 20, 64, 127, 128, 135):
            for call in ring_calls(frame_tokens, range(1, SLOTS + 1), dtype):
                assert flex(*call).shape == call[0].shape
            for call in prompt_calls(frame_tokens, 64, dtype):
                assert flex(*call).shape == call[0].shape
        served.append(threading.current_thread())

    served: list[threading.Thread] = []
    serve()
    elsewhere = threading.Thread(target=serve)
    elsewhere.start()
    elsewhere.join()
    assert served == [threading.current_thread(), elsewhere]


def test_what_it_was_not_compiled_for_is_seen_by_these_tests(flex: Attend) -> None:
    with pytest.raises(RuntimeError, match="recompile"):
        flex(*(numbers(16, dtype=torch.float16) for _ in range(3)))


def test_keys_and_values_are_read_where_they_lie(dtype: torch.dtype) -> None:
    ring = numbers(LAYERS, SLOTS * 20, dtype=dtype)
    alias = attention._not_a_view(ring[1, :60].transpose(0, 1).unsqueeze(0))
    assert (alias.data_ptr(), alias.storage_offset(), alias._base) == (ring[1].data_ptr(), 0, None)


def test_a_machine_that_cannot_compile_is_told_so_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(function: object, **how: object) -> Callable[..., Tensor]:
        def fail(*tensors: Tensor) -> Tensor:
            raise RuntimeError("No working C++ compiler found.\nand much more")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(AttentionMissing) as refused:
        attention.choose("flex", TINY, device=CPU, dtype=torch.float32)
    assert str(refused.value) == (
        "attention backend flex cannot be compiled on cpu in torch.float32: No working C++ compiler found.; "
        "it needs a C++ compiler, and AVX2 on a CPU; or use sdpa or auto"
    )


@pytest.mark.parametrize("dtype", [torch.float32], indirect=True, ids=["float32"])
@pytest.mark.usefixtures("flex")
def test_the_engine_paints_the_same_pictures() -> None:
    parts = load_components(
        MODELS["tiny"],
        weights=None,
        device=CPU,
        dtype=torch.float32,
        options=LoadOptions(attention="flex"),
        stream=StreamOptions(),
        progress=lambda _: None,
    )
    expected, pictures = (stream(forward) for forward in (components().transformer, parts.transformer))
    worst = max(difference(ours, theirs) for ours, theirs in zip(pictures, expected, strict=True))
    assert worst < 0.01


def stream(forward: Forward) -> list[Frames]:
    """Until the ring is full and has turned, with another prompt on the way."""
    one = engine(forward=forward)
    one.open("s", settings(steps=2))
    return play(one, "s", range(9), changes={4: Change(prompt="neon")})
