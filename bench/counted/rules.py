"""How many kernels CUDA runs for an operation of torch, and what they move and compute.

Bytes are what a kernel must move at least: each element that it takes read once (one that is expanded over a dimension
counts once), each that it gives written once. Operations are those of products alone: what lies between them is bound
by memory. An operation that is not in the table raises `NoRule`: a count with a hole in it is no count.

The numbers of kernels are those of torch's CUDA backend for tensors as large and aligned as the model's. What a library
adds by itself (a second kernel where cuBLAS splits a product, a change of layout within cuDNN) is not counted.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from bench.counted.cost import Cost

Rule = Callable[[Sequence[Any], Mapping[str, Any], Any], Cost]
"""(arguments, named arguments, what it gave) -> its cost."""

CAT_INPUTS = 128
"""Tensors that one kernel of `cat` takes."""


FOREACH_TENSORS = 64
"""Pairs of tensors that one kernel of `_foreach_copy_` takes,"""
FOREACH_CHUNK, FOREACH_CHUNKS = 65_536, 320
"""in chunks of so many numbers, and so many chunks."""


class NoRule(LookupError):
    """An operation that nothing is known of."""

    def __init__(self, name: str) -> None:
        super().__init__(f"no rule says how many kernels {name} launches: add one to bench/counted/rules.py")


def tensors_in(values: object) -> Iterator[Tensor]:
    """All tensors in arguments, however nested in lists and tuples."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from tensors_in(list(values.values()))
    elif isinstance(values, list | tuple):
        for value in values:
            yield from tensors_in(value)


def distinct_bytes(tensor: Tensor) -> int:
    """Bytes of the elements that have a place of their own: one that is expanded is read once."""
    sizes = (size for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if stride or not size)
    return math.prod(sizes) * tensor.itemsize


def moved(*values: object) -> int:
    """Bytes of all tensors in these, which are read or written."""
    return sum(map(distinct_bytes, tensors_in(values)))


def nothing(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001 - a rule's arguments
    """A view, or memory that nobody has written yet."""
    return Cost()


def each_once(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:
    """One kernel, which reads all that it takes and writes all that it gives."""
    return Cost(1, moved(args, kwargs, out))


def only_writes(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """One kernel that fills memory."""
    return Cost(1, moved(out))


def copied(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """One kernel, which writes its first argument and does not read it."""
    return Cost(1, moved(args))


def copied_each(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """_foreach_copy_(targets, sources): few kernels for many tensors."""
    targets = args[0]
    chunks = sum(-(-target.numel() // FOREACH_CHUNK) for target in targets)
    kernels = max(-(-len(targets) // FOREACH_TENSORS), -(-chunks // FOREACH_CHUNKS))
    return Cost(kernels, moved(args[:2]))


def placed(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """index_copy_(self, dim, index, source): what is written is as large as the source."""
    index, source = args[2], args[3]
    return Cost(1, moved(index, source, source))


def put(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """index_put_(self, indices, values): one kernel; what is written is as large as the values."""
    return Cost(1, moved(args[1:3], args[2]))


def taken(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """index.Tensor, index_select: reads the places and as much as it gives."""
    return Cost(1, moved(args[1:], out, out))


def joined(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """cat, stack."""
    return Cost(-(-len(args[0]) // CAT_INPUTS), moved(args, out))


def padded(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """constant_pad_nd: the border's value everywhere, then the inside copied over it."""
    return Cost(2, moved(out, args[0], args[0]))


def multiplied(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:
    """mm, bmm, addmm: one kernel of cuBLAS, the bias (and an activation) within it."""
    left = args[-2]
    return Cost(1, moved(args, kwargs, out), 2 * out.numel() * left.shape[-1])


def convolved(args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:  # noqa: ARG001
    """convolution: cuDNN's kernel, and one more that adds the bias, in place."""
    weight, bias = args[1], args[2]
    cost = Cost(1, moved(args[:2], out), 2 * out.numel() * math.prod(weight.shape[1:]))
    return cost if bias is None else cost + Cost(1, moved(out, bias, out))


def attended(queries: Tensor, keys: Tensor, values: Tensor) -> Cost:
    """scaled_dot_product_attention, heads before tokens: one kernel (flash or cuDNN)."""
    return Cost(1, moved(queries, keys, values, queries), 4 * queries.numel() * keys.shape[-2])


def rms_normed(tokens: Tensor, weight: Tensor | None) -> Cost:
    """rms_norm: one kernel, which writes what each token was divided by as well, in float32."""
    return Cost(1, moved(tokens, weight, tokens) + 4 * math.prod(tokens.shape[:-1]))


_VIEWS = (
    "alias as_strided detach diagonal expand lift_fresh permute select slice split split_with_sizes squeeze t "
    "transpose unbind unflatten unfold unsqueeze view view_as_real view_as_complex _reshape_alias _unsafe_view "
    "movedim swapaxes narrow real imag"
)
_EMPTY = "empty empty_like empty_strided new_empty new_empty_strided"
_FILLED = "arange fill fill_ full full_like new_full new_ones new_zeros ones ones_like scalar_tensor zero_ zeros"
_FILLED_LIKE = "zeros_like normal_ uniform_"
_POINTWISE = (
    "abs add add_ addcmul addcmul_ bitwise_and bitwise_not bitwise_or ceil clamp clamp_ clamp_max clamp_min clamp_min_ "
    "clone contiguous cos div div_ eq exp expm1 floor floor_divide ge gelu gelu_ gt isfinite isinf isnan le lerp lerp_ "
    "log logical_and logical_not logical_or lt masked_fill masked_fill_ maximum minimum mul mul_ ne neg pow reciprocal "
    "relu relu_ remainder round round_ rsqrt rsub sigmoid silu silu_ sin sqrt square sub sub_ tanh tanh_ to _to_copy "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d _upsample_nearest_exact2d pixel_shuffle where"
)
_REDUCED = (
    "all amax amin aminmax any argmax linalg_vector_norm max mean native_group_norm native_layer_norm "
    "sum _safe_softmax _softmax var_mean"
)

RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_VIEWS.split(), nothing),
    **dict.fromkeys(_EMPTY.split(), nothing),
    **dict.fromkeys(f"{_FILLED} {_FILLED_LIKE}".split(), only_writes),
    **dict.fromkeys(_POINTWISE.split(), each_once),
    **dict.fromkeys(_REDUCED.split(), each_once),
    **dict.fromkeys(("mm", "bmm", "addmm", "_addmm_activation"), multiplied),
    **dict.fromkeys(("cat", "stack"), joined),
    **dict.fromkeys(("index", "index_select", "gather", "embedding"), taken),
    **dict.fromkeys(("index_put_", "_index_put_impl_"), put),
    "index_copy_": placed,
    "copy_": copied,
    "_foreach_copy_": copied_each,
    "constant_pad_nd": padded,
    "convolution": convolved,
}
"""By the name of torch's operation, whatever its overload."""


def cost_of(name: str, args: Sequence[Any], kwargs: Mapping[str, Any], out: Any) -> Cost:
    """What the operation `name` (`aten::add.Tensor`) costs that gave `out`. Raises NoRule."""
    try:
        rule = RULES[name.partition("::")[2].partition(".")[0]]
    except KeyError:
        raise NoRule(name) from None
    # What an operation is told to write into is what it gives, and not read.
    read = {word: value for word, value in kwargs.items() if word != "out"}
    return rule(args, read, out)
