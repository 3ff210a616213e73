"""A listener and sink for the peers of the tests: it keeps what it is told."""

from genlock_core.media import AccessUnit
from genlock_gateway.rtc.ingest.receive import IngestPeer


class Heard:
    """Everything that one or several peers told: pictures, messages, and the reasons why they closed."""

    def __init__(self) -> None:
        self.units: list[AccessUnit] = []
        self.messages: list[str] = []
        self.reasons: list[str] = []

    def access_unit(self, peer: IngestPeer, unit: AccessUnit) -> None:
        self.units.append(unit)

    def connected(self) -> None: ...

    def message(self, text: str) -> None:
        self.messages.append(text)

    def closed(self, reason: str) -> None:
        self.reasons.append(reason)
