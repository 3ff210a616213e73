"""The one error of the media plane that a client can cause."""

from typing import Literal

OfferErrorKind = Literal["malformed", "unsupported"]


class OfferError(Exception):
    """An SDP offer or trickle fragment that cannot be taken.

    `kind` is `malformed` when the text breaks its grammar (HTTP 400) and `unsupported` when it is well-formed but asks
    for something that is not served (HTTP 422, RFC 9725 section 4.2).
    """

    def __init__(self, kind: OfferErrorKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def __repr__(self) -> str:
        return f"OfferError(kind={self.kind!r}, message={self.message!r})"


def malformed(message: str) -> OfferError:
    return OfferError("malformed", message)


def unsupported(message: str) -> OfferError:
    return OfferError("unsupported", message)
