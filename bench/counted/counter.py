"""The mode under which a piece of work is counted instead of computed.

Work runs on `meta` tensors. What happens on the host's own tensors is not counted. Attention and RMS norms are taken
where they are asked for by name, since on `meta` torch would take them apart where CUDA has one kernel; so is the
reading of results, which have no values here: all ones.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from bench.counted import rules
from bench.counted.cost import Entry, Tally
from bench.counted.declared import declared_cost, is_ours

ATTENTION = "scaled_dot_product_attention"
RMS_NORM = "rms_norm"


@contextmanager
def counted() -> Iterator[Tally]:
    """Inside, every operation on `meta` tensors goes into the tally. Raises rules.NoRule for one that has no rule."""
    tally = Tally()
    with torch.no_grad(), _Named(tally), _Operations(tally):
        yield tally


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]  # the library has no types
    """Sees every operation after torch has taken it apart."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library has no types
        self._tally = tally

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        out = func(*args, **named)

        before = _is_on_device([args, named])
        after = _is_on_device(out)
        if before or after:
            self._count(func, args, named, out, came_up=not before and _has_tensors([args, named]))
        return out

    def _count(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any, *, came_up: bool) -> None:
        # Only a copy takes tensors of the host and gives one on the device.
        if came_up and func.name().startswith(("aten::_to_copy", "aten::to")):
            self._tally.uploads += 1
            return
        name = func.name()
        if is_ours(name):
            cost = declared_cost(name, args)
            self._tally.entries.append(Entry(name, cost, is_attention=cost.operations > 0))
        else:
            self._tally.entries.append(Entry(name, rules.cost_of(name, args, kwargs, out)))


class _Named(TorchFunctionMode):
    """Sees what is called by name, before torch takes it apart."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self._tally = tally

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        named = dict(kwargs or {})
        if func is functional.scaled_dot_product_attention and args[0].is_meta:
            queries, keys, values = args[:3]
            cost = rules.attended(queries, keys, values)
            self._tally.entries.append(Entry(ATTENTION, cost, is_attention=True))
            return torch.empty_like(queries)

        if func is functional.rms_norm and args[0].is_meta:
            weight = named.get("weight", args[2] if len(args) > 2 else None)
            self._tally.entries.append(Entry(RMS_NORM, rules.rms_normed(args[0], weight)))
            return torch.empty_like(args[0])

        if func is Tensor.tolist and args[0].is_meta:
            self._tally.downloads += 1
            return torch.ones(args[0].shape).tolist()
        return func(*args, **named)


def _is_on_device(values: object) -> bool:
    return any(tensor.is_meta for tensor in rules.tensors_in(values))


def _has_tensors(values: object) -> bool:
    return next(rules.tensors_in(values), None) is not None
