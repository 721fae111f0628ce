"""Tensors as a file of ``torch.save`` describes them, checked against the stored bytes.

A description reads no values: what is beside the weights, such as the state of an optimiser, is
never in memory.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from motivnet.checkpoints.stand_ins import Builder, PickleError, StandIn
from motivnet.errors import CheckpointError

_MAX_DIMENSIONS = 64
_MAX_BYTES = 2**62
_UNKNOWN_TENSOR = "torch.Tensor of another kind"


class StorageFile(Protocol):
    """The open file that has the bytes of storages, each under a name."""

    def read_into(self, buffer: memoryview, name: str, *, offset: int = 0) -> None:
        """Fill a buffer from a storage, which must have as many bytes after ``offset``."""
        ...


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes of a storage; ``dtype`` is None where the tensors over it say their own."""

    archive: StorageFile
    member: str
    size: int
    dtype: torch.dtype | None


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor over the bytes of a storage, which were not read yet."""

    storage: Storage
    dtype: torch.dtype
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def claimed(self) -> int:
        """The bytes of its values, or from the first to the last, whichever is more."""
        count = math.prod(self.shape)
        return self.dtype.itemsize * max(count, _extent(self.shape, self.stride))

    def outline(self) -> Tensor:
        """Return the tensor on the meta device."""
        return torch.empty_strided(self.shape, self.stride, dtype=self.dtype, device="meta")

    def load(self) -> Tensor:
        """Return the tensor, read into new memory.

        Raises:
            CheckpointError: If the file was cut meanwhile or the memory does not suffice.
        """
        size = self.dtype.itemsize
        read = _bytes_of(
            self.storage, start=self.offset * size, length=_extent(self.shape, self.stride) * size
        )
        return torch.empty(0, dtype=self.dtype).set_(
            read.untyped_storage(), 0, self.shape, self.stride
        )


@dataclass(frozen=True, slots=True)
class StorageType:
    """The class of a storage, which says the type of its numbers, or None."""

    dtype: torch.dtype | None

    def size(self, count: int) -> int:
        """Return the bytes of so many numbers."""
        return count * (1 if self.dtype is None else self.dtype.itemsize)


def shared_tensors(device: Literal["cpu", "meta"]) -> Callable[[StoredTensor], Tensor]:
    """Return a function that loads tensors as they were saved: sharing memory of one storage."""
    storages: dict[str, torch.UntypedStorage] = {}

    def shared(stored: StoredTensor) -> Tensor:
        origin = stored.storage
        if origin.member not in storages:
            if device == "meta":
                whole = torch.empty(origin.size, dtype=torch.uint8, device="meta")
            else:
                whole = _bytes_of(origin, start=0, length=origin.size)
            storages[origin.member] = whole.untyped_storage()
        empty = torch.empty(0, dtype=stored.dtype, device=device)
        return empty.set_(storages[origin.member], stored.offset, stored.shape, stored.stride)

    return shared


def known_names(made: Callable[[StoredTensor], object]) -> dict[str, object]:
    """Return the meaning of the names in a pickle of tensors and plain values.

    Args:
        made: Returns the object that represents a tensor in the result.
    """
    return {
        "collections.OrderedDict": Builder(_ordered_dict),
        "collections.defaultdict": Builder(lambda _: {}),
        "_codecs.encode": Builder(_Encoder()),
        "torch._utils._rebuild_tensor": Builder(lambda given: _tensor(given, made, counts=(4,))),
        "torch._utils._rebuild_tensor_v2": Builder(
            lambda given: _tensor(given, made, counts=(6, 7))
        ),
        "torch._utils._rebuild_tensor_v3": Builder(lambda given: _tensor_v3(given, made)),
        "torch._utils._rebuild_parameter": Builder(_first),
        "torch._utils._rebuild_parameter_with_state": Builder(_first),
        "torch._utils._rebuild_device_tensor_from_cpu_tensor": Builder(_first),
        "torch._tensor._rebuild_from_type_v2": Builder(_of_type),
        **_TYPES,
    }


class _Encoder:
    """``_codecs.encode(text, "latin1")``: bytes in the pickle protocol of torch.save.

    One text can be encoded many times with a few opcodes each, so the total is limited.
    """

    def __init__(self) -> None:
        self.left = 1 << 26

    def __call__(self, given: tuple[object, ...]) -> object:
        match given:
            case (str(text), "latin1") if len(text) <= self.left:
                self.left -= len(text)
                try:
                    return text.encode("latin1")
                except UnicodeEncodeError as error:
                    raise PickleError("the pickle has bytes that are none") from error
        return StandIn("_codecs.encode")


def _ordered_dict(given: tuple[object, ...]) -> object:
    return StandIn("collections.OrderedDict") if given else OrderedDict()


def _first(given: tuple[object, ...]) -> object:
    """Return the tensor of a parameter, or of a tensor on another device."""
    if not given or not isinstance(given[0], (StoredTensor, Tensor, StandIn)):
        raise PickleError("a parameter is made from no tensor")
    return given[0]


def _of_type(given: tuple[object, ...]) -> object:
    """Return a tensor without its attributes; a stand-in for one of an unknown class."""
    match given:
        case (Builder() as builder, kind, tuple() as inner, _) if (
            kind is Tensor and builder.build is not _of_type
        ):
            return builder.build(inner)
        case (_, StandIn() as unknown, _, _):
            return unknown
    return StandIn(_UNKNOWN_TENSOR)


def _tensor_v3(given: tuple[object, ...], made: Callable[[StoredTensor], object]) -> object:
    """Return a tensor whose dtype is not that of its storage."""
    if len(given) not in (7, 8) or not isinstance(given[6], torch.dtype):
        return StandIn(_UNKNOWN_TENSOR)
    return _tensor((*given[:6], *given[7:]), made, counts=(6, 7), dtype=given[6])


def _tensor(
    given: tuple[object, ...],
    made: Callable[[StoredTensor], object],
    *,
    counts: tuple[int, ...],
    dtype: torch.dtype | None = None,
) -> object:
    # The seventh are bits of views: conjugate, negative.
    if len(given) not in counts or any(given[6:]):
        return StandIn(_UNKNOWN_TENSOR)
    match given[:4]:
        case (StandIn() as unknown, _, _, _):
            return unknown
        case (Storage() as storage, int(offset), tuple() as shape, tuple() as stride):
            kind = dtype or storage.dtype
            if kind is None:
                raise PickleError("a tensor has no type")
            stored = StoredTensor(storage, kind, offset, _sizes(shape), _sizes(stride))
            _check_inside(stored)
            return made(stored)
    raise PickleError("a tensor is malformed")


def _sizes(values: tuple[object, ...]) -> tuple[int, ...]:
    sizes = tuple(value for value in values if type(value) is int and 0 <= value < _MAX_BYTES)
    if len(sizes) != len(values) or len(sizes) > _MAX_DIMENSIONS:
        raise PickleError("a tensor has impossible sizes")
    return sizes


def _check_inside(stored: StoredTensor) -> None:
    # A side of 0 hides what PyTorch multiplies all the same.
    largest = math.prod(max(side, 1) for side in stored.shape)
    if (
        len(stored.shape) != len(stored.stride)
        or stored.offset < 0
        or max(stored.claimed, largest) > _MAX_BYTES
    ):
        raise PickleError("a tensor has impossible sizes")
    end = stored.offset + _extent(stored.shape, stored.stride)
    if end * stored.dtype.itemsize > stored.storage.size:
        raise PickleError("a tensor reaches beyond the bytes that are stored for it")


def _extent(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Return the number of elements from the first to the last inclusive, 0 if there is none."""
    if 0 in shape:
        return 0
    return 1 + sum((size - 1) * step for size, step in zip(shape, stride, strict=True))


def _bytes_of(storage: Storage, *, start: int, length: int) -> Tensor:
    try:
        read = torch.empty(length, dtype=torch.uint8)
    except RuntimeError as error:  # PyTorch's allocator raises no MemoryError
        raise CheckpointError("does not fit into this machine's memory") from error
    storage.archive.read_into(read.numpy().data, storage.member, offset=start)
    return read


_STORAGES: Mapping[str, torch.dtype] = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
    "ComplexDouble": torch.complex128,
    "ComplexFloat": torch.complex64,
}
_TYPES: Mapping[str, object] = {
    **{f"torch.{name}Storage": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{str(dtype): dtype for dtype in vars(torch).values() if isinstance(dtype, torch.dtype)},
    "torch.storage.UntypedStorage": StorageType(None),
    "torch._tensor.Tensor": Tensor,
    "torch.Tensor": Tensor,
    "torch.nn.parameter.Parameter": Tensor,
    "torch.nn.parameter.Buffer": Tensor,
}
