"""Kernels by name: the default, Triton's where they run, and a plain word where they do not."""

import sys
from dataclasses import replace

import pytest
import torch

from genlock_core.process.options import options_of
from genlock_worker.engines.diffusion.config import MODELS, TINY, TransformerConfig
from genlock_worker.engines.diffusion.network import attention
from genlock_worker.engines.diffusion.network.kernels.choice import KERNELS, KernelsMissing, pointwise, ring_ops
from genlock_worker.engines.diffusion.network.kernels.triton_pointwise import TritonPointwise
from genlock_worker.engines.diffusion.network.kernels.triton_ring import TritonRingOps
from genlock_worker.engines.diffusion.network.pointwise import TorchPointwise
from genlock_worker.engines.diffusion.network.ring_ops import RingOps, TorchRingOps
from genlock_worker.engines.diffusion.options import LoadOptions

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


def chosen(name: str, device: torch.device = CUDA, config: TransformerConfig = TINY) -> RingOps:
    return ring_ops(name, "sdpa", config, device=device, dtype=torch.bfloat16)


@pytest.fixture
def hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (9, 0))


def test_pytorchs_operations_are_the_default_with_the_attention_that_was_asked_for() -> None:
    ops = chosen(LoadOptions().kernels, CPU)
    assert isinstance(ops, TorchRingOps)
    assert ops.attend is attention.sdpa
    assert isinstance(pointwise(LoadOptions().kernels, TINY, device=CPU), TorchPointwise)


@pytest.mark.usefixtures("hopper")
def test_tritons_kernels_run_on_a_gpu_with_every_model() -> None:
    for model in MODELS.values():
        assert isinstance(chosen("triton", config=model.transformer), TritonRingOps)
        assert isinstance(pointwise("triton", model.transformer, device=CUDA), TritonPointwise)


def test_they_are_refused_on_a_cpu() -> None:
    with pytest.raises(KernelsMissing, match=r"--kernels triton: they need an NVIDIA GPU, the device is cpu"):
        chosen("triton", CPU)
    with pytest.raises(KernelsMissing, match=r"the device is cpu"):
        pointwise("triton", TINY, device=CPU)


def test_they_are_refused_on_a_gpu_that_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: (7, 5))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    with pytest.raises(KernelsMissing, match=r"compute capability 8.0 or later, Tesla T4 has 7.5"):
        chosen("triton")


@pytest.mark.usefixtures("hopper")
def test_they_are_refused_for_heads_that_no_block_holds() -> None:
    with pytest.raises(KernelsMissing, match="not of 48"):
        chosen("triton", config=replace(TINY, dim=96))


def test_they_are_refused_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", None)
    with pytest.raises(KernelsMissing, match="need the package triton"):
        chosen("triton")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of: torch, triton"):
        chosen("cuda")
    with pytest.raises(ValueError, match="use one of: torch, triton"):
        pointwise("cuda", TINY, device=CPU)


def test_the_option_takes_these_names() -> None:
    (kind,) = [one.kind for one in options_of(LoadOptions) if one.name == "kernels"]
    assert all(kind.parse(name) == name for name in KERNELS)
