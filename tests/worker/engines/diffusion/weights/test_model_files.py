"""Where the parts of a model may lie, and what is said of those that lie nowhere."""

import json
from pathlib import Path

import pytest

from genlock_worker.engines.diffusion.errors import MissingWeights, UnknownModel, WrongCheckpoint
from genlock_worker.engines.diffusion.weights.model_files import (
    LAYOUTS,
    REQUIRED,
    ModelPart,
    find_part,
    find_parts,
    model_config,
    model_folder,
)


def put(folder: Path, path: str, text: str = "x") -> Path:
    file = folder / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


@pytest.mark.parametrize("part", list(ModelPart))
def test_a_part_is_found_in_each_of_its_places(part: ModelPart, tmp_path: Path) -> None:
    for number, below in enumerate(LAYOUTS[part]):
        folder = tmp_path / str(number)
        text = json.dumps({"weight_map": {"a": "shard-1.safetensors"}}) if below.suffix == ".json" else ""
        file = put(folder, str(below), text)
        put(folder, str(below.with_name("shard-1.safetensors")))
        found = find_part(folder, part)
        assert found is not None
        assert found.folder == file.parent


def test_the_converted_transformer_is_preferred_to_the_published_one(tmp_path: Path) -> None:
    put(tmp_path, "model.pt")
    converted = put(tmp_path, "transformer.safetensors")
    found = find_part(tmp_path, ModelPart.TRANSFORMER)
    assert found is not None
    assert found.files == (converted,)


def test_layouts_may_be_mixed(tmp_path: Path) -> None:
    put(tmp_path, "model.pt")
    put(tmp_path, "vae/diffusion_pytorch_model.safetensors")
    put(tmp_path, "models_t5_umt5-xxl-enc-bf16.pth")
    put(tmp_path, "tokenizer/spiece.model")
    assert set(find_parts(tmp_path, *REQUIRED)) == set(REQUIRED)


def test_all_shards_of_an_index_belong_to_the_part(tmp_path: Path) -> None:
    index = {"weight_map": {"a": "b.safetensors", "c": "a.safetensors", "d": "b.safetensors"}}
    put(tmp_path, "text_encoder/model.safetensors.index.json", json.dumps(index))
    first, second = (put(tmp_path, f"text_encoder/{name}.safetensors", "xy") for name in "ab")
    found = find_part(tmp_path, ModelPart.TEXT_ENCODER)
    assert found is not None
    assert found.files == (first, second)
    assert found.bytes == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"weight_map": 3}',
        '{"weight_map": {}}',
        '{"weight_map": {"a": 3}}',
        '{"weight_map": {"a": {}}}',
        '{"weight_map": {"a": "../other.safetensors"}}',
        '{"weight_map": {"a": ".."}}',
        '{"weight_map": {"a": "/etc/passwd"}}',
        '{"weight_map": {"a": "not-there.safetensors"}}',
    ],
)
def test_an_index_that_names_no_files_beside_it_is_refused(text: str, tmp_path: Path) -> None:
    put(tmp_path, "other.safetensors")
    index = put(tmp_path, "text_encoder/model.safetensors.index.json", text)
    with pytest.raises(WrongCheckpoint, match="shard") as raised:
        find_part(tmp_path, ModelPart.TEXT_ENCODER)
    assert raised.value.path == index


def test_a_folder_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.pt").mkdir()
    with pytest.raises(WrongCheckpoint, match="is a folder"):
        find_part(tmp_path, ModelPart.TRANSFORMER)


def test_missing_parts_are_all_named_with_every_path_and_what_to_do(tmp_path: Path) -> None:
    folder = model_folder(tmp_path, "wan2.1-1.3b")
    put(folder, "model.pt")
    with pytest.raises(MissingWeights) as raised:
        find_parts(folder, *REQUIRED)
    message = str(raised.value)
    assert "3 parts missing" in message
    assert "no transformer" not in message
    for part in (ModelPart.VAE, ModelPart.TEXT_ENCODER, ModelPart.TOKENIZER):
        for below in LAYOUTS[part]:
            assert str(below) in message
    assert str(folder) in message
    assert "genlock models fetch wan2.1-1.3b" in message


@pytest.mark.parametrize("name", ["wan", "", "../etc", "tiny/.."])
def test_an_unknown_model_is_answered_with_those_that_are_known(name: str) -> None:
    with pytest.raises(UnknownModel, match=r"wan2\.1-1\.3b, wan2\.1-14b, tiny"):
        model_config(name)
