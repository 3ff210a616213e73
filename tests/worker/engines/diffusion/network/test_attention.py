import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor

from genlock_core.process.options import options_of
from genlock_worker.engines.diffusion.config import TINY
from genlock_worker.engines.diffusion.network import attention
from genlock_worker.engines.diffusion.network.attention import AttentionMissing
from genlock_worker.engines.diffusion.options import LoadOptions

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def heads(tokens: int, seed: int) -> Tensor:
    return torch.randn(tokens, 2, 8, generator=torch.Generator().manual_seed(seed))


def softmaxed(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    scores = torch.einsum("nhd,mhd->hnm", queries, keys) / 8**0.5
    return torch.einsum("hnm,mhd->nhd", scores.softmax(-1), values)


def installed(monkeypatch: pytest.MonkeyPatch, module: str, *, with_sums: bool) -> list[tuple[int, ...]]:
    """A stand-in for a FlashAttention package; returns the shapes of the queries that it is given."""
    seen: list[tuple[int, ...]] = []

    def flash_attn_func(q: Tensor, k: Tensor, v: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        seen.append(tuple(q.shape))
        out = torch.stack([softmaxed(*row) for row in zip(q, k, v, strict=True)])
        return (out, q.sum()) if with_sums else out

    package = ModuleType(module)
    vars(package).update(flash_attn_func=flash_attn_func)
    monkeypatch.setitem(sys.modules, module, package)
    return seen


def test_pytorchs_is_the_softmax_over_all_keys_also_of_a_part_of_a_cache() -> None:
    queries, keys, values = heads(3, 1), heads(9, 2)[:5], heads(9, 3)[:5]
    torch.testing.assert_close(attention.sdpa(queries, keys, values), softmaxed(queries, keys, values))


def test_without_a_gpu_auto_is_pytorchs() -> None:
    assert attention.choose("auto", TINY, device=CPU, dtype=torch.float32) is attention.sdpa
    assert attention.choose("sdpa", TINY, device=CPU, dtype=torch.bfloat16) is attention.sdpa


@pytest.mark.parametrize(("name", "module"), [("flash2", "flash_attn"), ("flash3", "flash_attn_interface")])
@pytest.mark.parametrize("with_sums", [False, True])
def test_an_installed_flash_attention_is_called_with_a_batch_of_one(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str, with_sums: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    seen = installed(monkeypatch, module, with_sums=with_sums)
    attend = attention.choose(name, TINY, device=CUDA, dtype=torch.bfloat16)
    queries, keys, values = heads(3, 1), heads(5, 2), heads(5, 3)
    torch.testing.assert_close(attend(queries, keys, values), softmaxed(queries, keys, values))
    assert seen == [(1, 3, 2, 8)]


@pytest.mark.parametrize(("capability", "flash"), [((9, 0), True), ((8, 9), False), ((10, 0), False)])
def test_auto_takes_flash_attention_3_only_where_its_kernels_run(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], flash: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    installed(monkeypatch, "flash_attn_interface", with_sums=False)
    chosen = attention.choose("auto", TINY, device=CUDA, dtype=torch.bfloat16)
    assert (chosen is not attention.sdpa) == flash


@pytest.mark.parametrize(("name", "module"), [("flash2", "flash_attn"), ("flash3", "flash_attn_interface")])
def test_one_that_was_asked_for_and_is_not_there_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, name: str, module: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (9, 0))
    monkeypatch.setitem(sys.modules, module, SimpleNamespace())
    with pytest.raises(AttentionMissing, match=f"{name} needs {module}.flash_attn_func.*use sdpa or auto"):
        attention.choose(name, TINY, device=CUDA, dtype=torch.bfloat16)


@pytest.mark.parametrize(("device", "dtype"), [(CPU, torch.bfloat16), (CUDA, torch.float32)])
def test_flash_attention_is_refused_where_it_cannot_run(device: torch.device, dtype: torch.dtype) -> None:
    with pytest.raises(AttentionMissing, match="runs on CUDA in bfloat16"):
        attention.choose("flash2", TINY, device=device, dtype=dtype)


def test_flash_attention_3_is_refused_on_other_cards_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (8, 9))
    with pytest.raises(AttentionMissing, match="needs a Hopper GPU"):
        attention.choose("flash3", TINY, device=CUDA, dtype=torch.bfloat16)


def test_a_name_that_is_none_is_an_error_that_lists_them() -> None:
    with pytest.raises(ValueError, match="use one of: auto, sdpa, flash2, flash3, flex"):
        attention.choose("fast", TINY, device=CPU, dtype=torch.float32)


def test_every_backend_can_be_asked_for_on_the_command_line() -> None:
    (kind,) = [one.kind for one in options_of(LoadOptions) if one.name == "attention"]
    assert [kind.parse(name) for name in attention.BACKENDS] == list(attention.BACKENDS)
