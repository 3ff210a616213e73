"""Bodies of type application/trickle-ice-sdpfrag (RFC 8840 section 9), as WHIP and WHEP clients PATCH them."""

from dataclasses import dataclass

from genlock_gateway.rtc.sdp.candidate import MAX_CANDIDATES, RemoteCandidate, parse_candidate
from genlock_gateway.rtc.sdp.offer import Offer
from genlock_gateway.rtc.sdp.offer_error import malformed
from genlock_gateway.rtc.sdp.sdp import lines_of

MAX_FRAGMENT_CHARS = 16 * 1024


@dataclass(frozen=True, slots=True)
class TrickleFragment:
    """New candidates of a client. `ice_ufrag` is None when the fragment does not say which generation it is for."""

    ice_ufrag: str | None
    ice_password: str | None
    candidates: tuple[RemoteCandidate, ...]

    def restarts(self, offer: Offer) -> bool:
        """True if it asks for an ICE restart: other credentials than those of the offer (RFC 9725 section 4.3.3)."""
        return (self.ice_ufrag is not None and self.ice_ufrag != offer.ice_ufrag) or (
            self.ice_password is not None and self.ice_password != offer.ice_password
        )


def parse_fragment(text: str) -> TrickleFragment:
    """Read a fragment. An empty one is a fragment without candidates (deployed clients send it).

    Candidates of unknown types, TCP and mDNS are dropped. Raises OfferError(malformed) and nothing else.
    """
    if len(text) > MAX_FRAGMENT_CHARS:
        raise malformed(f"the fragment has {len(text)} characters; at most {MAX_FRAGMENT_CHARS} are taken")
    ufrag: str | None = None
    password: str | None = None
    found: dict[tuple[str, int], RemoteCandidate] = {}
    for line in lines_of(text, what="fragment"):
        name, _, value = line[2:].partition(":") if line[0] == "a" else ("", "", "")
        match name:
            case "ice-ufrag":
                ufrag = value.strip()
            case "ice-pwd":
                password = value.strip()
            case "candidate":
                candidate = parse_candidate(value)
                if candidate is not None and len(found) < MAX_CANDIDATES:
                    found.setdefault((candidate.ip, candidate.port), candidate)
    return TrickleFragment(ufrag, password, tuple(found.values()))
