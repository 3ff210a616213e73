"""A publication's decoder as its session sees it, whichever process decodes for it now.

A process that is lost is like a stream that broke: nothing comes out until the next key frame, which is asked for, and
which a fresh process decodes.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from genlock_core.bounds import ByteBound, Holdings
from genlock_core.clock import Clock
from genlock_core.media import AccessUnit, Codec, Trouble
from genlock_core.metrics import WorkerMetrics
from genlock_core.spec.session import PictureFit
from genlock_worker.intake.decode import KEPT_LIMIT, PICTURES_LIMIT
from genlock_worker.intake.out_of_process.back_off import BackOff
from genlock_worker.intake.out_of_process.process import DecoderLost, DecoderProcess, Loss
from genlock_worker.intake.out_of_process.wire import Decode, Decoded, Drain, Fetch, FrameFacts, Request
from genlock_worker.intake.picture import Picture

logger = logging.getLogger(__name__)


class SessionDecoders:
    """Makes the decoders of one session, and says when one of them may have another process."""

    def __init__(
        self, session: str, *, take: Callable[[], DecoderProcess], clock: Clock, metrics: WorkerMetrics
    ) -> None:
        """`take` gives a process, or raises DecoderLost."""
        self._session = session
        self._take = take
        self._metrics = metrics
        self._back_off = BackOff(clock)

    def __call__(self, codec: Codec, *, holdings: Holdings) -> "OutOfProcessDecoder":
        return OutOfProcessDecoder(codec, holdings=holdings, decoders=self)

    def take(self) -> DecoderProcess | None:
        """A process; None while too many were lost, or none can be had."""
        if not self._back_off.is_over:
            return None
        try:
            return self._take()
        except DecoderLost as lost:
            self.lost(lost)
            return None

    def lost(self, lost: DecoderLost) -> None:
        """Count a loss, unless the worker wanted it."""
        if lost.loss is None:
            return
        wait_s = self._back_off.lost()
        self._metrics.decoder_losses.labels(lost.loss.value).inc()
        logger.warning(
            "%s: its decoder is lost (%s); the next one at a key frame, in %.0f s at the earliest",
            self._session,
            lost.loss.value,
            wait_s,
        )


@dataclass(frozen=True, slots=True)
class RemoteFrame:
    """A decoded picture that the decoder's process holds, until it is asked to decode again."""

    decoder: "OutOfProcessDecoder"
    process: DecoderProcess
    place: int
    facts: FrameFacts

    @property
    def pts(self) -> int:
        return self.facts.pts

    @property
    def width(self) -> int:
        return self.facts.width

    @property
    def height(self) -> int:
        return self.facts.height

    def fitted(self, *, width: int, height: int, fit: PictureFit = PictureFit.CROP) -> Picture | None:
        """As in `DecodedFrame`."""
        return self.decoder.picture(self.process, Fetch(self.place, width, height, fit))


class OutOfProcessDecoder:
    """As `VideoDecoder`. Has no process at first, takes one with a key frame, and another after it was lost.

    `needs_key_frame`, `trouble` and `holds` are those of the decoder in the process, as its last answer had them.
    """

    def __init__(self, codec: Codec, *, holdings: Holdings, decoders: SessionDecoders) -> None:
        self.codec = codec
        self.needs_key_frame = True
        self.trouble: Trouble | None = None
        self.holds = False
        self._decoders = decoders
        self._picture_bytes = holdings.bound(PICTURES_LIMIT)
        self._kept_bytes = holdings.bound(KEPT_LIMIT)
        self._after_gap = False
        self._ahead: Fetch | None = None
        """What was fetched last: the next picture is wanted like that. None while pictures are not used."""
        self._fetched: Fetch | None = None
        """What lies in the shared memory, fetched ahead."""
        self._process: DecoderProcess | None = None
        self._closing = threading.Lock()
        """Held while it is decided whether a process is wanted."""
        self._closed = False

    def decode(self, unit: AccessUnit) -> Sequence[RemoteFrame]:
        if self.needs_key_frame and not unit.key_frame:
            return []
        if not self._has_process():
            return []

        after_gap = self._after_gap
        self._after_gap = False
        ahead = self._ahead
        self._ahead = None
        return self._ask(Decode(unit, after_gap, ahead))

    def drain(self) -> Sequence[RemoteFrame]:
        return self._ask(Drain()) if self.holds else []

    def gap(self) -> None:
        self._after_gap = True
        self.needs_key_frame = True
        self.holds = False

    def close(self) -> None:
        with self._closing:
            self._closed = True
            process = self._process
        if process is not None:
            process.end()

    def picture(self, process: DecoderProcess, wanted: Fetch) -> Picture | None:
        """Of its last answer; `process`: the one that gave it. None if that is lost."""
        is_fetched = wanted == self._fetched
        # There is room for one picture.
        self._fetched = None
        self._ahead = replace(wanted, frame=0)
        try:
            return process.picture(wanted, is_fetched=is_fetched)
        except DecoderLost as lost:
            self._lost(process, lost)
            return None

    def _has_process(self) -> bool:
        if self._process is not None:
            return True
        process = self._decoders.take()
        if process is None:
            return False

        with self._closing:
            if not self._closed:
                self._process = process
                return True
        process.end()
        return False

    def _ask(self, request: Request) -> Sequence[RemoteFrame]:
        process = self._process
        if process is None:
            return []
        self._fetched = None
        try:
            answer = process.ask(request)
            if not isinstance(answer, Decoded):
                raise DecoderLost(Loss.GARBLED)
            self._believe(answer)
        except DecoderLost as lost:
            self._lost(process, lost)
            return []

        if isinstance(request, Decode) and answer.is_fetched:
            self._fetched = request.ahead
        return [RemoteFrame(self, process, place, facts) for place, facts in enumerate(answer.frames)]

    def _believe(self, answer: Decoded) -> None:
        """Take over how the decoder is. Raises DecoderLost for one that says more of itself than can be."""
        for bound, held in self._accounts(answer):
            if not bound.hold(held):
                raise DecoderLost(Loss.GARBLED)
        self.needs_key_frame = answer.needs_key_frame
        self.trouble = answer.trouble
        self.holds = answer.holds

    def _accounts(self, answer: Decoded) -> tuple[tuple[ByteBound, int], ...]:
        return (self._picture_bytes, answer.picture_bytes), (self._kept_bytes, answer.kept_bytes)

    def _lost(self, process: DecoderProcess, lost: DecoderLost) -> None:
        process.end()
        if self._process is not process:
            return
        self._process = None
        self.needs_key_frame = True
        self.holds = False
        self.trouble = Trouble.UNDECODABLE
        self._after_gap = False
        self._fetched = None
        self._picture_bytes.clear()
        self._kept_bytes.clear()
        self._decoders.lost(lost)
