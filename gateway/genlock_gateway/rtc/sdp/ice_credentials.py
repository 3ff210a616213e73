"""User name fragment and password of one end of ICE (RFC 8839 section 5.4)."""

import re
from dataclasses import dataclass, field

from genlock_gateway.rtc.sdp.offer_error import malformed

_UFRAG = re.compile(r"[A-Za-z0-9+/]{4,256}")
_PASSWORD = re.compile(r"[A-Za-z0-9+/]{22,256}")


@dataclass(frozen=True, slots=True)
class IceCredentials:
    """One end's for one generation; equal ones are the same generation."""

    ufrag: str
    password: str = field(repr=False)

    @classmethod
    def read(cls, ufrag: str, password: str) -> "IceCredentials":
        """Raises OfferError(malformed) if they break the grammar."""
        if not _UFRAG.fullmatch(ufrag) or not _PASSWORD.fullmatch(password):
            raise malformed("a=ice-ufrag or a=ice-pwd breaks RFC 8839 section 5.4")
        return cls(ufrag, password)
