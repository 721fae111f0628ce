"""What ``torch.save`` writes is read as ``torch.load`` does; anything else is refused."""

from __future__ import annotations

import io
import random
import re
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motivnet.checkpoints.stored_tensors import StoredTensor
from motivnet.checkpoints.torch_files import read_archive, read_torch_file
from motivnet.errors import CheckpointError

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
DTYPES = [
    *(
        torch.float64,
        torch.float32,
        torch.float16,
        torch.bfloat16,
        torch.float8_e4m3fn,
        torch.float8_e5m2,
    ),
    *(
        torch.int8,
        torch.int16,
        torch.int32,
        torch.int64,
        torch.uint8,
        torch.uint16,
        torch.uint32,
        torch.uint64,
    ),
    *(torch.bool, torch.complex64, torch.complex128),
]


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def values(content: object, name: str = "") -> dict[str, object]:
    """Every value by its place; a tensor by all that is told of it."""
    if isinstance(content, dict):
        parts: list[tuple[object, object]] = list(content.items())
    elif isinstance(content, (list, tuple)):
        parts = list(enumerate(content))
    elif isinstance(content, Tensor):
        data = bytes(content.untyped_storage().tolist()) if content.device.type == "cpu" else b""
        told = (content.dtype, content.shape, content.stride(), content.storage_offset(), data)
        return {name: told}
    else:
        return {name: (type(content), repr(content))}
    found: dict[str, object] = {f"{name}:": type(content)}
    for key, part in parts:
        found |= values(part, f"{name}/{key!r}")
    return found


def tensors() -> dict[str, object]:
    base = torch.arange(24.0)
    matrix = base.view(4, 6)
    return {
        "whole": base,
        "part of it": base[3:7],
        "turned": matrix.t(),
        "columns": matrix[:, ::2],
        "no dimension": torch.tensor(3.5),
        "no element": torch.zeros(0, 3),
        "one of four": torch.ones(1, 2, 3, 4).contiguous(memory_format=torch.channels_last),
        "state": nn.BatchNorm1d(3).state_dict(),
        "nested": OrderedDict(a=[(torch.ones(2), None, True, 2**40)], b={"x": 0.1, 3: "é"}),
    }


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_every_form_of_a_tensor_comes_back_as_pytorch_reads_it(protocol: int) -> None:
    data = saved(tensors(), pickle_protocol=protocol)
    wanted = values(torch.load(io.BytesIO(data), weights_only=False))
    assert values(read_archive(io.BytesIO(data))) == wanted


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number_comes_back(dtype: torch.dtype) -> None:
    numbers = torch.arange(16, dtype=torch.uint8).repeat(4).view(torch.uint8)
    tensor = (numbers % 2).view(dtype) if dtype == torch.bool else numbers.view(dtype)
    data = saved({"x": tensor})
    assert values(read_archive(io.BytesIO(data))) == values(
        torch.load(io.BytesIO(data), weights_only=True)
    )


@pytest.mark.parametrize(
    "path", sorted([*GOLDEN.glob("*.pth"), *GOLDEN.glob("*.ckpt")]), ids=lambda path: path.name
)
def test_the_golden_files_come_back_as_pytorch_reads_them(path: Path) -> None:
    assert values(read_archive(io.BytesIO(path.read_bytes()))) == values(
        torch.load(path, weights_only=True)
    )


def test_tensors_that_share_memory_still_do() -> None:
    base = torch.zeros(4)
    content: Any = read_archive(io.BytesIO(saved([base, base[1:]])))
    content[0][1] = 7
    assert content[1][0] == 7


def test_without_values_there_are_the_same_shapes() -> None:
    content: Any = read_archive(io.BytesIO(saved(tensors())), device="meta")
    assert content["columns"].stride() == (6, 2)
    assert content["columns"].device.type == "meta"


def test_the_version_of_each_module_in_a_state_dict_comes_back() -> None:
    content: Any = read_archive(io.BytesIO(saved(nn.BatchNorm1d(3).state_dict())))
    assert content._metadata[""] == {"version": 2}


def _members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _zip(members: dict[str, bytes], **options: Any) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return buffer.getvalue()


def _at_end(data: bytes, position: int, value: bytes) -> bytes:
    start = len(data) + position
    return data[:start] + value + data[start + len(value) :]


def _local_name(data: bytes) -> bytes:
    place = data.index(b"archive/version")
    return data[:place] + b"archive/Version" + data[place + 15 :]


def _offset(data: bytes) -> bytes:
    """The directory's entry of one member points at the header of another of equal length."""
    return data.replace(struct.pack("<I", data.index(b"PK\x03\x04", 9)), struct.pack("<I", 0))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-2] + b"\x05\0hello", "truncated or damaged"),
        (lambda data: data + b"hello", "truncated or damaged"),
        (lambda data: _at_end(data, -10, b"\xff\xff\xff\x7f"), "not as torch.save writes it"),
        (lambda data: _at_end(data, -10, b"\xff\xff\xff\xff"), "not as torch.save writes it"),
        (_local_name, "truncated or damaged"),
        (lambda data: _zip(_members(data) | {"archive/sub/data.pkl": b"N."}), "several pickles"),
        (lambda data: _zip(_members(data) | {"other/data.pkl": b"N."}), "several pickles"),
        (lambda data: _zip(_members(data), compression=zipfile.ZIP_DEFLATED), "compressed"),
        (lambda data: _zip(_members(data) | {"archive/": b""}), "folders"),
        (
            lambda data: _zip({n: m for n, m in _members(data).items() if "/data/0" not in n}),
            "another size",
        ),
        (
            lambda data: _zip(
                {n: m[4:] if "/data/0" in n else m for n, m in _members(data).items()}
            ),
            "another size",
        ),
        (
            lambda data: _zip(
                {n: m + m if "/data/0" in n else m for n, m in _members(data).items()}
            ),
            "another size",
        ),
        (lambda data: _zip(_members(data) | {"archive/byteorder": b"big"}), "another byte order"),
        (
            lambda data: _zip(_members(data) | {"archive/byteorder": b"x" * 99}),
            "in 99 bytes, more than the 16",
        ),
        (lambda data: _zip(_members(data) | {"archive/data.pkl": b"\x80\x02N"}), "cut off"),
        (
            lambda data: _zip(_members(data) | {"archive/data.pkl": b"K\x01Q."}),
            "refers to something that is no storage",
        ),
    ],
)
def test_an_archive_that_pytorch_would_not_write_is_refused(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    data = change(_zip(_members(saved({"x": torch.ones(3)}))))
    with pytest.raises(CheckpointError, match=message):
        read_archive(io.BytesIO(data))


def test_an_archive_of_zip64_is_read() -> None:
    """As torch writes files of more than 4 GB: with the second, longer record at the end."""
    data = _zip(_members(saved({"x": torch.ones(3)})))
    end, size, start = len(data) - 22, *struct.unpack("<II", data[-10:-2])
    count = struct.unpack("<H", data[-12:-10])[0]
    record = struct.pack("<4sQ2H2I4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    unknown = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0
    )
    content: Any = read_archive(io.BytesIO(data[:end] + record + locator + unknown))
    assert content["x"].tolist() == [1, 1, 1]


SIZES = b"K\x00K\x04\x85K\x01\x85"
"""Offset, shape and stride of a tensor of four numbers, as they are pickled."""


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (b"K\x01K\x04\x85K\x01\x85", "reaches beyond the bytes"),
        (b"J\xff\xff\xff\xffK\x04\x85K\x01\x85", "impossible sizes"),
        (b"K\x00K\x05\x85K\x01\x85", "reaches beyond the bytes"),
        (b"K\x00K\x04\x85K\x02\x85", "reaches beyond the bytes"),
        (b"K\x00K\x02\x85J\xff\xff\xff\xff\x85", "impossible sizes"),
        (b"K\x00J\xff\xff\xff\xff\x85K\x01\x85", "impossible sizes"),
        (b"K\x00K\x04\x85)", "impossible sizes"),
        (b"K\x00\x8a\x08" + bytes(7) + b"\x40\x85K\x00\x85", "impossible sizes"),
        (b"K\x00(" + b"K\x01" * 100 + b"t(" + b"K\x01" * 100 + b"t", "impossible sizes"),
        (b"K\x00(" + (b"\x8a\x05\0\0\0\0\x40" * 2) + b"tK\x00K\x00\x86", "impossible sizes"),
        (b"K\x00\x88\x85K\x01\x85", "impossible sizes"),
        (
            b"K\x00(" + (b"\x8a\x05\0\0\0\0\x10" * 2) + b"K\x00t(" + b"K\x01" * 3 + b"t",
            "impossible sizes",
        ),
        (b"K\x00]K\x01\x85", "malformed"),
        (b"NK\x04\x85K\x01\x85", "malformed"),
    ],
)
@pytest.mark.parametrize("read", [read_archive, read_torch_file])
def test_a_tensor_that_its_bytes_do_not_hold_is_refused(
    read: Callable[[Any], object], sizes: bytes, message: str
) -> None:
    members = _members(saved({"x": torch.ones(4)}))
    pickle = next(name for name in members if name.endswith("data.pkl"))

    found = re.sub(rb"K\x00K\x04(q.)?\x85(q.)?K\x01(q.)?\x85", lambda _: sizes, members[pickle])
    assert found != members[pickle]
    with pytest.raises(CheckpointError, match=message):
        read(io.BytesIO(_zip(members | {pickle: found})))


def _stored(value: object, depth: int = 0) -> list[StoredTensor]:
    if isinstance(value, StoredTensor):
        return [value]
    parts = value.values() if isinstance(value, dict) and depth < 4 else ()
    return [tensor for part in parts for tensor in _stored(part, depth + 1)]


def test_a_changed_pickle_with_its_checksum_mended_is_refused_or_holds_its_bytes() -> None:
    """Whatever changes behind a right checksum: no other exception, no tensor beyond its bytes."""
    whole = {
        "state_dict": {
            "a": torch.ones(4, 4),
            "b": nn.Parameter(torch.ones(3)),
            "c": torch.ones(2).half(),
        }
    }
    members = _members(saved(whole))
    pickle = next(name for name in members if name.endswith("data.pkl"))
    draw, refused = random.Random(7), 0
    for _ in range(1_500):
        data = bytearray(members[pickle])
        for _ in range(draw.randint(1, 3)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        file = io.BytesIO(_zip(members | {pickle: bytes(data)}))
        try:
            loaded = [value.load() for value in _stored(read_torch_file(file)[0])]
            assert sum(tensor.untyped_storage().nbytes() for tensor in loaded) <= 200
            read_archive(file)
        except CheckpointError:
            refused += 1
    assert refused > 300


def test_a_changed_byte_of_the_archive_is_refused_or_changes_nothing() -> None:
    data = saved({"a": torch.ones(4, 4), "b": torch.arange(3)})
    wanted, draw = values(read_archive(io.BytesIO(data))), random.Random(8)
    for _ in range(3_000):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 2)):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        try:
            found = values(read_archive(io.BytesIO(changed)))
        except CheckpointError:
            continue
        assert found == wanted
