"""Which prompts a chunk is painted under: a new prompt takes over from the old ones over three chunks.

Pure and small enough to be stored as it is. Weights are exact to restore because they are plain floats.
"""

import hashlib
from dataclasses import dataclass

BLEND_CHUNKS = 3
_CARRIED = 2
"""How many old prompts a blend carries along; a user who types fast leaves the weakest behind."""

Weights = tuple[tuple[str, float], ...]
"""(prompt digest, weight) pairs; the weights sum to 1."""


def prompt_digest(prompt: str) -> str:
    """The name of a prompt in snapshots and blends: SHA-256 (hex) of its text."""
    return hashlib.sha256(prompt.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class PromptBlend:
    """A blend from `start` towards `target`, of which `done` chunks (0..BLEND_CHUNKS) have been fed."""

    start: Weights
    target: str
    done: int

    @classmethod
    def of(cls, digest: str) -> "PromptBlend":
        """One prompt alone."""
        return cls(start=((digest, 1.0),), target=digest, done=BLEND_CHUNKS)

    def weights(self, progress: float) -> Weights:
        """The weights at `progress` (0..1) of the whole blend, the target last, parts without weight left out."""
        old = tuple((digest, weight * (1.0 - progress)) for digest, weight in self.start if digest != self.target)
        rest = 1.0 - sum(weight for _, weight in old)
        return (*((digest, weight) for digest, weight in old if weight > 0.0), (self.target, rest))

    def towards(self, digest: str) -> "PromptBlend":
        """Turn to another prompt from where this blend stands."""
        if digest == self.target:
            return self
        strongest = sorted(self.weights(self.done / BLEND_CHUNKS), key=lambda pair: -pair[1])[:_CARRIED]
        total = sum(weight for _, weight in strongest)
        start = tuple((part, weight / total) for part, weight in strongest)
        return PromptBlend(start=start, target=digest, done=0)

    def next_chunk(self) -> "PromptBlend":
        """The blend after one more chunk."""
        if self.done + 1 >= BLEND_CHUNKS:
            return PromptBlend.of(self.target)
        return PromptBlend(start=self.start, target=self.target, done=self.done + 1)

    def frame_weights(self, frame: int, frames: int) -> Weights:
        """The weights of pixel frame `frame` of the `frames` of the next chunk: the blend moves on with every frame."""
        if self.done >= BLEND_CHUNKS:
            return ((self.target, 1.0),)
        return self.weights(min((self.done + (frame + 1) / frames) / BLEND_CHUNKS, 1.0))

    def digests(self) -> frozenset[str]:
        """Every prompt that still has a part in it."""
        return frozenset(digest for digest, _ in self.frame_weights(0, 1_000_000))
