import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genlock_worker.engines.diffusion.execution.fp8 import (
    Fp8Linear,
    Fp8Unsupported,
    quantise,
    require_fp8,
    use_fp8,
)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31), rows=st.integers(1, 9), columns=st.integers(1, 70), size=st.sampled_from([1e-6, 1, 1e4])
)
def test_a_number_is_off_by_a_sixteenth_or_by_half_of_the_smallest_step(
    seed: int, rows: int, columns: int, size: float
) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * size
    values, scales = quantise(matrix)
    assert (values.dtype, scales.shape) == (torch.float8_e4m3fn, (rows, 1))
    off = (values.float() * scales - matrix).abs()
    assert (off <= torch.maximum(matrix.abs() / 16, scales / 1024) * 1.001).all()


def test_zeros_and_the_largest_number_stay_what_they_are() -> None:
    matrix = torch.tensor([[0.0, 0.0], [3.5, -7.0]])
    values, scales = quantise(matrix)
    assert torch.equal(values.float() * scales, matrix)


@pytest.mark.parametrize("bias", [True, False])
def test_a_quantised_layer_gives_nearly_what_the_layer_gave(bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(256, 128, bias=bias), torch.randn(3, 5, 256)
    plain, quantised = layer(x), Fp8Linear(layer)(x)
    assert (quantised.shape, quantised.dtype) == (plain.shape, plain.dtype)
    assert (quantised - plain).norm() / plain.norm() < 0.05


def test_a_token_does_not_depend_on_the_others_of_its_batch() -> None:
    torch.manual_seed(0)
    layer, x = Fp8Linear(nn.Linear(64, 32)), torch.randn(4, 64)
    assert torch.equal(layer(x)[:1], layer(torch.cat([x[:1], 1000 * x[1:]]))[:1])


def test_fp8_is_refused_where_the_device_cannot_multiply_it() -> None:
    with pytest.raises(Fp8Unsupported, match=r"compute capability 8\.9 or later, the device is cpu"):
        use_fp8(nn.Sequential(nn.Linear(16, 16)))


@pytest.mark.parametrize(("capability", "fits"), [((8, 0), False), ((8, 6), False), ((8, 9), True), ((9, 0), True)])
def test_an_older_card_is_refused_by_its_capability(
    capability: tuple[int, int], fits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Old")
    if fits:
        require_fp8(torch.device("cuda"))
        return
    with pytest.raises(Fp8Unsupported, match=rf"8\.9 or later, NVIDIA Old has {capability[0]}\.{capability[1]}"):
        require_fp8(torch.device("cuda"))


def test_only_big_layers_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlock_worker.engines.diffusion.execution.fp8.require_fp8", lambda device: None)
    model = nn.ModuleDict(
        {"big": nn.Sequential(nn.Linear(64, 128), nn.GELU()), "small": nn.Linear(64, 16), "odd": nn.Linear(72, 64)}
    )
    saved = use_fp8(model, least_features=64)
    replaced = {name for name, module in model.named_modules() if isinstance(module, Fp8Linear)}
    assert replaced == {"big.0"}
    assert saved == 64 * 128 * (4 - 1) - 128 * 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_card_that_can_multiplies_as_the_cpu_does() -> None:
    require_fp8(torch.device("cuda"))
    torch.manual_seed(0)
    layer, x = nn.Linear(1024, 2048), torch.randn(64, 1024)
    expected = Fp8Linear(layer)(x)
    answer = Fp8Linear(layer.to("cuda"))(x.to("cuda")).cpu()
    assert (answer - expected).norm() / expected.norm() < 0.01
