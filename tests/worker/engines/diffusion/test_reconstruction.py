"""PSNR of what comes back through the VAE and through the small networks, where there are files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from genlock_worker.engines.contract import Frames
from genlock_worker.engines.diffusion.reconstruction import SILENT_DB, Reconstruction, psnr, reconstructions
from genlock_worker.intake.pattern import draw
from tests.worker.engines.diffusion.model_folders import published_folder, tiny_vae_weights

CPU = torch.device("cpu")


def pictures() -> Frames:
    return np.stack([draw(number, width=64, height=64) for number in range(5)])


def measured(weights: Path) -> dict[tuple[str, str], Reconstruction]:
    found = reconstructions(weights, "tiny", pictures(), device=CPU, dtype=torch.float32)
    return {(one.encoder, one.decoder): one for one in found}


def test_every_pair_of_encoder_and_decoder_is_measured(tmp_path: Path) -> None:
    save_file(tiny_vae_weights(), published_folder(tmp_path) / "taew2_1.safetensors")
    found = measured(tmp_path)
    figures = {pair: one.psnr_db for pair, one in found.items()}
    assert len(figures) == 4
    assert all(figure is not None and 0 < figure < SILENT_DB for figure in figures.values())
    assert (found["vae", "vae"].psnr_db or 0) > (found["tiny", "vae"].psnr_db or 0), "random numbers are no encoder"
    assert [one.latents_off is None for one in found.values()] == [True, True, False, False]
    assert (found["tiny", "tiny"].latents_off or 0) > 0.5


def test_what_has_no_files_is_not_measured(tmp_path: Path) -> None:
    published_folder(tmp_path)
    found = measured(tmp_path)
    assert found["vae", "vae"].psnr_db is not None
    for pair in (("vae", "tiny"), ("tiny", "vae"), ("tiny", "tiny")):
        assert found[pair].psnr_db is None
        assert "no tiny encoder and decoder: looked in" in found[pair].reason
    assert all(one.psnr_db is None and "there is no folder" in one.reason for one in measured(tmp_path / "x").values())


def test_the_ratio_is_the_published_formula() -> None:
    black = np.zeros((1, 4, 4, 3), np.uint8)
    assert psnr(black, black) == SILENT_DB
    assert psnr(black, black + 255) == pytest.approx(0.0)
    assert psnr(black, black + 1) == pytest.approx(48.13, abs=0.01)
    with pytest.raises(ValueError, match="cannot be compared"):
        psnr(black, black[:, :2])
