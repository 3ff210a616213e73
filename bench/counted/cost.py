"""What operations cost: kernels, bytes, and operations of floating point; attention apart from the rest."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one operation, or of several together."""

    kernels: int = 0
    """Launches of CUDA kernels. Copies between host and device are none."""
    bytes: int = 0
    """Read and written."""
    operations: int = 0
    """Multiplications and additions of matrix products, convolutions and attention."""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.kernels + other.kernels, self.bytes + other.bytes, self.operations + other.operations)


@dataclass(frozen=True, slots=True)
class Entry:
    """One operation that was seen."""

    name: str
    cost: Cost
    is_attention: bool = False


@dataclass(slots=True)
class Tally:
    """All operations that a piece of work consists of, in their order."""

    entries: list[Entry] = field(default_factory=list)
    uploads: int = 0
    """Copies from the host to the device."""
    downloads: int = 0
    """Copies back, each of which the host waits for."""

    @property
    def total(self) -> Cost:
        return sum((entry.cost for entry in self.entries), Cost())

    @property
    def attention(self) -> Cost:
        """The attention's own kernels: what they read of rings and prompts, and their products."""
        return sum((entry.cost for entry in self.entries if entry.is_attention), Cost())

    @property
    def rest(self) -> Cost:
        """All but attention."""
        return sum((entry.cost for entry in self.entries if not entry.is_attention), Cost())

    def kernels_by_name(self) -> Counter[str]:
        """How many kernels each kind of operation launches."""
        found: Counter[str] = Counter()
        for entry in self.entries:
            found[entry.name] += entry.cost.kernels
        return found
