"""The client's end of the transport in its offer: ICE (RFC 8839), DTLS role and fingerprints (RFC 8842, RFC 8122)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import malformed, unsupported
from genlock_gateway.rtc.sdp.sdp import attributes, first

Setup = Literal["actpass", "active", "passive"]

FINGERPRINT_DIGEST_BYTES = {"sha-256": 32, "sha-384": 48, "sha-512": 64}

_HEX_PAIRS = re.compile(r"[0-9A-Fa-f]{2}(?::[0-9A-Fa-f]{2})*")


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Digest of the certificate that the client will show (RFC 8122)."""

    algorithm: str
    value: str


@dataclass(frozen=True, slots=True)
class OfferedTransport:
    """How the client's end of the one transport is reached and known.

    `setup` is its DTLS role: `actpass`, `active` or `passive`.
    """

    setup: Setup
    ice: IceCredentials
    fingerprints: tuple[Fingerprint, ...]

    @classmethod
    def read(cls, session: list[str], media: list[list[str]], *, tag: int, video: int) -> "OfferedTransport":
        """From the sections `tag` (whose attributes hold for the bundle) and `video`, else the session's lines.

        Raises OfferError.
        """
        places = (media[tag], media[video], session)

        def value(name: str) -> str:
            found = next((text for lines in places if (text := first(lines, name)) is not None), None)
            if found is None:
                raise malformed(f"the offer lacks a={name}")
            return found

        setup = value("setup")
        ice = IceCredentials.read(value("ice-ufrag"), value("ice-pwd"))
        if setup not in ("actpass", "active", "passive"):
            raise malformed("a=setup of an offer is actpass, active or passive")
        return cls(setup, ice, cls._fingerprints(places))  # type: ignore[arg-type]  # checked above

    @staticmethod
    def _fingerprints(places: tuple[list[str], ...]) -> tuple[Fingerprint, ...]:
        lines = next((found for place in places if (found := list(_fingerprint_values(place)))), [])
        if not lines:
            raise malformed("the offer lacks a=fingerprint")
        known: list[Fingerprint] = []
        for line in lines[:8]:
            algorithm, _, digest = line.partition(" ")
            size = FINGERPRINT_DIGEST_BYTES.get(algorithm.lower())
            if size is None:
                continue
            if not _HEX_PAIRS.fullmatch(digest.strip()) or len(digest.strip()) != 3 * size - 1:
                raise malformed(f"a=fingerprint is not a {algorithm.lower()} digest")
            known.append(Fingerprint(algorithm.lower(), digest.strip().upper()))
        if not known:
            raise unsupported("no fingerprint is of sha-256, sha-384 or sha-512")
        return tuple(known)


def _fingerprint_values(lines: list[str]) -> Iterator[str]:
    return (value for name, value in attributes(lines) if name == "fingerprint")
