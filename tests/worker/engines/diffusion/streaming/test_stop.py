"""An engine that is stopped leaves no thread behind: a process that ends while the VAE is at work ends well."""

import subprocess
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue

import pytest
import torch
from torch import Tensor

from genlock_core.clock import ManualClock
from genlock_worker.engines.contract import Row
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.streaming.one_thread import OneThread
from genlock_worker.engines.diffusion.streaming.pictures import PictureDecoder
from tests.worker.engines.diffusion.streaming.test_pictures import Patient
from tests.worker.engines.diffusion.streams import BlockVae, chunk, diffusion_engine, settings

ENDS_AT_WORK = """
import sys, threading
import torch
from genlock_worker.engines.contract import Row
from tests.worker.engines.diffusion.streams import BlockVae, chunk, diffusion_engine, settings

class Busy(BlockVae):
    begun = threading.Event()

    def decode(self, stream, latents):
        return self.slowly("decode") or super().decode(stream, latents)

    def encode(self, stream, frames):
        return self.slowly("encode") or super().encode(stream, frames)

    def slowly(self, kind):
        if kind in sys.argv:
            self.begun.set()
            big = torch.ones(700, 700)
            for _ in range(5):
                big = (big @ big).tanh()

torch.set_num_threads(1)
vae = Busy()
one = diffusion_engine(vae=vae)
one.prepare(settings().prompt)
for name in "ab":
    one.open(name, settings())
    fed = one.feed(name, chunk(0), steps=1)
    if "decode" in sys.argv:
        fed.encoded.result(20)
        one.submit(1, [Row(name, 0, 0)])
        one.collect()
assert vae.begun.wait(20)
assert {"encode", "decode"} <= {thread.name for thread in threading.enumerate()}
one.stop()
mine = ("encode", "decode", "jpeg", "states")
left = [thread.name for thread in threading.enumerate() if thread.name.startswith(mine)]
assert not left, left
print("the end")
"""


@pytest.mark.parametrize("at", ["encode", "decode"])
def test_a_process_that_ends_while_the_vae_is_at_work_ends_with_status_0(at: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", ENDS_AT_WORK, at], capture_output=True, text=True, timeout=90, check=False
    )
    assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr


def test_a_stopped_engine_finishes_the_chunk_at_hand_and_forgets_what_waits() -> None:
    vae = Patient()
    vae.let.clear()
    one = diffusion_engine(vae=vae)
    one.prepare(settings().prompt)
    pictures = []
    for name in "abc":
        one.open(name, settings())
        one.feed(name, chunk(0), steps=1).encoded.result(20)
        one.submit(1, [Row(name, 0, 0)])
        (result,) = one.collect()
        pictures.append(result.rows[0].pictures)  # type: ignore[union-attr]
        assert vae.asked.wait(20), "it is at the first, alone"
    threading.Timer(0.1, vae.let.set).start()
    one.stop()
    assert [coming is not None and coming.done() for coming in pictures] == [True, False, False]
    assert pictures[0] is not None
    assert pictures[0].result(0).shape[0] == 5


def test_a_device_that_hangs_does_not_keep_it_from_stopping(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genlock_worker.engines.diffusion.streaming.one_thread.STOP_S", 0.05)
    thread, begun, let = OneThread("hangs"), threading.Event(), threading.Event()

    def hang() -> bool:
        begun.set()
        return let.wait(20)

    hanging = thread.submit(hang)
    assert begun.wait(20)
    thread.stop()
    assert not hanging.done()
    let.set()
    assert hanging.result(20) is True


def test_a_thread_may_take_the_last_of_what_waits_while_it_is_being_stopped() -> None:
    class Raced(SimpleQueue[Callable[[], None] | None]):
        """Says that something waits, and the thread has it by the time that it is asked for."""

        def empty(self) -> bool:
            return False

    thread = OneThread("raced")
    thread.submit(int).result(20)
    thread._work.put(None)
    thread._thread.join(20)
    thread._work = Raced()
    stopping = threading.Thread(target=thread.stop, daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()


def test_a_decoder_without_a_thread_has_nothing_to_stop() -> None:
    class Gone(BlockVae):
        def decode(self, stream: VaeStream, latents: Tensor) -> Tensor:
            raise ValueError("gone")

    decoder = PictureDecoder(Gone(), clock=ManualClock(), overlap=False, memory_bytes=0)
    decoder.stop()
    coming = decoder.decode(Row("s", 0, 0), BlockVae().open(), torch.zeros(2, 16, 8, 8))
    assert coming.done()
