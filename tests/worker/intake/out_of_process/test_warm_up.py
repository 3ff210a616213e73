"""Before the first fork a picture of each codec was decoded, and nothing started a thread."""

from pathlib import Path

import pytest

from genlock_core.media import Codec
from genlock_worker.intake.out_of_process import warm_up
from tests.worker.intake.out_of_process.nurseries import nursery


def test_each_codec_gives_a_picture() -> None:
    assert {unit.codec for unit in warm_up.WARM_UP_UNITS} == set(Codec)
    warm_up.warm_up()


def test_a_codec_that_gives_none_is_a_reason_not_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    first = warm_up.WARM_UP_UNITS[0]
    broken = type(first)(first.codec, first.data[:20], key_frame=True, capture_us=0)
    monkeypatch.setattr(warm_up, "WARM_UP_UNITS", (broken,))
    with pytest.raises(RuntimeError, match="H264 cannot be decoded here"):
        warm_up.warm_up()


def test_the_nursery_has_one_thread_and_none_of_the_workers_libraries() -> None:
    with nursery() as home:
        assert len(list(Path(f"/proc/{home.pid}/task").iterdir())) == 1
        loaded = Path(f"/proc/{home.pid}/maps").read_text()
        assert "libavcodec" in loaded
        for library in ("libtorch", "hiredis", "_ssl."):
            assert library not in loaded
