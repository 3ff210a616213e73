"""The thread of one direction of the VAE, while more waits for it than it can do."""

from collections.abc import Sequence
from concurrent.futures import Future
from typing import cast

import torch

from genlock_worker.engines.contract import Row
from genlock_worker.engines.diffusion.network.vae import VaeStream
from genlock_worker.engines.diffusion.streaming.vae_thread import Piece, VaeThread

STREAMS = [cast(VaeStream, object()) for _ in range(4)]
CALLS = 30


class Saturated:
    """Four sessions, each of which has its next chunk ready before a call of all four is over."""

    def __init__(self) -> None:
        self.calls = 0
        self.answered: list[Future[int]] = []
        self.alone: Future[int] | None = None
        self.thread: VaeThread[int, int] = VaeThread(
            "saturated",
            torch.device("cpu"),
            past="coded",
            kind=lambda _, __: None,
            most=lambda _: len(STREAMS),
            run=self._run,
            overlap=True,
        )

    def feed(self) -> None:
        for number, stream in enumerate(STREAMS):
            self.answered.append(self.thread.submit(Row(f"s{number}", 0, self.calls), stream, self.calls))

    def _run(self, pieces: Sequence[Piece[int, int]]) -> Sequence[int | Exception]:
        self.calls += 1
        if self.calls < CALLS:
            self.feed()
        if self.calls == CALLS // 2:
            self.alone = self.thread.alone(lambda: self.calls)
        return [piece.item for piece in pieces]


def test_what_runs_alone_comes_after_one_more_call_however_much_waits() -> None:
    saturated = Saturated()
    try:
        saturated.feed()
        while saturated.alone is None or not saturated.alone.done():
            saturated.answered[0].result(timeout=60)
        assert saturated.alone.result() <= CALLS // 2 + 1
    finally:
        saturated.thread.stop()


def test_all_that_waits_is_answered_in_as_few_calls_as_it_fits_into() -> None:
    saturated = Saturated()
    try:
        saturated.feed()
        done = 0
        while done < len(saturated.answered):
            saturated.answered[done].result(timeout=60)
            done += 1
        assert done == CALLS * len(STREAMS)
        # The first call may begin before all four are there.
        assert saturated.calls <= CALLS + len(STREAMS)
    finally:
        saturated.thread.stop()
