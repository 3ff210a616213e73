"""Source `none`: no pictures, only time that passes; the model generates from the prompt alone."""

from collections.abc import AsyncIterator

from genlock_core.media import SourcePosition
from genlock_worker.intake.chunks import SourceFrame
from genlock_worker.intake.source import OWN_RUN, Metronome, next_index


class PromptOnlySource:
    """Empty frames at the session's frame rate, from the frame after `after` on."""

    def __init__(self, *, frame_rate: int, metronome: Metronome, after: SourcePosition | None = None) -> None:
        self._rate = frame_rate
        self._metronome = metronome
        self._after = after

    async def frames(self) -> AsyncIterator[SourceFrame]:
        index = next_index(self._after, self._rate)
        while True:
            now_s = await self._metronome.wait(index / self._rate)
            yield SourceFrame(SourcePosition(OWN_RUN, round(index * 1_000_000 / self._rate)), None, now_s)
            index += 1
