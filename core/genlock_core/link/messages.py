"""The JSON payloads of the link, with their limits: what a peer may say, checked where it enters.

Unknown fields are ignored, so that a newer minor version can add some; a missing or wrong one is a LinkProtocolError.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from genlock_core.errors import LinkProtocolError
from genlock_core.media import Codec, SourcePosition
from genlock_core.subscriptions.subscription import FrameKind, Subscription

MAX_JSON_BYTES = 64 * 1024
"""Longest JSON payload."""

_U64 = 2**64 - 1

Name = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[!-~]+$")]
"""The name of a worker, a gateway, an incarnation or a session: visible ASCII."""
Epoch = Annotated[int, Field(ge=0, le=_U64, strict=True)]
Reason = Annotated[str, Field(max_length=1_000)]


class LinkRole(StrEnum):
    """Which end of the link somebody is."""

    GATEWAY = "gateway"
    WORKER = "worker"


class RefusalReason(StrEnum):
    """Why a worker does not take a session's channel."""

    NOT_OWNER = "not-owner"
    """The worker does not hold the session's claim in that epoch."""
    DRAINING = "draining"
    NO_SLOT = "no-slot"
    ENGINE = "engine"
    """The engine could not open or restore the session."""
    NOT_SERVED = "not-served"
    """The worker does not make what was subscribed to. Only SUBSCRIBE is refused with it."""


class Message(BaseModel):
    """Base of the payloads: camelCase on the wire, frozen."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True).encode()


class Hello(Message):
    """Who speaks, in which version, and a fresh nonce. The gateway speaks first; the worker's answer has its proof."""

    version: Annotated[int, Field(ge=0, le=0xFFFF, strict=True)]
    minor: Annotated[int, Field(ge=0, le=0xFFFF, strict=True)] = 0
    role: LinkRole
    name: Name
    incarnation: Name
    nonce: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    keys: Annotated[tuple[Name, ...], Field(max_length=16)] = ()
    """Of a gateway: the ids of the secrets that it knows, the preferred one first."""
    key: Name | None = None
    """Of a worker: the id of the secret that it took."""
    mac: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Of a worker: its proof."""


class Auth(Message):
    """The gateway's proof."""

    mac: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class After(Message):
    """A position in the source, as it stands on the wire."""

    run: Annotated[int, Field(ge=0, le=_U64, strict=True)]
    capture_us: Annotated[int, Field(ge=-(2**63), lt=2**63, strict=True)]


class Open(Message):
    """A gateway wants a channel for a session: it subscribes to the encoded output."""

    session: Name
    epoch: Epoch
    gateway: Name
    publisher: bool = False
    """Whether the session's publisher is at this gateway."""
    codecs: Annotated[tuple[Annotated[str, Field(max_length=16)], ...], Field(max_length=8)] = ()
    """The output codecs that the gateway has viewers for, as in `Codec.name.lower()`."""
    after: After | None = None
    """The last source frame that viewers were shown; nothing older must come."""

    @property
    def position(self) -> SourcePosition | None:
        return None if self.after is None else SourcePosition(self.after.run, self.after.capture_us)

    @property
    def subscription(self) -> Subscription:
        """What the gateway subscribes to; codecs that this version does not know are left out."""
        return Subscription(
            session=self.session,
            epoch=self.epoch,
            subscriber=self.gateway,
            frames=FrameKind.ENCODED,
            codecs=codecs_of(self.codecs),
        )

    @classmethod
    def of(cls, subscription: Subscription, *, publisher: bool, after: SourcePosition | None) -> "Open":
        """The words of a subscription to encoded output, the one kind that OPEN can say."""
        if subscription.frames is not FrameKind.ENCODED:
            raise ValueError(f"OPEN subscribes to encoded output, not to {subscription.frames} pictures")
        return cls(
            session=subscription.session,
            epoch=subscription.epoch,
            gateway=subscription.subscriber,
            publisher=publisher,
            codecs=names_of(subscription.codecs),
            after=None if after is None else After(run=after.run, capture_us=after.capture_us),
        )


TtlMs = Annotated[int, Field(ge=1, le=60_000, strict=True)]


class Subscribe(Message):
    """A gateway wants pictures of a session, on a channel of their own, for `ttl_ms` unless it renews that.

    `frames` is a word of `FrameKind`; one that this version does not know is refused, not a mistake.
    """

    session: Name
    epoch: Epoch
    subscriber: Name
    frames: Annotated[str, Field(max_length=16)]
    rate: Annotated[float, Field(gt=0, le=1_000, strict=True)] | None = None
    long_side: Annotated[int, Field(ge=1, le=16_384, strict=True)] | None = None
    ttl_ms: TtlMs

    @property
    def subscription(self) -> Subscription | None:
        """What is subscribed to; None if this version does not know that kind of frame."""
        if self.frames not in set(FrameKind):
            return None
        return Subscription(
            session=self.session,
            epoch=self.epoch,
            subscriber=self.subscriber,
            frames=FrameKind(self.frames),
            rate=self.rate,
            long_side=self.long_side,
        )

    @classmethod
    def of(cls, subscription: Subscription, *, ttl_s: float) -> "Subscribe":
        """The words of a subscription to pictures."""
        return cls(
            session=subscription.session,
            epoch=subscription.epoch,
            subscriber=subscription.subscriber,
            frames=subscription.frames,
            rate=subscription.rate,
            long_side=subscription.long_side,
            ttl_ms=round(ttl_s * 1_000),
        )


class Renew(Message):
    """The subscriber still asks: its subscription lives on for `ttl_ms`."""

    ttl_ms: TtlMs


class Opened(Message):
    """The worker serves what OPEN or SUBSCRIBE asked for."""

    session: Name
    epoch: Epoch
    restore_ms: Annotated[int, Field(ge=0, le=_U64, strict=True)] | None = None
    """How long it took to take the session over, its state read and rebuilt; None from the release before."""

    def to_json(self) -> bytes:
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()


class Refused(Message):
    reason: RefusalReason
    message: Reason = ""
    epoch: Epoch = 0


class Close(Message):
    """Ends a channel, or on channel 0 the connection; `fault` says that the peer broke the protocol, and how."""

    reason: Reason = ""
    fault: Literal["auth", "protocol"] | None = None


class SourceState(Message):
    """A publisher came (`present`) or went."""

    present: bool
    run: Annotated[int, Field(ge=0, le=_U64, strict=True)]


class Handover(Message):
    """The session moved politely: who owns it now."""

    epoch: Epoch
    address: Annotated[str, Field(min_length=1, max_length=300)]


CodecNames = TypeAdapter(Annotated[tuple[Annotated[str, Field(max_length=16)], ...], Field(max_length=8)])
Report: TypeAdapter[Mapping[str, JsonValue]] = TypeAdapter(
    Mapping[str, JsonValue], config=ConfigDict(allow_inf_nan=False)
)

_M = TypeVar("_M", bound=Message)
_T = TypeVar("_T")


def parse(model: type[_M], payload: bytes) -> _M:
    """A payload as its model. Raises LinkProtocolError."""
    check_json_length(payload)
    try:
        return model.model_validate_json(payload)
    except ValidationError as error:
        raise LinkProtocolError(f"{model.__name__}: {_first_problem(error)}") from None


def parse_value(adapter: TypeAdapter[_T], payload: bytes, what: str) -> _T:
    """A payload that is not an object of fixed fields. Raises LinkProtocolError."""
    check_json_length(payload)
    try:
        return adapter.validate_json(payload)
    except ValidationError as error:
        raise LinkProtocolError(f"{what}: {_first_problem(error)}") from None


def check_json_length(payload: bytes) -> None:
    """Raises LinkProtocolError if a JSON payload is over its limit."""
    if len(payload) > MAX_JSON_BYTES:
        raise LinkProtocolError(f"a JSON payload of {len(payload)} bytes is over the maximum of {MAX_JSON_BYTES}")


def codecs_of(names: tuple[str, ...]) -> frozenset[Codec]:
    """The codecs among these names; ones that this version does not know are left out, for it cannot make them."""
    known: Mapping[str, Codec] = {codec.name.lower(): codec for codec in Codec}
    return frozenset(known[name] for name in names if name in known)


def names_of(codecs: frozenset[Codec]) -> tuple[str, ...]:
    """The inverse of `codecs_of`, sorted."""
    return tuple(sorted(codec.name.lower() for codec in codecs))


def _first_problem(error: ValidationError) -> str:
    problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(part) for part in problem["loc"])
    return f"{path}: {problem['msg']}" if path else problem["msg"]
