"""A custom op that says what it puts on the device, before anything is there.

One function plans a call: which tensors come out, which kernels are launched with which arguments, how many bytes they
move. The call itself, its fake for meta tensors, what a counter of launches reads and what the tests compile for a GPU
that is not there all ask this one function, so that they cannot say different things.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor
from torch._ops import OpOverload

NAMESPACE: Final = "genlock"


@dataclass(frozen=True, slots=True)
class Launches:
    """What one call of a custom op launches."""

    kernels: tuple[str, ...]
    """The name of each kernel, in order; one that is launched twice is there twice."""
    bytes: int
    """Of the device's memory that are read and written, each address counted once for each kernel."""
    attention_operations: int = 0
    """Multiplications and additions of attention's products; 0: it is no attention."""


@dataclass(frozen=True, slots=True, eq=False)
class Launch:
    """One kernel with all that it is launched with."""

    kernel: Any
    """A function that `triton.jit` made."""
    grid: tuple[int, int, int]
    arguments: tuple[Tensor | int | float, ...]
    """In the order of the kernel's parameters."""
    constants: Mapping[str, object] = field(default_factory=dict)
    """The parameters that it is compiled for (`tl.constexpr`), by name."""
    warps: int = 4
    stages: int = 2
    """How many iterations of a loop have their loads under way."""

    @property
    def name(self) -> str:
        name: str = self.kernel.__name__
        return name

    @property
    def options(self) -> Mapping[str, object]:
        """What Triton's compiler is told beside the constants."""
        # Products and sums become one instruction; said aloud, as Triton will change what it does by itself.
        return {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}

    def run(self) -> None:
        """Queue it on the current stream; compiles it where it was not launched with such types before."""
        self.kernel[self.grid](*self.arguments, **self.constants, **self.options)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCall:
    """What one call does. Made of real or meta tensors; nothing has run yet."""

    outputs: tuple[Tensor, ...]
    """New and not yet written, on the arguments' device."""
    launches: tuple[Launch, ...]
    bytes: int
    """As `Launches.bytes`."""
    attention_operations: int = 0
    """As `Launches.attention_operations`."""


class DeclaredOp:
    """A custom op that is called like a function. Made once for each name in a process: PyTorch keeps it for ever."""

    def __init__(self, name: str, schema: str, plan: Callable[..., PlannedCall]) -> None:
        """`schema` is PyTorch's: `(Tensor(a!) written, Tensor read) -> Tensor`, all outputs new tensors."""
        self.name = f"{NAMESPACE}::{name}"
        self.plan = plan
        torch.library.define(self.name, schema)
        torch.library.impl(self.name, ("cpu", "cuda"), self._run)
        torch.library.register_fake(self.name, self._fake)
        self._overload: OpOverload = getattr(getattr(torch.ops, NAMESPACE), name).default

    def __call__(self, *arguments: object) -> Any:
        """What the schema says: a tensor, a tuple of them, or None."""
        return self._overload(*arguments)

    def launches(self, *arguments: object) -> Launches:
        """What a call with these arguments, real or meta tensors, would launch."""
        plan = self.plan(*arguments)
        return Launches(tuple(launch.name for launch in plan.launches), plan.bytes, plan.attention_operations)

    def _run(self, *arguments: object) -> Any:
        plan = self.plan(*arguments)
        # Triton launches on the thread's current device, whichever device the tensors are on.
        with torch.cuda.device_of(next(given for given in arguments if isinstance(given, Tensor))):
            for launch in plan.launches:
                launch.run()
        return _returned(plan)

    def _fake(self, *arguments: object) -> Any:
        return _returned(self.plan(*arguments))


def _returned(plan: PlannedCall) -> Tensor | tuple[Tensor, ...] | None:
    if not plan.outputs:
        return None
    return plan.outputs[0] if len(plan.outputs) == 1 else plan.outputs
