"""The operators of our exports: which attributes they may have, and the shapes of their outputs.

Shapes are computed for one batch size, so that a dimension is a number. A side of an image of any
size is None until the graph resizes it. ``Value.numbers`` are the elements of the short integer
vectors that shapes are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from math import prod
from typing import TypeAlias

from motivnet.artifact.onnx_graph.reading import MAX_RANK, Dims, Node
from motivnet.config import MAX_TOKENS
from motivnet.errors import ArtifactError


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor's shape and, if it is a short vector of known integers, its elements.

    ``is_constant``: the elements are in the file, not computed from shapes.
    """

    dims: Dims
    numbers: tuple[int, ...] | None = None
    is_constant: bool = False

    @property
    def sides(self) -> tuple[int, ...]:
        """The shape, if all sides are known."""
        if None in self.dims:
            raise ArtifactError("an image of any size is not resized before it is computed with")
        return tuple(side or 0 for side in self.dims)

    @property
    def elements(self) -> int:
        """Number of elements; an unknown side counts as one."""
        return prod(1 if side is None else side for side in self.dims)


@dataclass(frozen=True, slots=True)
class Result:
    """The outputs of a node, the most elements of its temporaries, and its multiplications."""

    outputs: tuple[Value, ...]
    inside: int = 0
    multiplications: int = 0


Inputs: TypeAlias = "Sequence[Value | None]"
Rule: TypeAlias = "Callable[[Node, Inputs], Result]"

_END = 2**31 - 1
"""What exports write for "to the end"."""

LONGEST_SHAPE = 64
"""Elements up to which an integer tensor may be the shape, the axes or the pads of a node."""

LONGEST_INDEX = MAX_TOKENS
"""Elements up to which an integer tensor may name the tokens to keep."""

_CASTS = (1, 10, 16)
"""Element types that exports cast to: float32, float16, bfloat16."""


def result_of(node: Node, inputs: Inputs) -> Result:
    """Return what a node gives for its inputs.

    Raises:
        ArtifactError: If no export has such a node, or its inputs do not fit each other.
    """
    if node.operator not in OPERATORS:
        raise ArtifactError(
            f"the graph uses the operator {node.operator[:80]!r}, "
            "which no export of this toolkit uses"
        )
    rule, attributes = OPERATORS[node.operator]
    if unknown := sorted(set(node.attributes).difference(attributes)):
        raise ArtifactError(
            f"{node.operator} has the attribute {unknown[0][:80]!r}, which no export has"
        )
    try:
        result = rule(node, inputs)
    except (IndexError, TypeError, ValueError, ZeroDivisionError, AttributeError) as error:
        raise ArtifactError(
            f"the inputs or attributes of a node {node.operator} do not fit it"
        ) from error
    ranks = [len(value.dims) for value in result.outputs]
    if len(ranks) != len(node.outputs) or max(ranks) > MAX_RANK:
        raise ArtifactError(f"a node {node.operator} has outputs that no export has")
    return result


def _require(fits: bool) -> None:
    if not fits:
        raise ValueError("the inputs or attributes do not fit")


def _integer(node: Node, name: str, default: int | None = None) -> int:
    value = node.attributes.get(name, default)
    if not isinstance(value, int):
        raise TypeError(name)
    return value


def _integers(node: Node, name: str) -> tuple[int, ...]:
    value = node.attributes.get(name)
    if not isinstance(value, tuple):
        raise TypeError(name)
    return value


def _given(inputs: Inputs, *counts: int) -> list[Value]:
    """Return the inputs, of which none is omitted and whose number is one of ``counts``."""
    present = [value for value in inputs if value is not None]
    _require(len(present) == len(inputs) and len(inputs) in counts)
    return present


def _numbers(value: Value) -> tuple[int, ...]:
    if value.numbers is None:
        raise ArtifactError("the graph computes a shape from its data, which no export does")
    return value.numbers


def _constants(value: Value) -> tuple[int, ...]:
    """Return numbers that are the same for every batch.

    So no side of any value falls as the batch grows, and the largest batch tells for all: only
    ``Expand`` and ``Resize`` take numbers that are computed, and give sides that rise with them.
    """
    return _numbers(value if value.is_constant else Value(value.dims))


def _axis(axis: int, rank: int) -> int:
    _require(-rank <= axis < rank)
    return axis % rank


def _one(dims: Dims, numbers: tuple[int, ...] | None = None, **counts: int) -> Result:
    return Result((Value(dims, numbers),), **counts)


def _broadcast(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    sides = list(zip_longest(reversed(first), reversed(second), fillvalue=1))
    _require(all(a == b or 1 in (a, b) for a, b in sides))
    return tuple(b if a == 1 else a for a, b in reversed(sides))


def _elementwise(_: Node, inputs: Inputs) -> Result:
    first, second = _given(inputs, 2)
    return _one(_broadcast(first.sides, second.sides))


def _same(_: Node, inputs: Inputs) -> Result:
    (value,) = _given(inputs, 1)
    return _one(value.sides)


def _scaled(_: Node, inputs: Inputs) -> Result:
    """Scale and shift (of normalisation and quantisation), no larger than what is scaled."""
    value, *others = _given(inputs, 2, 3)
    _require(all(other.elements <= value.elements for other in others))
    return _one(value.sides)


def _cast(node: Node, inputs: Inputs) -> Result:
    (value,) = _given(inputs, 1)
    _require(_integer(node, "to") in _CASTS)
    return _one(value.dims)


def _transpose(node: Node, inputs: Inputs) -> Result:
    (value,) = _given(inputs, 1)
    order = _integers(node, "perm")
    _require(sorted(order) == list(range(len(value.dims))))
    return _one(tuple(value.dims[axis] for axis in order))


def _shape(node: Node, inputs: Inputs) -> Result:
    (value,) = _given(inputs, 1)
    part = value.dims[_integer(node, "start", 0) : _integer(node, "end", len(value.dims))]
    return _one((len(part),), Value(part).sides)


def _concat(node: Node, inputs: Inputs) -> Result:
    values = _given(inputs, *range(1, 9))
    first = values[0].sides
    axis = _axis(_integer(node, "axis"), len(first))
    before, after = first[:axis], first[axis + 1 :]
    _require(
        all((value.sides[:axis], value.sides[axis + 1 :]) == (before, after) for value in values)
    )
    joined = (*before, sum(value.sides[axis] for value in values), *after)
    parts = [value.numbers for value in values if value.numbers is not None]
    if len(parts) < len(values) or prod(joined) > LONGEST_SHAPE:
        return _one(joined)
    return _one(joined, tuple(chain.from_iterable(parts)))


def _expand(_: Node, inputs: Inputs) -> Result:
    value, shape = _given(inputs, 2)
    wanted = _numbers(shape)
    _require(min(wanted, default=1) >= 1)
    return _one(_broadcast(value.sides, wanted))


def _reshape(node: Node, inputs: Inputs) -> Result:
    value, shape = _given(inputs, 2)
    wanted = list(_constants(shape))
    if not _integer(node, "allowzero", 0):
        wanted = [value.sides[axis] if side == 0 else side for axis, side in enumerate(wanted)]
    if -1 in wanted:
        wanted[wanted.index(-1)] = value.elements // prod(side for side in wanted if side != -1)
    _require(min(wanted, default=1) >= 0 and prod(wanted) == prod(value.sides))
    return _one(tuple(wanted))


def _unsqueeze(_: Node, inputs: Inputs) -> Result:
    value, axes = _given(inputs, 2)
    places = _constants(axes)
    rank = len(value.dims) + len(places)
    added = {_axis(axis, rank) for axis in places}
    _require(len(added) == len(places))
    sides = iter(value.sides)
    return _one(tuple(1 if axis in added else next(sides) for axis in range(rank)))


def _slice(_: Node, inputs: Inputs) -> Result:
    value, starts, ends, axes, steps = _given(inputs, 5)
    sides = list(value.sides)
    parts = list(zip(*(_constants(given) for given in (starts, ends, axes, steps)), strict=True))
    _require(len({_axis(axis, len(sides)) for _, _, axis, _ in parts}) == len(parts))
    for start, end, axis, step in parts:
        # From the end to a fixed place it would be shorter the longer the side is.
        _require(step == 1 and not start < 0 <= end < _END)
        sides[_axis(axis, len(sides))] = len(range(sides[axis])[start:end])
    return _one(tuple(sides))


def _gather(node: Node, inputs: Inputs) -> Result:
    """Keep some places of an axis: each at most once, so that nothing grows, and all in range."""
    value, places = _given(inputs, 2)
    kept, axis = _constants(places), _axis(_integer(node, "axis", 0), len(value.dims))
    _require(len(kept) == len(set(kept)) and min(kept) >= 0 and max(kept) < value.sides[axis])
    return _one((*value.sides[:axis], len(kept), *value.sides[axis + 1 :]))


def _split(node: Node, inputs: Inputs) -> Result:
    (value,) = _given(inputs, 1)
    axis, parts = _axis(_integer(node, "axis", 0), len(value.dims)), _integer(node, "num_outputs")
    _require(1 <= parts == len(node.outputs) and value.sides[axis] % parts == 0)
    part = (*value.sides[:axis], value.sides[axis] // parts, *value.sides[axis + 1 :])
    return Result((Value(part),) * parts)


def _reduce(node: Node, inputs: Inputs) -> Result:
    value, axes = _given(inputs, 2)
    gone = {_axis(axis, len(value.dims)) for axis in _constants(axes)}
    _require(len(gone) > 0)  # some take no axis for all of them, and some for none
    if _integer(node, "keepdims", 1):
        return _one(tuple(1 if axis in gone else side for axis, side in enumerate(value.sides)))
    return _one(tuple(side for axis, side in enumerate(value.sides) if axis not in gone))


def _pad(_: Node, inputs: Inputs) -> Result:
    value, pads, _fill = _given(inputs, 3)
    numbers, rank = _constants(pads), len(value.dims)
    _require(min(numbers) >= 0)
    sides = zip(value.sides, numbers[:rank], numbers[rank:], strict=True)
    return _one(tuple(before + side + after for side, before, after in sides))


def _resize(node: Node, inputs: Inputs) -> Result:
    value, sizes = _given([inputs[0], inputs[3]], 2)
    wanted = _numbers(sizes)
    _require(len(inputs) == 4 and inputs[1] is inputs[2] is None)
    _require(len(wanted) == len(value.dims) and min(wanted) >= 1)
    # Another policy gives other sizes.
    _require(node.attributes.get("keep_aspect_ratio_policy", b"stretch") == b"stretch")
    return _one(wanted)


def _matmul(_: Node, inputs: Inputs) -> Result:
    first, second = (value.sides for value in _given(inputs, 2))
    _require(min(len(first), len(second)) >= 2 and first[-1] == second[-2])
    product = (*_broadcast(first[:-2], second[:-2]), first[-2], second[-1])
    return _one(product, multiplications=prod(product) * first[-1])


def _conv(node: Node, inputs: Inputs) -> Result:
    (image, weight), bias = _given(inputs[:2], 2), inputs[2:]
    (batch, channels, *sides), (filters, depth, *kernel) = image.sides, weight.sides
    strides, pads, dilations = (_integers(node, name) for name in ("strides", "pads", "dilations"))
    _require(len(bias) <= 1 and len(sides) == 2 and channels == depth * _integer(node, "group", 1))
    _require(node.attributes.get("auto_pad", b"NOTSET") == b"NOTSET")
    _require(min(pads, default=0) >= 0 and min(*strides, *dilations) >= 1)
    padded = [side + pads[axis] + pads[axis + 2] for axis, side in enumerate(sides)]
    spans = [dilations[axis] * (side - 1) + 1 for axis, side in enumerate(kernel)]
    out = [
        (side - span) // stride + 1
        for side, span, stride in zip(padded, spans, strides, strict=True)
    ]
    _require(min(out) >= 1)
    product = (batch, filters, *out)
    # The windows as a runtime may lay them out.
    windows = batch * channels * max(prod(padded), prod(kernel) * prod(out))
    return _one(product, inside=windows, multiplications=prod(product) * depth * prod(kernel))


def _attention(node: Node, inputs: Inputs) -> Result:
    """Attention of ``(B, heads, N, dim)``, or ``(B, N, heads * dim)`` with heads as attributes."""
    query, key, value = (given.sides for given in _given(inputs, 3))
    if len(query) == 3:
        heads, groups = _integer(node, "q_num_heads"), _integer(node, "kv_num_heads")
        product: tuple[int, ...] = (*query[:2], heads * value[2] // groups)
    else:
        heads, groups = query[1], key[1]
        product = (*query[:3], value[3])
    rows, columns, batch = query[-2], key[-2], query[0]
    _require(len(query) == len(key) == len(value) and key[:-1] == value[:-1] and key[0] == batch)
    _require(heads >= 1 and heads % groups == 0)
    return _one(
        product,
        inside=batch * heads * rows * columns,
        multiplications=(prod(query) + prod(product)) * columns,
    )


OPERATORS: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "Add": (_elementwise, ()),
    "Attention": (
        _attention,
        ("is_causal", "kv_num_heads", "q_num_heads", "qk_matmul_output_mode", "scale", "softcap"),
    ),
    "Cast": (_cast, ("to",)),
    "Concat": (_concat, ("axis",)),
    "Conv": (_conv, ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides")),
    "DequantizeLinear": (_scaled, ("axis",)),
    "Expand": (_expand, ()),
    "Floor": (_same, ()),
    "Gather": (_gather, ("axis",)),
    "Gelu": (_same, ("approximate",)),
    "LayerNormalization": (_scaled, ("axis", "epsilon", "stash_type")),
    "MatMul": (_matmul, ()),
    "Mul": (_elementwise, ()),
    "Pad": (_pad, ("mode",)),
    "QuantizeLinear": (_scaled, ("axis",)),
    "ReduceMean": (_reduce, ("keepdims", "noop_with_empty_axes")),
    "ReduceSum": (_reduce, ("keepdims", "noop_with_empty_axes")),
    "Relu": (_same, ()),
    "Reshape": (_reshape, ("allowzero",)),
    "Resize": (
        _resize,
        (
            "antialias",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ),
    ),
    "Shape": (_shape, ("end", "start")),
    "Slice": (_slice, ()),
    "Softmax": (_same, ("axis",)),
    "Split": (_split, ("axis", "num_outputs")),
    "Sub": (_elementwise, ()),
    "Transpose": (_transpose, ("perm",)),
    "Unsqueeze": (_unsqueeze, ()),
}
"""Every operator of every export, with its attributes; a test exports each form and compares."""
