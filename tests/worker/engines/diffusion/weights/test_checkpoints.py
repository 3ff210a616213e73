"""Checkpoints are read strictly: what is not exactly the model is an error that says in what it differs."""

import contextlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.config import MODELS, TINY
from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.network.transformer import CausalWan
from genlock_worker.engines.diffusion.weights.checkpoints import (
    WeightsCheckpoint,
    load_into,
    open_checkpoint,
    shapes,
)
from genlock_worker.engines.diffusion.weights.key_names import transformer_names

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """What is small here is faster so, and other tests want the cores."""
    torch.set_num_threads(1)


def empty() -> CausalWan:
    with torch.device("meta"):
        return CausalWan(TINY, layout=V2V_RING)


def weights(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes(empty()).items()}


def load(path: Path, dtype: torch.dtype = torch.float32) -> CausalWan:
    model = empty()
    load_into(model, open_checkpoint([path]), transformer_names, device=CPU, dtype=dtype)
    return model


def saved(path: Path, content: Any) -> Path:
    if path.suffix == ".safetensors":
        save_file(content, path)
    else:
        torch.save(content, path)
    return path


def prefixed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"model.{name}": tensor for name, tensor in tensors.items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda w: w,
        prefixed,
        lambda w: {"generator": prefixed(w)},
        lambda w: {"generator": w, "generator_ema": {}, "step": 3},
        lambda w: {"generator_ema": prefixed(w)},
        lambda w: {"state_dict": w},
    ],
    ids=["bare", "prefix", "generator", "generator of two", "ema", "state_dict"],
)
def test_a_published_checkpoint_loads_however_it_is_wrapped(wrap: Callable[..., Any], tmp_path: Path) -> None:
    tensors = weights()
    loaded = load(saved(tmp_path / "model.pt", wrap(tensors))).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_safetensors_load(tmp_path: Path) -> None:
    tensors = weights()
    loaded = load(saved(tmp_path / "transformer.safetensors", tensors)).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_shards_load_as_one(tmp_path: Path) -> None:
    names = sorted(weights())
    parts = [{name: weights()[name] for name in half} for half in (names[:30], names[30:])]
    files = [saved(tmp_path / f"{number}.safetensors", part) for number, part in enumerate(parts)]
    model = empty()
    load_into(model, open_checkpoint(files), transformer_names, device=CPU, dtype=torch.float32)
    assert torch.equal(model.state_dict()["head.head.weight"], weights()["head.head.weight"])


def test_a_tensor_in_two_shards_is_refused(tmp_path: Path) -> None:
    files = [saved(tmp_path / f"{number}.safetensors", {"a": torch.zeros(1)}) for number in range(2)]
    with pytest.raises(WrongCheckpoint, match="another shard holds: a"):
        open_checkpoint(files)


def test_diffusers_names_become_the_published_ones(tmp_path: Path) -> None:
    tensors = weights()
    renamed = convert_wan_transformer_to_diffusers(dict(tensors))  # type: ignore[no-untyped-call]
    assert renamed.keys() != tensors.keys()
    loaded = load(saved(tmp_path / "diffusion_pytorch_model.safetensors", renamed)).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_the_weights_get_the_dtype_that_is_asked_for_and_need_no_gradients(tmp_path: Path) -> None:
    model = load(saved(tmp_path / "model.pt", weights()), torch.bfloat16)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not model.training


@pytest.mark.parametrize("name", ["model.pt", "transformer.safetensors"])
def test_a_loaded_model_does_not_depend_on_its_file_any_more(name: str, tmp_path: Path) -> None:
    path = saved(tmp_path / name, weights())
    model = load(path)
    before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
    with path.open("r+b") as file:
        file.write(os.urandom(path.stat().st_size))
    assert all(torch.equal(before[key], tensor) for key, tensor in model.state_dict().items())


def refusal(path: Path) -> str:
    with pytest.raises(WrongCheckpoint) as raised:
        load(path)
    assert raised.value.path == path
    return str(raised.value)


def test_a_missing_and_an_unexpected_tensor_are_named(tmp_path: Path) -> None:
    tensors = weights()
    tensors["blocks.1.extra.weight"] = tensors.pop("blocks.1.norm3.weight")
    message = refusal(saved(tmp_path / "model.pt", tensors))
    assert "1 missing: blocks.1.norm3.weight" in message
    assert "1 unexpected: blocks.1.extra.weight" in message


def test_a_tensor_of_another_shape_is_named_with_both_shapes(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "model.pt", weights() | {"head.head.weight": torch.zeros(64, 65)}))
    assert "1 of another shape: head.head.weight is 64x65, not 64x64" in message


def test_many_differences_are_counted_and_the_first_ten_named(tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "model.pt", {"x": torch.zeros(1)}))
    assert "69 missing: patch_embedding.weight" in message
    assert "and 59 more" in message


def test_whole_numbers_are_no_weights(tmp_path: Path) -> None:
    for name in ("model.pt", "transformer.safetensors"):
        tensors = weights() | {"head.head.bias": torch.zeros(64, dtype=torch.int8)}
        assert "floating point: head.head.bias" in refusal(saved(tmp_path / name, tensors))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_no_numbers_are_refused(value: float, tmp_path: Path) -> None:
    tensors = weights()
    tensors["blocks.0.ffn.0.bias"][3] = value
    assert "1 tensors are not finite: blocks.0.ffn.0.bias" in refusal(saved(tmp_path / "model.pt", tensors))


@pytest.mark.parametrize(
    ("tensors", "seems"),
    [
        ({"decoder.conv1.weight": torch.zeros(1)}, "a VAE"),
        ({"decoder.conv_in.weight": torch.zeros(1)}, "a VAE"),
        ({"token_embedding.weight": torch.zeros(1)}, "a text encoder"),
        ({"shared.weight": torch.zeros(1)}, "a text encoder"),
        ({"blocks.0.self_attn.q.lora_down.weight": torch.zeros(1)}, "a LoRA"),
        ({"patch_embedding.weight": torch.zeros(64, 36, 1, 2, 2)}, "an image-to-video transformer"),
        ({"patch_embedding.weight": torch.zeros(64, 16, 1, 2, 2)}, "a Wan transformer of 0 layers, width 64"),
    ],
)
def test_a_file_in_the_wrong_place_is_recognised(tensors: dict[str, Tensor], seems: str, tmp_path: Path) -> None:
    assert f"it looks like {seems}" in refusal(saved(tmp_path / "model.pt", tensors))


@pytest.mark.parametrize("name", ["wan2.1-1.3b", "wan2.1-14b"])
def test_the_file_of_another_model_is_called_by_its_name(name: str, tmp_path: Path) -> None:
    with torch.device("meta"):
        large = CausalWan(MODELS[name].transformer, layout=V2V_RING)
    # One number each, seen in the shape of the large model: the file stays small.
    tensors = {key: torch.zeros(1).expand(shape) for key, shape in shapes(large).items()}
    message = refusal(saved(tmp_path / "model.pt", tensors))
    assert f"it looks like the transformer of {name}" in message
    assert f"patch_embedding.bias is {large.config.dim}, not 64" in message


class Dangerous:
    def __init__(self, touched: Path) -> None:
        self.touched = touched

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.touched,)


@pytest.mark.parametrize("write", [torch.save, lambda content, path: path.write_bytes(pickle.dumps(content))])
def test_a_pickle_with_code_is_refused_and_the_code_does_not_run(write: Callable[..., Any], tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    write(weights() | {"x": Dangerous(touched)}, tmp_path / "model.pt")
    assert "would run code" in refusal(tmp_path / "model.pt")
    assert not touched.exists()


@pytest.mark.parametrize("content", [3, [1, 2], "text", torch.zeros(2), None])
def test_what_is_not_tensors_by_name_is_refused(content: Any, tmp_path: Path) -> None:
    assert "not tensors by name" in refusal(saved(tmp_path / "model.pt", content))


@pytest.mark.parametrize(
    "entry",
    [{"epoch": 3}, {"optimizer": {}}, {3: torch.zeros(1)}, {"x": torch.zeros(2).to_sparse()}, {"x": None}],
)
def test_entries_that_are_no_tensors_are_named(entry: dict[Any, Any], tmp_path: Path) -> None:
    message = refusal(saved(tmp_path / "model.pt", weights() | entry))
    assert f"1 entries that are no tensors: {next(iter(entry))!r}" in message


def test_a_tensor_with_and_without_the_prefix_is_refused(tmp_path: Path) -> None:
    assert "with and without 'model.'" in refusal(
        saved(tmp_path / "model.pt", weights() | {"model.head.head.bias": torch.zeros(64)})
    )


@pytest.mark.parametrize("name", ["model.pt", "transformer.safetensors"])
def test_an_empty_file_a_missing_one_and_a_folder_are_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    assert "is not there" in refusal(path)
    path.touch()
    assert "is empty" in refusal(path)
    path.unlink()
    path.mkdir()
    assert "is a folder" in refusal(path)


@pytest.mark.parametrize("name", ["model.pt", "transformer.safetensors"])
@pytest.mark.parametrize("share", [0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(name: str, share: float, tmp_path: Path) -> None:
    path = saved(tmp_path / name, weights())
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert any(word in refusal(path) for word in ("truncated", "damaged"))


@pytest.mark.parametrize("name", ["model.pt", "transformer.safetensors"])
@given(junk=st.binary(min_size=1, max_size=200))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_bytes_that_are_no_checkpoint_are_refused_in_words(name: str, junk: bytes, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(junk)
    with pytest.raises(WrongCheckpoint):
        load(path)


@given(place=st.floats(0, 1, exclude_max=True), bits=st.integers(1, 255))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_table_is_refused_in_words_or_still_holds_tensors(place: float, bits: int, tmp_path: Path) -> None:
    """One byte of a pickled checkpoint changed anywhere: never another error than WrongCheckpoint."""
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(2, 3), "b": torch.zeros(1)}, path)
    damaged = bytearray(path.read_bytes())
    damaged[int(place * len(damaged))] ^= bits
    path.write_bytes(damaged)
    with contextlib.suppress(WrongCheckpoint):
        assert isinstance(open_checkpoint([path]), WeightsCheckpoint)


def test_a_module_is_loaded_without_the_names_that_its_caller_ties(tmp_path: Path) -> None:
    with torch.device("meta"):
        module = nn.Linear(2, 2)
    path = saved(tmp_path / "model.pt", {"weight": torch.ones(2, 2)})
    load_into(module, open_checkpoint([path]), transformer_names, device=CPU, dtype=torch.float32, without={"bias"})
    assert module.bias.is_meta
    assert torch.equal(module.weight, torch.ones(2, 2))
