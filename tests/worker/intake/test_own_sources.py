"""Sources that the worker makes itself: on time, at the right place after a restore, and only what they may read."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genlock_core.clock import ManualClock
from genlock_core.media import SourcePosition
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.chunks import SourceFrame
from genlock_worker.intake.file import FileSource, find_media
from genlock_worker.intake.pattern import TestPatternSource, draw
from genlock_worker.intake.prompt_only import PromptOnlySource
from genlock_worker.intake.source import Metronome, Source, SourceFailed
from tests.worker.pattern_numbers import read_index

CLIP_FRAMES = 12
CLIP_RATE = 10


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as made:
        yield made


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def metronome(clock: ManualClock) -> Metronome:
    async def sleep(seconds: float) -> None:
        clock.advance(seconds)
        await asyncio.sleep(0)

    made = Metronome(clock, sleep=sleep)
    made.run()
    return made


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=CLIP_RATE, options={"g": "4"})
        stream.width = 192
        stream.height = 128
        stream.pix_fmt = "yuv420p"
        for index in range(CLIP_FRAMES):
            frame = av.VideoFrame.from_ndarray(draw(index, width=192, height=128), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


async def take(source: Source, count: int) -> list[SourceFrame]:
    taken: list[SourceFrame] = []
    async for frame in source.frames():
        taken.append(frame)
        if len(taken) == count:
            break
    return taken


def numbers(frames: list[SourceFrame]) -> list[int]:
    return [read_index(frame.picture) for frame in frames if frame.picture is not None]


@given(index=st.integers(0, 2**24 - 1))
def test_the_patterns_number_can_be_read_from_the_picture(index: int) -> None:
    assert read_index(draw(index, width=128, height=96)) == index


def test_the_pattern_is_the_same_for_the_same_number_and_moves() -> None:
    assert np.array_equal(draw(7, width=128, height=96), draw(7, width=128, height=96))
    assert np.abs(draw(7, width=128, height=96).astype(int) - draw(8, width=128, height=96)).mean() > 0.5


async def test_the_pattern_runs_at_the_frame_rate_and_goes_on_after_a_restore(
    clock: ManualClock, metronome: Metronome, executor: ThreadPoolExecutor
) -> None:
    begin = clock.monotonic()

    def source(after: SourcePosition | None) -> TestPatternSource:
        return TestPatternSource(
            width=128, height=96, frame_rate=16, metronome=metronome, executor=executor, after=after
        )

    frames = await take(source(None), 33)
    assert numbers(frames) == list(range(33))
    assert clock.monotonic() - begin == pytest.approx(2.0)
    again = await take(source(frames[-1].position), 3)
    assert numbers(again) == [33, 34, 35]


async def test_prompt_only_frames_have_no_picture_and_go_on_after_a_restore(metronome: Metronome) -> None:
    frames = await take(PromptOnlySource(frame_rate=24, metronome=metronome), 25)
    assert {frame.picture is None for frame in frames} == {True}
    assert frames[24].position.capture_us == 1_000_000
    again = await take(PromptOnlySource(frame_rate=24, metronome=metronome, after=frames[24].position), 1)
    assert again[0].position.capture_us == round(25e6 / 24)


async def test_own_sources_stand_still_while_nobody_is_linked(clock: ManualClock, metronome: Metronome) -> None:
    metronome.stop()
    frames = PromptOnlySource(frame_rate=16, metronome=metronome).frames()
    waiting = asyncio.ensure_future(anext(frames))
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(100.0)
    metronome.run()
    assert (await waiting).position.capture_us == 0
    before = clock.monotonic()
    await anext(frames)
    assert clock.monotonic() - before == pytest.approx(1 / 16), "no catching up of the time that it stood"


async def file_frames(
    clip: Path, metronome: Metronome, executor: ThreadPoolExecutor, *, loop: bool, after_us: int | None, count: int
) -> list[SourceFrame]:
    source = FileSource(
        clip,
        loop=loop,
        width=192,
        height=128,
        fit=PictureFit.CROP,
        metronome=metronome,
        executor=executor,
        after=None if after_us is None else SourcePosition(0, after_us),
    )
    return await take(source, count)


async def test_a_file_plays_once_at_its_own_speed(
    clip: Path, clock: ManualClock, metronome: Metronome, executor: ThreadPoolExecutor
) -> None:
    begin = clock.monotonic()
    frames = await file_frames(clip, metronome, executor, loop=False, after_us=None, count=999)
    assert numbers(frames) == list(range(CLIP_FRAMES))
    assert clock.monotonic() - begin == pytest.approx((CLIP_FRAMES - 1) / CLIP_RATE, abs=0.02)


async def test_a_looped_file_never_ends_and_its_time_goes_on(
    clip: Path, metronome: Metronome, executor: ThreadPoolExecutor
) -> None:
    frames = await file_frames(clip, metronome, executor, loop=True, after_us=None, count=30)
    assert numbers(frames) == [index % CLIP_FRAMES for index in range(30)]
    times = [frame.position.capture_us for frame in frames]
    assert times == sorted(set(times))


@pytest.mark.parametrize("shown", [0, 3, 11, 12, 17, 27])
async def test_a_file_goes_on_after_the_last_frame_shown(
    clip: Path, metronome: Metronome, executor: ThreadPoolExecutor, shown: int
) -> None:
    frames = await file_frames(clip, metronome, executor, loop=True, after_us=None, count=shown + 4)
    after_us = frames[shown].position.capture_us
    again = await file_frames(clip, metronome, executor, loop=True, after_us=after_us, count=3)
    assert [f.position for f in again] == [f.position for f in frames[shown + 1 :]]
    assert numbers(again) == numbers(frames[shown + 1 :])


async def test_a_file_that_is_no_video_is_named(
    tmp_path: Path, metronome: Metronome, executor: ThreadPoolExecutor
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("no video at all")
    with pytest.raises(SourceFailed, match=r"notes\.txt has no readable video"):
        await file_frames(path, metronome, executor, loop=True, after_us=None, count=1)


def test_only_files_below_the_media_root_are_found(tmp_path: Path) -> None:
    root, secret = tmp_path / "media", tmp_path / "secret.mp4"
    (root / "inside").mkdir(parents=True)
    secret.write_bytes(b"x")
    (root / "inside" / "a.mp4").write_bytes(b"x")
    (root / "way-out.mp4").symlink_to(secret)
    (root / "folder-out").symlink_to(tmp_path)
    (root / "way-in.mp4").symlink_to(root / "inside" / "a.mp4")
    assert find_media(root, "inside/a.mp4") == root / "inside" / "a.mp4"
    assert find_media(root, "inside/../inside/a.mp4") == root / "inside" / "a.mp4"
    assert find_media(root, "way-in.mp4") == root / "inside" / "a.mp4"
    for path in ("../secret.mp4", "way-out.mp4", "folder-out/secret.mp4", str(secret), "inside", "nothing.mp4", "a\0b"):
        with pytest.raises(SourceFailed):
            find_media(root, path)


def test_without_a_media_root_there_are_no_files() -> None:
    with pytest.raises(SourceFailed, match="--media-root"):
        find_media(None, "a.mp4")
