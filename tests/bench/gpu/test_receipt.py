"""A receipt says what figures belong to."""

from dataclasses import replace
from datetime import datetime
from pathlib import Path

import torch

from bench.gpu import sources
from bench.gpu.pack import ROOT
from bench.gpu.receipt import LIBRARIES, receipt
from tests.bench.gpu.reports import RECEIPT


def test_it_names_command_commit_time_and_versions() -> None:
    one = receipt(["--only", "rows,vae"], torch.device("cpu"), ROOT)
    assert one.command == "run --only rows,vae"
    assert one.commit == str(sources.commit_of(ROOT))
    assert datetime.fromisoformat(one.began).utcoffset() is not None
    assert one.versions["torch"] == torch.__version__
    assert {"python", "cuda", *LIBRARIES} <= set(one.versions)


def test_packed_sources_say_which_commit_they_are(tmp_path: Path) -> None:
    (tmp_path / sources.COMMIT).write_text('{"sha": "0123456789abcdef", "changed": true}')
    assert receipt([], torch.device("cpu"), tmp_path).commit == "0123456789ab with changes"


def test_a_card_is_named_as_kubernetes_labels_it() -> None:
    assert RECEIPT.product == "NVIDIA-H100-80GB-HBM3"
    assert replace(RECEIPT, card="2 cores, x86_64").product == "CPU"


def test_a_run_has_a_folder_of_its_own_by_its_time() -> None:
    assert RECEIPT.stamp == "20261128T051930"
