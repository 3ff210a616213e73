"""`genlock models`: fetch with a hub of its own, verify and convert with real files; nothing goes out."""

import errno
import hashlib
import json
import os
import re
import sys
import threading
from pathlib import Path

import cv2
import pytest
import torch
from safetensors import safe_open
from typer.testing import CliRunner

from genlock_cli.app import commands
from genlock_cli.models import NothingToVerify
from genlock_core.errors import BadInput, GenlockError
from genlock_worker.engines import EngineNotInstalled
from genlock_worker.engines.diffusion.errors import UnknownModel, WrongCheckpoint
from genlock_worker.engines.diffusion.weights import fetching
from genlock_worker.engines.diffusion.weights.conversion import ConversionFailed
from genlock_worker.engines.diffusion.weights.fetching import BASE_FILES, FetchRefused, hub_download, ticking
from genlock_worker.intake.pattern import draw
from tests.worker.engines.diffusion.model_folders import (
    diffusers_folder,
    published_folder,
    transformer_weights,
)

ACCEPTED = "--accept-unknown-licence"


class Hub:
    """Gives every file, its address as content, unless told to fail; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.fails_at = ""

    def download(self, repo: str, file: str, folder: Path) -> Path:
        self.asked.append(f"{repo}/{file}")
        if self.fails_at and file.endswith(self.fails_at):
            raise ConnectionError("no network")
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.asked[-1])
        return path


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub()
    monkeypatch.setattr(fetching, "hub_download", hub.download)
    return hub


def genlock(*words: str | Path) -> str:
    """What the command printed. Raises what it raised; SystemExit for an exit status of its own."""
    result = CliRunner().invoke(commands(), ["models", *map(str, words)])
    if isinstance(result.exception, GenlockError):
        raise result.exception
    if result.exit_code:
        raise SystemExit(result.output)
    return result.output


def test_fetch_brings_the_parts_of_a_model_and_nothing_else(hub: Hub, tmp_path: Path) -> None:
    said = genlock("fetch", "wan2.1-14b", "--into", tmp_path, ACCEPTED)
    folder = tmp_path / "wan2.1-14b"
    assert (folder / "model.pt").read_text() == "jerryfeng/StreamDiffusionV2/wan_causal_dmd_v2v_14b/model.pt"
    assert hub.asked[1:] == [f"Wan-AI/Wan2.1-T2V-14B/{name}" for name in BASE_FILES]
    assert all((folder / name).is_file() for name in BASE_FILES)
    assert f"[1/{1 + len(BASE_FILES)}] model.pt: from jerryfeng/StreamDiffusionV2" in said
    assert f"genlock models verify {tmp_path} wan2.1-14b" in said


def test_weights_without_a_stated_licence_are_fetched_only_by_somebody_who_has_asked(hub: Hub, tmp_path: Path) -> None:
    for more in ((), ("--transformer-repo", "daydreamlive/StreamDiffusionV2")):
        with pytest.raises(FetchRefused, match=r"licence .* is not stated.*--accept-unknown-licence"):
            genlock("fetch", "wan2.1-1.3b", "--into", tmp_path, *more)
    assert hub.asked == []


def test_other_weights_may_be_named(hub: Hub, tmp_path: Path) -> None:
    genlock(
        *("fetch", "wan2.1-1.3b", "--into", tmp_path),
        *("--transformer-repo", "me/mine:out/best.safetensors", "--base-repo", "me/base"),
    )
    assert hub.asked[:2] == ["me/mine/out/best.safetensors", f"me/base/{BASE_FILES[0]}"]
    assert (tmp_path / "wan2.1-1.3b/transformer.safetensors").read_text() == "me/mine/out/best.safetensors"


def test_a_fetch_that_broke_off_goes_on_with_what_is_missing(hub: Hub, tmp_path: Path) -> None:
    hub.fails_at = "spiece.model"
    with pytest.raises(FetchRefused, match=r"spiece\.model cannot be fetched: no network") as raised:
        genlock("fetch", "wan2.1-1.3b", "--into", tmp_path, ACCEPTED)
    assert "run it again to go on" in str(raised.value)
    hub.fails_at, hub.asked = "", []
    said = genlock("fetch", "wan2.1-1.3b", "--into", tmp_path, ACCEPTED)
    assert [name.rpartition("/")[2] for name in hub.asked] == [name.rpartition("/")[2] for name in BASE_FILES[3:]]
    assert "model.pt: is there" in said


def test_a_transformer_that_was_converted_is_not_fetched_again(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "wan2.1-1.3b").mkdir()
    (tmp_path / "wan2.1-1.3b/transformer.safetensors").touch()
    assert "model.pt: not needed" in genlock("fetch", "wan2.1-1.3b", "--into", tmp_path, ACCEPTED)
    assert not any(name.endswith("model.pt") for name in hub.asked)


def test_tiny_and_unknown_models_are_not_fetched(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(FetchRefused, match="needs no weights"):
        genlock("fetch", "tiny", "--into", tmp_path)
    with pytest.raises(UnknownModel, match=r"wan2\.1-1\.3b, wan2\.1-14b, tiny"):
        genlock("fetch", "wan", "--into", tmp_path)
    assert hub.asked == []


def test_without_a_terminal_a_long_download_says_how_far_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.incomplete").write_bytes(bytes(3_000_000))
    said: list[str] = []
    told = threading.Event()

    def say(line: str) -> None:
        said.append(line)
        told.set()

    with ticking(tmp_path, say, every_s=0.001):
        assert told.wait(timeout=10)
    assert said[0] == "3.00 MB are there"


def test_the_hubs_library_is_told_where_to_put_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def download(repo: str, file: str, *, local_dir: Path) -> str:
        return str(local_dir / repo / file)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    assert hub_download("a/b", "c/d", tmp_path) == tmp_path / "a/b/c/d"


def test_verify_says_of_each_part_that_it_is_right(tmp_path: Path) -> None:
    for folder in (published_folder(tmp_path / "a"), diffusers_folder(tmp_path / "b")):
        lines = genlock("verify", folder.parent).splitlines()
        assert [line.split(":")[1].strip() for line in lines] == ["transformer", "VAE", "text encoder", "tokenizer"]
        assert "69 tensors" in lines[0]


def test_verify_names_all_problems_and_fails(tmp_path: Path) -> None:
    folder = published_folder(tmp_path)
    tensors = transformer_weights()
    del tensors["head.head.bias"]
    torch.save(tensors, folder / "model.pt")
    (folder / "vae/diffusion_pytorch_model.safetensors").write_bytes(b"x")
    (folder / "models_t5_umt5-xxl-enc-bf16.pth").unlink()
    (folder / "google/umt5-xxl/tokenizer.json").write_bytes(b"")
    (folder / "taew2_1.pth").mkdir()
    with pytest.raises(SystemExit) as raised:
        genlock("verify", tmp_path, "tiny")
    said = str(raised.value)
    assert "1 missing: head.head.bias" in said
    assert "is damaged or no safetensors file" in said
    assert "no text encoder: looked in" in said
    assert "tokenizer.json: is empty" in said
    assert "taew2_1.pth: is a folder" in said


@pytest.mark.parametrize(("model", "help_"), [("wan2.1-1.3b", "models fetch wan2.1-1.3b"), ("tiny", "none is needed")])
def test_verify_says_what_to_do_about_a_model_without_a_folder(model: str, help_: str, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=f"there is no folder .*{model}; .*{help_}"):
        genlock("verify", tmp_path, model)


def test_verify_reads_a_list_of_digests(tmp_path: Path) -> None:
    folder = published_folder(tmp_path)
    digest = hashlib.sha256((folder / "model.pt").read_bytes()).hexdigest()
    sums = tmp_path / "sums"
    sums.write_text(f"{digest}  tiny/model.pt\n\n{digest} *tiny/model.pt\n")
    assert genlock("verify", tmp_path, "--sha256", sums).count("sha256 is right") == 2
    sums.write_text(f"{'0' * 64}  tiny/model.pt\n{digest}  tiny/nothing\n{digest}  ../x\nnonsense\n")
    with pytest.raises(SystemExit) as raised:
        genlock("verify", tmp_path, "--sha256", sums)
    said = str(raised.value)
    assert "model.pt: is another file" in said
    assert "nothing: is not there" in said
    assert "line 3: not a sha256 and a path below" in said
    assert "line 4" in said


def test_verify_of_a_folder_without_models_says_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(NothingToVerify, match=r"wan2\.1-1\.3b, wan2\.1-14b, tiny"):
        genlock("verify", tmp_path)


@pytest.mark.parametrize(
    ("dtype", "kind"), [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_convert_writes_the_same_numbers_as_safetensors(dtype: str, kind: torch.dtype, tmp_path: Path) -> None:
    source = published_folder(tmp_path) / "model.pt"
    said = genlock("convert", source, "--into", tmp_path / "out", "--model", "tiny", "--dtype", dtype)
    target = tmp_path / "out/tiny/transformer.safetensors"
    with safe_open(target, framework="pt") as file:
        assert set(file.keys()) == set(transformer_weights())
        for name, tensor in transformer_weights().items():
            assert torch.equal(file.get_tensor(name), tensor.to(kind))
        metadata = file.metadata()
    assert metadata["source"] == "model.pt"
    assert metadata["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert metadata["model"] == "tiny"
    assert "converting:" in said
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_convert_understands_diffusers_names(tmp_path: Path) -> None:
    source = diffusers_folder(tmp_path) / "transformer/diffusion_pytorch_model.safetensors"
    index = source.with_suffix(".safetensors.index.json")
    index.write_text(json.dumps({"weight_map": {"any": source.name}}))
    for number, given in enumerate((source, index)):
        genlock("convert", given, "--into", tmp_path / str(number), "--model", "tiny", "--dtype", "fp32")
        with safe_open(tmp_path / str(number) / "tiny/transformer.safetensors", framework="pt") as file:
            assert torch.equal(file.get_tensor("head.modulation"), transformer_weights()["head.modulation"])


def test_a_conversion_that_fails_leaves_nothing_and_what_was_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = published_folder(tmp_path) / "model.pt"
    target = tmp_path / "tiny/transformer.safetensors"
    target.write_bytes(b"as it was")
    with pytest.raises(WrongCheckpoint, match="looks like the transformer of tiny"):
        genlock("convert", source, "--into", tmp_path, "--model", "wan2.1-1.3b")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConversionFailed, match=r"No space left .* is there room"):
        genlock("convert", source, "--into", tmp_path, "--model", "tiny")
    assert target.read_bytes() == b"as it was"
    assert not list(tmp_path.rglob("*.part"))


def test_without_torch_the_commands_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    for name in ("verification", "conversion", "fetching"):
        monkeypatch.delitem(sys.modules, f"genlock_worker.engines.diffusion.weights.{name}", raising=False)
        monkeypatch.delattr(f"genlock_worker.engines.diffusion.weights.{name}", raising=False)
    for name in ("checkpoints", "skeletons"):
        monkeypatch.delitem(sys.modules, f"genlock_worker.engines.diffusion.weights.{name}", raising=False)
        monkeypatch.delattr(f"genlock_worker.engines.diffusion.weights.{name}", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for command in (
        ("fetch", "wan2.1-1.3b", "--into", tmp_path, ACCEPTED),
        ("verify", tmp_path),
        ("convert", tmp_path / "x", "--into", tmp_path, "--model", "tiny"),
    ):
        with pytest.raises(EngineNotInstalled, match=r"pip install 'genlock\[diffusion\]'"):
            genlock(*command)


def test_psnr_is_told_for_what_has_files_and_not_measured_for_the_rest(tmp_path: Path) -> None:
    published_folder(tmp_path)
    said = genlock("psnr", tmp_path, "tiny", "--resolution", "64x64", "--device", "cpu")
    first, *pairs = [line for line in said.splitlines() if line.startswith(("tiny", "vae"))]
    assert first == "tiny: 33 pictures of 64x64, on cpu in float32"
    assert re.fullmatch(r"vae encoder, vae decoder: \d+\.\d\d dB", pairs[0])
    names = ["vae encoder, tiny decoder", "tiny encoder, vae decoder", "tiny encoder, tiny decoder"]
    for name, line in zip(names, pairs[1:], strict=True):
        assert line.startswith(f"{name}: not measured: ")
    assert said.count("no tiny encoder and decoder: looked in") == 3


def test_psnr_of_a_video_needs_enough_pictures(tmp_path: Path) -> None:
    published_folder(tmp_path)
    short = tmp_path / "short.avi"
    writer = cv2.VideoWriter(str(short), cv2.VideoWriter_fourcc(*"MJPG"), 16, (64, 64))  # type: ignore[attr-defined]
    for number in range(3):
        writer.write(draw(number, width=64, height=64))
    writer.release()
    with pytest.raises(BadInput, match="has 3 pictures; 33 are coded"):
        genlock("psnr", tmp_path, "tiny", "--resolution", "64x64", "--video", short)
    (tmp_path / "none.avi").write_bytes(b"no video")
    with pytest.raises(BadInput, match="is no video"):
        genlock("psnr", tmp_path, "tiny", "--resolution", "64x64", "--video", tmp_path / "none.avi")
