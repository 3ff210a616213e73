"""Whatever happens to a decoder's process: its session waits for a key frame, and another process decodes that."""

import gc
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from genlock_core.bounds import Holdings
from genlock_core.clock import ManualClock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.out_of_process import nursery as nursery_client
from genlock_worker.intake.out_of_process.decoder import OutOfProcessDecoder
from genlock_worker.intake.out_of_process.limits import goes_alone
from genlock_worker.intake.out_of_process.nursery import MEMORY_BYTES
from genlock_worker.intake.out_of_process.process import DEADLINE_S, DecoderLost, DecoderProcess, Loss
from genlock_worker.intake.out_of_process.wire import Decoded, Drain, Fetch, Fetched, pack_answer
from tests.bitstreams import clips
from tests.worker.intake.out_of_process.nurseries import (
    Home,
    change_nurseries,
    is_gone,
    key_frame,
    nursery,
    pid_of,
    process_of,
    send,
    units,
    wait_until,
)
from tests.worker.pattern_numbers import read_index

STREAM = units(clips.h264(12, x264="keyint=6:min-keyint=6"), keys=(0, 6))
KEY, NEXT = STREAM[0], STREAM[1]


@pytest.fixture
def home() -> Iterator[Home]:
    with nursery() as made:
        yield made


@pytest.fixture
def decoder(home: Home) -> Iterator[OutOfProcessDecoder]:
    made = home.decoder()
    yield made
    made.close()


def numbers(decoder: OutOfProcessDecoder, given: list[AccessUnit]) -> list[int]:
    """The pictures that come out."""
    out = []
    for unit in given:
        for frame in decoder.decode(unit):
            picture = frame.fitted(width=clips.WIDTH, height=clips.HEIGHT)
            assert picture is not None
            out.append(read_index(picture))
    return out


def assert_is_lost(decoder: OutOfProcessDecoder) -> None:
    assert decoder.needs_key_frame
    assert not decoder.holds
    assert decoder.trouble is Trouble.UNDECODABLE
    assert decoder._process is None


def test_a_decoder_that_crashes_is_replaced_at_the_next_key_frame(home: Home, decoder: OutOfProcessDecoder) -> None:
    assert numbers(decoder, STREAM[:3]) == [0, 1, 2]
    crashed = pid_of(decoder)
    send(crashed, signal.SIGSEGV)

    assert not decoder.decode(STREAM[3])
    assert_is_lost(decoder)
    assert home.losses("died") == 1

    assert numbers(decoder, STREAM[4:]) == [6, 7, 8, 9, 10, 11], "nothing before the key frame"
    assert decoder.trouble is None
    assert pid_of(decoder) != crashed
    wait_until(lambda: is_gone(crashed))
    assert home.losses("died") == 1


def test_a_decoder_that_dies_before_its_picture_is_read_gives_none(home: Home, decoder: OutOfProcessDecoder) -> None:
    (frame,) = decoder.decode(KEY)
    send(pid_of(decoder), signal.SIGKILL)
    assert frame.fitted(width=clips.WIDTH, height=clips.HEIGHT) is None
    assert_is_lost(decoder)
    assert home.losses("died") == 1
    assert numbers(decoder, [KEY]) == [0]


def test_a_decoder_that_hangs_is_killed_at_its_deadline() -> None:
    with nursery(deadline_s=0.3) as home:
        decoder = home.decoder()
        assert numbers(decoder, [KEY]) == [0]
        hung = pid_of(decoder)
        send(hung, signal.SIGSTOP)

        assert not decoder.decode(NEXT)
        assert_is_lost(decoder)
        assert home.losses("hung") == 1
        wait_until(lambda: is_gone(hung))
        assert numbers(decoder, [KEY]) == [0]
        decoder.close()


def test_a_picture_that_takes_too_much_memory_ends_its_decoder_alone() -> None:
    """3840x2160 is well within what may be sent, and takes 12 MB for each picture and 25 MB in RGB."""
    with nursery(memory_bytes=24 * 1024 * 1024) as home:
        small = home.decoder()
        large = home.decoder()
        assert numbers(small, [KEY]) == [0]
        ended = large_one(large)
        assert ended
        assert_is_lost(large)
        assert home.losses("memory") == 1
        assert numbers(small, [NEXT]) == [1], "another session's decoder goes on"
        small.close()
        large.close()


def test_the_same_picture_is_decoded_within_the_limit_that_workers_have(home: Home) -> None:
    decoder = home.decoder()
    assert not large_one(decoder)
    assert home.losses("memory") == 0
    decoder.close()


def large_one(decoder: OutOfProcessDecoder) -> bool:
    """Whether the decoder was lost by it."""
    frames = decoder.decode(key_frame(width=3_840, height=2_160))
    return not frames or frames[0].fitted(width=clips.WIDTH, height=clips.HEIGHT) is None


def test_a_session_that_breaks_each_decoder_waits_longer_and_longer_for_the_next() -> None:
    clock = ManualClock()
    with nursery(clock=clock) as home:
        decoder = home.decoder()
        taken = []
        for _ in range(100):
            decoder.decode(KEY)
            if decoder._process is not None:
                taken.append(round(clock.monotonic(), 1))
                send(pid_of(decoder), signal.SIGSEGV)
                decoder.decode(NEXT)
            clock.advance(0.5)
        began = taken[0]
        assert [at - began for at in taken] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
        assert home.losses("died") == len(taken)
        wait_until(lambda: len(home.decoders) == 1)
        decoder.close()


def test_a_republication_does_not_shorten_the_wait() -> None:
    clock = ManualClock()
    with nursery(clock=clock) as home:
        decoders = home.nursery.for_session("default/demo")
        for _ in range(2):
            decoder = decoders(Codec.H264, holdings=Holdings())
            assert decoder.decode(KEY)
            send(pid_of(decoder), signal.SIGKILL)
            assert not decoder.decode(NEXT)
            decoder.close()

        decoder = decoders(Codec.H264, holdings=Holdings())
        assert not decoder.decode(KEY)
        clock.advance(1.0)
        assert decoder.decode(KEY)
        decoder.close()


def test_there_are_as_many_decoders_as_sessions_and_a_spare(home: Home) -> None:
    decoders = [home.decoder() for _ in range(5)]
    wait_until(lambda: len(home.decoders) == 1)
    for decoder in decoders:
        for _ in range(3):
            assert numbers(decoder, [KEY]) == [0]
    wait_until(lambda: len(home.decoders) == 6)
    for decoder in decoders:
        decoder.close()
    wait_until(lambda: len(home.decoders) == 1)


def test_a_spare_that_ended_while_it_waited_is_passed_over(home: Home, decoder: OutOfProcessDecoder) -> None:
    wait_until(lambda: len(home.decoders) == 1)
    (spare,) = home.decoders
    send(spare, signal.SIGKILL)
    wait_until(lambda: is_gone(spare))
    assert numbers(decoder, [KEY]) == [0]
    assert home.losses("died") == 0


def test_a_nursery_that_dies_takes_its_decoders_with_it_and_is_started_anew(
    home: Home, decoder: OutOfProcessDecoder
) -> None:
    assert numbers(decoder, [KEY]) == [0]
    first, own = home.pid, pid_of(decoder)
    send(first, signal.SIGKILL)
    wait_until(lambda: is_gone(own))

    assert not decoder.decode(NEXT)
    assert home.losses("died") == 1
    assert numbers(decoder, [KEY]) == [0]
    assert home.pid != first
    assert home.restarts == 1


def test_a_nursery_that_cannot_be_started_anew_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = ManualClock()
    with nursery(clock=clock) as home:
        decoder = home.decoder()
        send(home.pid, signal.SIGKILL)
        wait_until(lambda: is_gone(home.pid))
        before = descriptors()
        for refused in "subprocess.Popen", "socket.socketpair":
            with monkeypatch.context() as patched:
                patched.setattr(refused, refuse)
                assert not decoder.decode(KEY)
        assert home.losses("not-ready") == 2
        assert home.restarts == 0
        assert descriptors() == before - 1, "the socket to the nursery that died"

        clock.advance(1.0)
        assert numbers(decoder, [KEY]) == [0]
        assert home.restarts == 1
        decoder.close()


@pytest.mark.parametrize("refused", ["subprocess.Popen", "socket.socketpair"])
def test_a_system_that_starts_no_nursery_is_a_reason_for_the_worker_not_to_start(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = nursery_client.Nursery(clock=ManualClock(), metrics=WorkerMetrics(CollectorRegistry()))
    before = descriptors()
    monkeypatch.setattr(refused, refuse)
    with pytest.raises(nursery_client.NurseryFailed, match="--decode-process=no"):
        made.start()
    assert descriptors() == before


def refuse(*_: object, **__: object) -> None:
    raise BlockingIOError("the system has too many processes")


def descriptors() -> int:
    """How many this process has open, what other tests have left behind excepted."""
    gc.collect()
    return len(list(Path("/proc/self/fd").iterdir()))


def test_nurseries_that_die_leave_no_descriptor_behind(home: Home) -> None:
    before = descriptors()
    for _ in range(3):
        dead = home.pid
        send(dead, signal.SIGKILL)
        wait_until(lambda dead=dead: is_gone(dead))  # type: ignore[misc]
        home.nursery.take().end()
        home.await_spare()
    assert home.restarts == 3
    assert descriptors() == before


def test_a_nursery_that_hangs_is_replaced(home: Home) -> None:
    hung = home.pid
    send(hung, signal.SIGSTOP)
    first, second = home.decoder(), home.decoder()
    assert numbers(first, [KEY]) == [0], "the spare one is there"
    home.connection.settimeout(0.2)

    assert not second.decode(KEY)
    assert home.losses("not-ready") == 1
    assert is_gone(hung)
    assert numbers(second, [KEY]) == [0]
    assert home.restarts == 1
    first.close()
    second.close()


def test_a_nursery_that_the_system_refuses_a_fork_keeps_its_decoders(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    full = tmp_path / "full"
    change_nurseries(
        monkeypatch,
        tmp_path,
        f"""
fork = os.fork
def fork_if_there_is_room():
    if Path({str(full)!r}).exists():
        raise BlockingIOError
    return fork()
os.fork = fork_if_there_is_room
""",
    )
    with nursery() as home:
        full.touch()
        first, second = home.decoder(), home.decoder()
        assert numbers(first, [KEY]) == [0], "the spare one is there"
        home.await_word()
        home.connection.settimeout(0.1)
        assert not second.decode(KEY)
        assert home.losses("not-ready") == 1
        assert numbers(first, [NEXT]) == [1]

        full.unlink()
        home.await_word()
        assert numbers(second, [KEY]) == [0]
        assert home.restarts == 0
        first.close()
        second.close()


def test_a_session_that_leaves_wakes_whoever_waits_for_its_decoder(home: Home, decoder: OutOfProcessDecoder) -> None:
    assert numbers(decoder, [KEY]) == [0]
    pid = pid_of(decoder)
    send(pid, signal.SIGSTOP)
    came: list[int] = []
    waits = threading.Thread(target=lambda: came.append(len(decoder.decode(NEXT))))
    waits.start()
    wait_until(lambda: process_of(decoder)._calls.locked())

    began_s = time.monotonic()
    decoder.close()
    waits.join()
    assert time.monotonic() - began_s < DEADLINE_S / 2
    assert came == [0]
    assert home.losses("died") == home.losses("hung") == 0, "the worker wanted it"
    wait_until(lambda: is_gone(pid))
    assert not decoder.decode(KEY), "it is closed"


def test_nothing_is_left_when_the_nursery_is_closed_also_of_decoders_that_hang() -> None:
    with nursery() as home:
        decoders = [home.decoder() for _ in range(3)]
        for decoder in decoders:
            assert decoder.decode(KEY)
        send(pid_of(decoders[0]), signal.SIGSTOP)
        everybody = [home.pid, *home.decoders]
        assert len(everybody) >= 4
    for pid in everybody:
        wait_until(lambda pid=pid: is_gone(pid))  # type: ignore[misc]
    for decoder in decoders:
        assert not decoder.decode(NEXT)
        decoder.close()


def test_a_decoder_has_nothing_of_the_workers_and_can_open_nothing(
    decoder: OutOfProcessDecoder,
) -> None:
    assert numbers(decoder, [KEY]) == [0]
    pid = pid_of(decoder)
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()[1:]
    limits = {line[:25].strip(): line[25:].split()[:2] for line in lines}
    assert limits["Max open files"] == ["0", "0"]
    assert limits["Max core file size"] == ["0", "0"]
    assert limits["Max processes"] == ["0", "0"]
    assert int(limits["Max address space"][1]) < MEMORY_BYTES + 1024**3

    targets = {link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if int(link.name) > 2}
    assert len(targets) == 2, "its socket and its pictures"
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    assert status["Threads"].strip() == "1"
    assert status["NoNewPrivs"].strip() == "1"
    if goes_alone():
        assert oom_score(pid) == "1000", "it goes before the worker"


def oom_score(pid: int) -> str:
    return Path(f"/proc/{pid}/oom_score_adj").read_text().strip()


@pytest.mark.parametrize(("group", "is_first"), [("0", True), ("1", False)])
def test_a_decoder_asks_to_be_killed_first_only_where_it_is_killed_alone(
    group: str, is_first: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cgroup").write_text("0::/\n")
    (tmp_path / "memory.oom.group").write_text(f"{group}\n")
    change_nurseries(
        monkeypatch,
        tmp_path,
        f"limits._CGROUPS = Path({str(tmp_path)!r})\nlimits._MEMBERSHIPS = limits._CGROUPS / 'cgroup'",
    )
    with nursery() as home:
        decoder = home.decoder()
        assert numbers(decoder, [KEY]) == [0]
        assert oom_score(pid_of(decoder)) == ("1000" if is_first else oom_score(home.pid))
        decoder.close()


@pytest.mark.parametrize("broken", ["no-such-module", "sys"], ids=["does not start", "ends at once"])
async def test_a_nursery_that_gives_no_decoder_is_a_reason_for_the_worker_not_to_start(
    broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nursery_client, "_MODULE", broken)
    made = nursery_client.Nursery(clock=ManualClock(), metrics=WorkerMetrics(CollectorRegistry()))
    made.start()
    try:
        with pytest.raises(nursery_client.NurseryFailed, match="--decode-process=no"):
            await made.ready()
    finally:
        made.close()


async def test_decoders_that_cannot_be_confined_are_a_reason_for_the_worker_not_to_start(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The nursery offers each of them before it has confined itself."""
    change_nurseries(monkeypatch, tmp_path, "limits.confine = lambda **_: 1 / 0")
    made = nursery_client.Nursery(clock=ManualClock(), metrics=WorkerMetrics(CollectorRegistry()))
    made.start()
    try:
        with pytest.raises(nursery_client.NurseryFailed, match="--decode-process=no"):
            await made.ready()
    finally:
        made.close()


def test_the_nursery_is_not_told_the_workers_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENLOCK_SECRETS", "a secret that a decoder must not know")
    monkeypatch.setenv("GENLOCK_WORKER_REDIS", "redis://:a-secret@redis:6379")
    with nursery() as home:
        environment = Path(f"/proc/{home.pid}/environ").read_bytes()
        assert b"PATH=" in environment
        assert b"secret" not in environment


# -- what comes from a process that somebody else has taken over -------------------------------------------------------


class Impostor:
    """The other end of a decoder's socket, without a process behind it."""

    def __init__(self, deadline_s: float = 0.3) -> None:
        ours, self.theirs = socket.socketpair()
        self.pictures = os.memfd_create("pictures")
        self.process = DecoderProcess(
            ours, pictures=os.dup(self.pictures), pidfd=os.pidfd_open(self._dead()), deadline_s=deadline_s
        )

    def _dead(self) -> int:
        pid = os.posix_spawn("/bin/true", ["true"], {})
        self._pid = pid
        return pid

    def close(self) -> None:
        self.process.end()
        self.theirs.close()
        os.close(self.pictures)
        with suppress(ChildProcessError):
            os.waitpid(self._pid, 0)


@pytest.fixture
def impostor() -> Iterator[Impostor]:
    made = Impostor()
    yield made
    made.close()


FETCH = Fetch(0, 64, 64, PictureFit.CROP)


def loss_of(impostor: Impostor, answer: bytes, request: Fetch | Drain = FETCH) -> Loss | None:
    impostor.theirs.sendall(answer)
    with pytest.raises(DecoderLost) as lost:
        impostor.process.picture(request) if isinstance(request, Fetch) else impostor.process.ask(request)
    return lost.value.loss


def test_what_is_no_answer_loses_the_decoder(impostor: Impostor) -> None:
    assert loss_of(impostor, b"\xff" * 40) is Loss.GARBLED


def test_half_an_answer_is_waited_for_until_the_deadline(impostor: Impostor) -> None:
    assert loss_of(impostor, b"\1\0", Drain()) is Loss.HUNG


def test_memory_that_was_taken_away_loses_the_decoder_and_not_the_worker(impostor: Impostor) -> None:
    """A mapping of it would end the worker by SIGBUS."""
    os.ftruncate(impostor.pictures, 64 * 64 * 3)
    impostor.theirs.sendall(pack_answer(Fetched()))
    assert impostor.process.picture(FETCH).shape == (64, 64, 3)
    os.ftruncate(impostor.pictures, 100)
    assert loss_of(impostor, pack_answer(Fetched())) is Loss.GARBLED


def test_a_picture_that_was_not_asked_for_is_no_answer(impostor: Impostor) -> None:
    decoded = pack_answer(Decoded(False, False, False, None, 0, 0, ()))
    assert loss_of(impostor, decoded) is Loss.GARBLED
