"""Our own kernels, counted by what they declare of themselves."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any

from bench.counted.cost import Cost
from genlock_worker.engines.diffusion.network import kernels
from genlock_worker.engines.diffusion.network.kernels.declared import NAMESPACE, DeclaredOp


@cache
def declared_ops() -> Mapping[str, DeclaredOp]:
    """Every custom op of ours by its name in torch (`genlock::gelu`)."""
    modules = [
        importlib.import_module(one.name) for one in pkgutil.iter_modules(kernels.__path__, f"{kernels.__name__}.")
    ]
    ops = [value for module in modules for value in vars(module).values() if isinstance(value, DeclaredOp)]
    return MappingProxyType({op.name: op for op in ops})


def is_ours(name: str) -> bool:
    return name.startswith(f"{NAMESPACE}::")


def declared_cost(name: str, args: Sequence[Any]) -> Cost:
    """What an op of ours launches and moves with these arguments. `name` may end with an overload's."""
    launches = declared_ops()[name.partition(".")[0]].launches(*args)
    return Cost(len(launches.kernels), launches.bytes, launches.attention_operations)
