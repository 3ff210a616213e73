"""A model put together from published files, diffusers' files or random numbers; and what stands in the way."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from genlock_worker.engines.algorithm.blend import prompt_digest
from genlock_worker.engines.algorithm.ring import V2V_RING
from genlock_worker.engines.diffusion.components import (
    Components,
    choose_device,
    choose_dtype,
    load_components,
    tensor_bytes,
)
from genlock_worker.engines.diffusion.config import MODELS, StreamOptions, VaeConfig
from genlock_worker.engines.diffusion.errors import DeviceMissing, MissingWeights, WrongCheckpoint
from genlock_worker.engines.diffusion.execution.fp8 import Fp8Unsupported
from genlock_worker.engines.diffusion.options import LoadOptions
from genlock_worker.engines.diffusion.weights import random_weights, skeletons
from genlock_worker.engines.diffusion.weights.key_names import vae_names
from genlock_worker.engines.diffusion.weights.random_vae import random_vae
from tests.worker.engines.diffusion.model_folders import (
    TINY,
    diffusers_folder,
    published_folder,
    text_weights,
    tiny_vae_weights,
    transformer_weights,
    vae_weights,
)
from tests.worker.engines.diffusion.rows import RowInput, batch_of, empty_ring, text_pool

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """What is small here is faster so, and other tests want the cores."""
    torch.set_num_threads(1)


def load(weights: Path | None = None, **changes: Any) -> Components:
    said = changes.pop("progress", lambda _: None)
    config, dtype = changes.pop("config", TINY), changes.pop("dtype", torch.float32)
    return load_components(
        config,
        weights=weights,
        device=CPU,
        dtype=dtype,
        options=LoadOptions(**changes),
        stream=StreamOptions(),
        progress=said,
    )


def everything(parts: Components) -> list[Tensor]:
    parts.prompts.prepare("neon")
    embedding = parts.prompts.embedding(prompt_digest("neon")).rows
    stream = parts.vae.open()
    clip = torch.arange(5 * 16 * 16 * 3).reshape(5, 16, 16, 3).remainder(251).to(torch.uint8)
    latents = parts.vae.encode(stream, clip)
    return [*parts.transformer.state_dict().values(), embedding, latents, parts.vae.decode(stream, latents)]


@pytest.mark.parametrize("folder", [published_folder, diffusers_folder])
def test_a_model_is_made_of_its_files_in_each_layout(folder: Callable[[Path], Path], tmp_path: Path) -> None:
    folder(tmp_path)
    parts = load(tmp_path)
    loaded = parts.transformer.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in transformer_weights().items())
    assert (parts.config, parts.device, parts.dtype) == (TINY, CPU, torch.float32)


def test_both_layouts_of_the_same_weights_are_the_same_model(tmp_path: Path) -> None:
    published_folder(tmp_path / "a")
    diffusers_folder(tmp_path / "b")
    one, other = (everything(load(tmp_path / name)) for name in "ab")
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_no_tensor_is_left_without_numbers_and_none_is_held_twice(tmp_path: Path) -> None:
    published_folder(tmp_path)
    parts = load(tmp_path)
    vae, transformer = sum(t.nbytes for t in vae_weights().values()), tensor_bytes(parts.transformer)
    assert not any(tensor.is_meta for tensor in parts.transformer.state_dict().values())
    assert parts.vae.resident_bytes == vae
    assert parts.resident_bytes == transformer + vae + sum(t.nbytes for t in text_weights().values())


def test_a_text_encoder_that_is_not_kept_is_not_resident_and_encodes_the_same(tmp_path: Path) -> None:
    published_folder(tmp_path)
    kept, loaded = load(tmp_path), load(tmp_path, keep_text_encoder=False)
    assert loaded.resident_bytes < kept.resident_bytes
    for one, other in zip(everything(kept), everything(loaded), strict=True):
        assert torch.equal(one, other)


def test_the_files_of_a_text_encoder_that_is_not_kept_are_looked_at_at_start(tmp_path: Path) -> None:
    folder = published_folder(tmp_path)
    torch.save({"x": torch.zeros(1)}, folder / "models_t5_umt5-xxl-enc-bf16.pth")
    with pytest.raises(WrongCheckpoint, match=r"missing: shared\.weight"):
        load(tmp_path, keep_text_encoder=False)


def test_tiny_needs_no_files_and_is_the_same_each_time(tmp_path: Path) -> None:
    for weights in (None, tmp_path):
        one, other = everything(load()), everything(load(weights))
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_random_weights_are_taken_though_there_are_files(tmp_path: Path) -> None:
    published_folder(tmp_path)
    random, there = load(tmp_path, random_weights=True), load(tmp_path)
    assert not torch.equal(random.transformer.head.head.weight, there.transformer.head.head.weight)


def test_random_numbers_stay_of_order_one_through_forty_layers() -> None:
    deep = replace(TINY.transformer, layers=40)
    model = skeletons.transformer(deep)
    random_weights.fill(model, device=CPU, dtype=torch.float32, factors=random_weights.TRANSFORMER_FACTORS)
    random = torch.Generator().manual_seed(0)
    text = text_pool(deep).put(*model.text_kv(torch.randn(deep.text_length, deep.text_dim, generator=random)))
    hidden = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(1))
    rows = batch_of([RowInput(empty_ring(deep, V2V_RING), text, hidden, 0, 700.0)], layout=V2V_RING)
    assert 0.3 < float(model(rows).flow.std()) < 1.5


def test_a_large_model_without_files_has_a_small_text_encoder_on_a_cpu() -> None:
    config = replace(MODELS["wan2.1-1.3b"], transformer=replace(TINY.transformer, text_dim=4096), vae=TINY.vae)
    parts = load(config=config, random_weights=True)
    parts.prompts.prepare("neon")
    assert parts.prompts.embedding(prompt_digest("neon")).rows.shape[1] == 4096
    assert parts.resident_bytes < 100e6


def test_it_says_what_it_loads() -> None:
    said: list[str] = []
    load(progress=said.append)
    assert said[0] == "tiny: random weights"
    assert re.fullmatch(r"transformer: 0\.15 M parameters, float32, 0\.59 MB, torch kernels, \d+\.\d s", said[1])
    assert said[-1] == "tiny: ready on cpu, 0.95 MB resident"


def test_the_tiny_decoder_takes_the_place_of_the_vaes() -> None:
    parts = load(decoder="tiny")
    assert everything(parts)[-1].shape == (5, 16, 16, 3)
    assert parts.vae.resident_bytes > load().vae.resident_bytes


@pytest.mark.parametrize("half", ["encoder", "decoder"])
def test_a_tiny_half_is_asked_for_by_name_and_missed(tmp_path: Path, half: str) -> None:
    published_folder(tmp_path)
    with pytest.raises(MissingWeights, match=r"no tiny encoder and decoder: looked in .*taew2_1\.safetensors"):
        load(tmp_path, **{half: "tiny"})


def test_the_tiny_encoder_takes_the_place_of_the_vaes(tmp_path: Path) -> None:
    parts = load(encoder="tiny")
    assert everything(parts)[-1].shape == (5, 16, 16, 3)
    said: list[str] = []
    both = load(encoder="tiny", decoder="tiny", progress=said.append)
    assert any("the tiny encoder, the tiny decoder" in line for line in said)
    assert both.vae.stream_bytes(64, 64) < parts.vae.stream_bytes(64, 64) + load(decoder="tiny").vae.stream_bytes(
        64, 64
    )


def test_where_small_networks_do_all_the_vaes_own_file_is_not_needed(tmp_path: Path) -> None:
    folder = published_folder(tmp_path)
    save_file(tiny_vae_weights(), folder / "taew2_1.safetensors")
    whole = load(tmp_path, encoder="tiny", decoder="tiny")
    assert everything(whole)[-1].shape == (5, 16, 16, 3)
    for file in [*folder.glob("Wan2.1_VAE*"), *(folder / "vae").glob("*")]:
        file.unlink()
    assert load(tmp_path, encoder="tiny", decoder="tiny").vae.resident_bytes == whole.vae.resident_bytes
    with pytest.raises(MissingWeights, match="no VAE"):
        load(tmp_path, encoder="tiny")


def test_a_model_that_needs_weights_asks_for_them(tmp_path: Path) -> None:
    large = replace(TINY, name="wan2.1-1.3b", needs_weights=True)
    with pytest.raises(MissingWeights, match="--weights"):
        load(config=large)
    with pytest.raises(
        MissingWeights, match=re.escape(f"there is no folder {tmp_path / 'wan2.1-1.3b'}; `genlock models fetch")
    ):
        load(tmp_path, config=large)
    (tmp_path / "wan2.1-1.3b").mkdir()
    with pytest.raises(MissingWeights, match=r"4 parts missing; `genlock models fetch(?s:.*)transformer.*model\.pt"):
        load(tmp_path, config=large)


def test_a_folder_of_tiny_that_is_not_whole_is_no_random_model(tmp_path: Path) -> None:
    (published_folder(tmp_path) / "model.pt").unlink()
    with pytest.raises(MissingWeights, match="no transformer"):
        load(tmp_path)


def test_a_tokenizer_that_is_none_is_refused(tmp_path: Path) -> None:
    (published_folder(tmp_path) / "google/umt5-xxl/tokenizer.json").write_text("{")
    with pytest.raises(WrongCheckpoint, match="tokenizer"):
        load(tmp_path)


def test_fp8_is_refused_before_anything_is_loaded() -> None:
    said: list[str] = []
    with pytest.raises(Fp8Unsupported):
        load(fp8=True, progress=said.append)
    assert said == []


def test_devices_and_types_are_chosen_by_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_dtype("auto", torch.device("cuda")) is torch.bfloat16
    assert choose_dtype("auto", CPU) is torch.float32
    assert choose_dtype("bfloat16", CPU) is torch.bfloat16
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == choose_device("cpu") == CPU


@pytest.mark.parametrize(("name", "why"), [("cuda:2", "2 CUDA devices"), ("toaster", "is no device")])
def test_a_device_that_is_not_there_is_refused(name: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(DeviceMissing, match=why):
        choose_device(name)


def test_a_type_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="bfloat16"):
        choose_dtype("int4", CPU)


def test_the_published_names_of_the_vae_become_diffusers() -> None:
    """With two residual blocks per level, as in the large model; the names alone."""
    config = VaeConfig(base_dim=8)
    names = set(skeletons.vae(config).state_dict())
    published = {_wan_vae_name(name) for name in names}
    assert published != names
    assert set(vae_names(published)) == names
    assert set(vae_names(names)) == names


def test_the_large_vaes_table_is_the_libraries() -> None:
    assert len(skeletons.vae(VaeConfig()).state_dict()) == 194
    assert len(random_vae(TINY.vae, 0).state_dict()) == len(skeletons.vae(TINY.vae).state_dict())


def _wan_vae_name(name: str) -> str:
    """The golden README's key map, backwards."""
    name = re.sub(
        r"^decoder\.up_blocks\.(\d)\.resnets\.(\d)\.",
        lambda found: f"decoder.upsamples.{4 * int(found[1]) + int(found[2])}.",
        name,
    )
    name = re.sub(
        r"^decoder\.up_blocks\.(\d)\.upsamplers\.0\.",
        lambda found: f"decoder.upsamples.{4 * int(found[1]) + 3}.",
        name,
    )
    rules = (
        (r"^quant_conv\.", "conv1."),
        (r"^post_quant_conv\.", "conv2."),
        (r"\.conv_in\.", ".conv1."),
        (r"\.norm_out\.", ".head.0."),
        (r"\.conv_out\.", ".head.2."),
        (r"\.down_blocks\.", ".downsamples."),
        (r"\.mid_block\.resnets\.0\.", ".middle.0."),
        (r"\.mid_block\.resnets\.1\.", ".middle.2."),
        (r"\.mid_block\.attentions\.0\.", ".middle.1."),
        (r"\.norm1\.", ".residual.0."),
        (r"(?<!^encoder)(?<!^decoder)\.conv1\.", ".residual.2."),
        (r"\.norm2\.", ".residual.3."),
        (r"\.conv2\.", ".residual.6."),
        (r"\.conv_shortcut\.", ".shortcut."),
    )
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name
