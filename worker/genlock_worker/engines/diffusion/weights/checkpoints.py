"""Checkpoints read strictly: tensors alone, every name and shape as it must be, nothing left over.

The reference loads without `weights_only` and falls back to a load that ignores what does not fit; here a file that is
not exactly the model is an error that says in what it differs. Files are mapped, so opening one reads its table alone.
"""

import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from genlock_worker.engines.diffusion.errors import WrongCheckpoint
from genlock_worker.engines.diffusion.weights.key_names import Rename
from genlock_worker.engines.diffusion.weights.kinds import looks_like

NAMED = 10
"""How many names a message lists."""

_WRAPPERS = ("generator", "generator_ema", "state_dict")
"""Under which a published `model.pt` keeps its tensors; the first that is there counts (StreamDiffusionV2, CausVid)."""
_PREFIX = "model."

_SAFETENSORS_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
}
_FLOATS = frozenset(_SAFETENSORS_DTYPES.values())

_BROKEN_PICKLE = (
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    OSError,
    struct.error,
    zipfile.BadZipFile,
)
"""What torch.load raises for bytes that are no checkpoint: it lets through whatever its parsers stumble over."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor in a file: what the table says of it, how to read it (to the CPU; maybe still a view of the file)."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


@dataclass(frozen=True, slots=True)
class WeightsCheckpoint:
    """An opened checkpoint of one or more files; `path` is what messages name."""

    path: Path
    tensors: Mapping[str, Stored]


def open_checkpoint(files: Sequence[Path]) -> WeightsCheckpoint:
    """Open a checkpoint without reading its tensors. Raises WrongCheckpoint, which names the file and its fault."""
    tensors: dict[str, Stored] = {}
    for path in files:
        if path.is_dir():
            raise WrongCheckpoint(path, "is a folder, and should be a file")
        if not path.exists():
            raise WrongCheckpoint(path, "is not there")
        if not path.stat().st_size:
            raise WrongCheckpoint(path, "is empty; fetch it again")
        stored = _from_safetensors(path) if path.suffix == ".safetensors" else _from_pickle(path)
        twice = sorted(stored.keys() & tensors.keys())
        if twice:
            raise WrongCheckpoint(path, f"holds what another shard holds: {_listed(twice)}")
        tensors |= stored

    return WeightsCheckpoint(files[0], tensors)


def fit(checkpoint: WeightsCheckpoint, rename: Rename, expected: Mapping[str, Sequence[int]]) -> dict[str, Stored]:
    """The tensors under the module's names, just as `expected` (name -> shape) asks.

    Raises WrongCheckpoint, which names what is missing, what is too much and what has another shape, and says what the
    file looks like instead.
    """
    stored = {name: checkpoint.tensors[old] for name, old in rename(checkpoint.tensors).items()}
    shaped = [
        f"{name} is {_shape(stored[name].shape)}, not {_shape(shape)}"
        for name, shape in expected.items()
        if name in stored and stored[name].shape != tuple(shape)
    ]
    whole = [f"{name} ({one.dtype})" for name, one in stored.items() if name in expected and one.dtype not in _FLOATS]

    problems = [
        f"{len(names)} {what}: {_listed(names)}"
        for what, names in (
            ("missing", [name for name in expected if name not in stored]),
            ("unexpected", [name for name in stored if name not in expected]),
            ("of another shape", shaped),
            ("not of 16, 32 or 64 bit floating point", whole),
        )
        if names
    ]

    if problems:
        like = looks_like({name: one.shape for name, one in checkpoint.tensors.items()})
        seems = f" (it looks like {like})" if like else ""
        raise WrongCheckpoint(checkpoint.path, f"is another checkpoint{seems}: " + "; ".join(problems))

    return {name: stored[name] for name in expected}


def shapes(module: nn.Module, *, without: Iterable[str] = ()) -> dict[str, tuple[int, ...]]:
    """What a checkpoint of this module must hold: name -> shape."""
    left_out = set(without)
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items() if name not in left_out}


def load_into(
    module: nn.Module,
    checkpoint: WeightsCheckpoint,
    rename: Rename,
    *,
    device: torch.device,
    dtype: torch.dtype,
    without: Iterable[str] = (),
) -> None:
    """Give a module that was built on `meta` its tensors, one after the other: nothing is held twice.

    Afterwards nothing refers to the files any more. `without`: names that the caller ties to others.
    Raises WrongCheckpoint; torch.OutOfMemoryError.
    """
    stored = fit(checkpoint, rename, shapes(module, without=without))
    module.requires_grad_(requires_grad=False).eval()
    state: dict[str, Tensor] = {}
    spans: dict[str, Tensor] = {}

    for name, one in stored.items():
        state[name] = read_tensor(checkpoint, name, one).to(device=device, dtype=dtype, copy=True)
        low, high = torch.aminmax(state[name])  # gives NaN where one is, and needs no room
        spans[name] = high.float() - low.float()

    # Asked once, so that a GPU is not waited for after every tensor.
    if spans and not bool(torch.isfinite(torch.stack(list(spans.values()))).all()):
        bad = [name for name, span in spans.items() if not bool(torch.isfinite(span))]
        raise WrongCheckpoint(checkpoint.path, f"{len(bad)} tensors are not finite: {_listed(bad)}")

    module.load_state_dict(state, strict=False, assign=True)  # names and shapes are checked


def read_tensor(checkpoint: WeightsCheckpoint, name: str, stored: Stored) -> Tensor:
    """One tensor's numbers. Raises WrongCheckpoint if the file was cut under our hands."""
    try:
        return stored.read()
    except (SafetensorError, RuntimeError, OSError) as error:
        raise WrongCheckpoint(checkpoint.path, f"{name} cannot be read ({error})") from error


def _from_safetensors(path: Path) -> dict[str, Stored]:
    try:
        # Left open: the tensors keep it mapped until they are read.
        file: Any = safe_open(path, framework="pt")
        return {name: _slice(file, name) for name in list(file.keys())}
    except (SafetensorError, OSError, ValueError) as error:
        raise WrongCheckpoint(path, f"is damaged or no safetensors file ({error}); fetch it again") from error


def _slice(file: Any, name: str) -> Stored:
    table = file.get_slice(name)
    # A type that is no float is refused by `fit`, under its own name.
    dtype = _SAFETENSORS_DTYPES.get(table.get_dtype(), torch.int8)
    return Stored(tuple(table.get_shape()), dtype, lambda: file.get_tensor(name))


def _from_pickle(path: Path) -> dict[str, Stored]:
    try:
        zipped = zipfile.is_zipfile(path)
        with path.open("rb") as file:
            if not zipped and file.read(4) == b"PK\x03\x04":
                raise WrongCheckpoint(path, "is truncated: its end is missing; fetch it again")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about old and odd contents, which are either taken or refused below
            # Checkpoints older than torch 1.6 are no zip files and cannot be mapped.
            loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except pickle.UnpicklingError as error:
        raise WrongCheckpoint(
            path,
            "is damaged, or holds more than tensors and would run code when loaded; "
            f"Genlock loads tensors alone ({_first_line(error)})",
        ) from error
    except _BROKEN_PICKLE as error:
        raise WrongCheckpoint(path, f"is damaged or no checkpoint ({_first_line(error)}); fetch it again") from error

    return _tensors(path, loaded)


def _tensors(path: Path, loaded: object) -> dict[str, Stored]:
    if not isinstance(loaded, Mapping):
        raise WrongCheckpoint(path, f"holds a {type(loaded).__name__}, not tensors by name")

    inner = next((loaded[key] for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), loaded)
    strange = [f"{name!r} ({type(value).__name__})" for name, value in inner.items() if not _is_weight(name, value)]
    if strange:
        raise WrongCheckpoint(path, f"holds {len(strange)} entries that are no tensors: {_listed(strange)}")

    tensors = {name.removeprefix(_PREFIX): value for name, value in inner.items()}
    if len(tensors) < len(inner):
        twice = sorted(name for name in inner if _PREFIX + name in inner)
        raise WrongCheckpoint(path, f"holds {len(twice)} tensors with and without {_PREFIX!r}: {_listed(twice)}")

    return {name: _mapped(tensor) for name, tensor in tensors.items()}


def _is_weight(name: object, value: object) -> bool:
    return (
        isinstance(name, str)
        and isinstance(value, Tensor)
        and value.layout is torch.strided
        and not value.is_quantized
        and value.device.type == "cpu"
    )


def _mapped(tensor: Tensor) -> Stored:
    return Stored(tuple(tensor.shape), tensor.dtype, tensor.detach)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "a single number"


def _first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else 'no reason given'}"
