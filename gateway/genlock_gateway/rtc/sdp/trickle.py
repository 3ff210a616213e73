"""Bodies of type application/trickle-ice-sdpfrag (RFC 8840 section 9), as WHIP and WHEP clients PATCH them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum, auto

from genlock_gateway.rtc.sdp.candidate import check_candidate
from genlock_gateway.rtc.sdp.ice_credentials import IceCredentials
from genlock_gateway.rtc.sdp.offer_error import malformed
from genlock_gateway.rtc.sdp.sdp import lines_of

MAX_FRAGMENT_CHARS = 16 * 1024


class Asked(Enum):
    """What a fragment wants."""

    CANDIDATES = auto()
    """To be reached at more addresses: nothing has to be done for that, as no address is contacted unasked."""
    RESTART = auto()
    """New credentials on both sides."""
    THE_SAME_AGAIN = auto()
    """The answer to the latest restart, which was lost on its way."""
    NOTHING = auto()
    """It was sent before a restart and came after it (RFC 8838 section 10)."""


@dataclass(frozen=True, slots=True)
class TrickleFragment:
    """What a client says of itself. Both credentials are None when it does not say which generation it is for."""

    ice_ufrag: str | None
    ice_password: str | None = field(repr=False)

    @property
    def credentials(self) -> IceCredentials:
        """Raises OfferError(malformed) if one is missing or breaks the grammar."""
        if self.ice_ufrag is None or self.ice_password is None:
            raise malformed("an ICE restart needs both a=ice-ufrag and a=ice-pwd")
        return IceCredentials.read(self.ice_ufrag, self.ice_password)

    def asks(self, *, newest: IceCredentials, past: Sequence[IceCredentials], of_any: bool) -> Asked:
        """What it wants of a client whose latest credentials are `newest`, and were `past` before (RFC 9725, 4.3.3).

        `of_any`: it came with `If-Match: *`, as restarts do. Raises OfferError(malformed) for half a restart.
        """
        if self._is_of(newest):
            complete = self.ice_ufrag is not None and self.ice_password is not None
            return Asked.THE_SAME_AGAIN if of_any and past and complete else Asked.CANDIDATES
        if any(self._is_of(before) for before in past):
            return Asked.NOTHING
        _ = self.credentials
        return Asked.RESTART

    def _is_of(self, generation: IceCredentials) -> bool:
        return self.ice_ufrag in (None, generation.ufrag) and self.ice_password in (None, generation.password)


def parse_fragment(text: str) -> TrickleFragment:
    """Read a fragment. An empty one is a fragment without candidates (deployed clients send it).

    Candidates of any type are taken, and none is used. Raises OfferError(malformed) and nothing else.
    """
    if len(text) > MAX_FRAGMENT_CHARS:
        raise malformed(f"the fragment has {len(text)} characters; at most {MAX_FRAGMENT_CHARS} are taken")
    ufrag: str | None = None
    password: str | None = None
    for line in lines_of(text, what="fragment"):
        name, _, value = line[2:].partition(":") if line[0] == "a" else ("", "", "")
        match name:
            case "ice-ufrag":
                ufrag = value.strip()
            case "ice-pwd":
                password = value.strip()
            case "candidate":
                check_candidate(value)
    return TrickleFragment(ufrag, password)
