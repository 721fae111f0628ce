"""The format of ``torch.save`` before PyTorch 1.6: read as PyTorch reads it, or refused."""

from __future__ import annotations

import argparse
import errno
import io
import os
import pickle
import random
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from motivnet.checkpoints import load_checkpoint
from motivnet.checkpoints.stand_ins import StandIn
from motivnet.checkpoints.stored_tensors import StoredTensor
from motivnet.checkpoints.torch_files import read_archive, read_torch_file
from motivnet.checkpoints.torch_legacy import LegacyFile
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError, FileError

MATRIX = torch.arange(24.0).view(4, 6)
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn),
    *(torch.int8, torch.int16, torch.int32, torch.int64, torch.uint8, torch.bool),
    torch.complex64,
]


def saved(content: object, **options: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=False, **options)
    return buffer.getvalue()


def read(data: bytes) -> Any:
    """What a file holds, with its tensors loaded."""
    return _loaded(read_torch_file(io.BytesIO(data))[0])


def _loaded(value: object) -> object:
    if isinstance(value, StoredTensor):
        return value.load()
    if isinstance(value, dict):
        return {key: _loaded(part) for key, part in value.items()}
    return [_loaded(part) for part in value] if isinstance(value, list) else value


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_tensors_and_plain_values_come_back_as_pytorch_reads_them(protocol: int) -> None:
    content = {
        "turned": MATRIX.t(),
        "columns": MATRIX[:, ::2],
        "no element": torch.zeros(0, 3),
        "parameter": nn.Parameter(torch.ones(2)).data,
        "values": [1, 2.5, "é", (None, True)],
        "state": dict(nn.BatchNorm1d(3).state_dict()),
    }
    data = saved(content, pickle_protocol=protocol)
    wanted, found = torch.load(io.BytesIO(data), weights_only=False), read(data)
    assert str(found) == str(wanted)
    assert found["turned"].stride() == wanted["turned"].stride()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_of_number_comes_back(dtype: torch.dtype) -> None:
    numbers = torch.arange(16, dtype=torch.uint8) % 2
    tensor = numbers.to(torch.bool) if dtype == torch.bool else numbers.view(dtype)
    found = read(saved([tensor, torch.ones(3)]))
    assert found[0].dtype == dtype
    assert torch.equal(found[0].view(torch.uint8), tensor.view(torch.uint8))
    assert found[1].tolist() == [1, 1, 1]


def test_a_content_longer_than_the_first_window_is_read() -> None:
    content = {f"name-{i}": i for i in range(20_000)} | {"x": torch.ones(2)}
    found = read(saved(content))
    assert len(found) == 20_001
    assert found["x"].tolist() == [1, 1]


def test_objects_and_modules_are_stand_ins_and_nothing_runs(tmp_path: Path) -> None:
    class Gadget:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "canary"),)

    content = {"a": argparse.Namespace(x=1), "b": Gadget(), "c": nn.Linear(2, 2), "d": MATRIX}
    found, ignored = read_torch_file(io.BytesIO(saved(content)))
    assert isinstance(found, dict)
    assert [type(found[key]) for key in "abcd"] == [StandIn, StandIn, StandIn, StoredTensor]
    assert {"argparse.Namespace", "posix.mkdir", "torch.nn.modules.linear.Linear"} <= set(ignored)
    assert not list(tmp_path.iterdir())


def _big_endian(data: bytes) -> bytes:
    return data.replace(b"little_endian", b"little_endiam")


def _keys(data: bytes, change: Callable[[list[str]], object]) -> bytes:
    """The file with other keys of its storages."""
    start = data.rindex(b"\x80\x02]")
    keys = pickle.loads(data[start:])
    length = len(pickle.dumps(keys, 2))
    return data[:start] + pickle.dumps(change(keys), 2) + data[start + length :]


def _count(data: bytes, count: int) -> bytes:
    """The file with another count before its last storage, of four floats."""
    return data[:-24] + struct.pack("<q", count) + data[-16:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-1], "truncated or damaged"),
        (lambda data: data[:-17], "truncated or damaged"),
        (lambda data: data + b"\0", "truncated or damaged"),
        (lambda data: data[: data.rindex(b"\x80\x02]")], "truncated or damaged"),
        (lambda data: data[:60], "truncated or damaged"),
        (lambda data: data[:20], "truncated or damaged"),
        (_big_endian, "another byte order"),
        (lambda data: _keys(data, lambda keys: keys[:1]), "other storages than its content names"),
        (lambda data: _keys(data, lambda keys: keys * 2), "other storages than its content names"),
        (lambda data: _keys(data, lambda keys: [*keys, "9"]), "other storages than its content"),
        (lambda data: _keys(data, lambda keys: [1, 2]), "keys of the storages are no texts"),
        (lambda data: _keys(data, lambda keys: {"a": 1}), "keys of the storages are no texts"),
        (lambda data: _keys(data, lambda keys: "ab"), "keys of the storages are no texts"),
        (lambda data: _count(data, 5), "another size than its description"),
        (lambda data: _count(data, -1), "another size than its description"),
        (lambda data: _count(data, 2**62), "another size than its description"),
        (lambda data: data.replace(b"M\xe9\x03.", b"M\xea\x03."), "an unknown number"),
        (lambda data: data.replace(b"K\x04Nt", b"K\x05Nt"), "another size than"),
        (lambda data: data.replace(b"K\x04Nt", b"J\0\0\0\x70Nt"), "truncated"),
        (lambda data: data.replace(b"K\x04Nt", b"K\x04)t"), "no storage"),
        (lambda data: data.replace(b"FloatStorage", b"QInt8Storage"), "of the type torch.QInt8S"),
        (lambda data: data.replace(b"FloatStorage", b"FloatStorag\xff"), "malformed"),
    ],
)
def test_a_file_that_pytorch_would_not_write_is_refused(
    change: Callable[[bytes], bytes], message: str
) -> None:
    data = saved([torch.ones(4), torch.zeros(4)])
    changed = change(data)
    assert changed != data
    with pytest.raises(CheckpointError, match=message) as caught:
        read_torch_file(io.BytesIO(changed))
    assert "\n" not in str(caught.value)


def test_a_storage_of_two_descriptions_is_refused() -> None:
    data = saved([torch.ones(4), torch.zeros(4, dtype=torch.int32)])
    keys = dict.fromkeys(re.findall(rb"X(.\0\0\0\d{6,})q", data))
    first, second = keys
    mixed = data.replace(second, first, 1)
    with pytest.raises(CheckpointError, match="a storage has two descriptions"):
        read_torch_file(io.BytesIO(mixed))


def test_a_disk_that_fails_while_weights_are_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    golden = Path(__file__).resolve().parents[1] / "golden" / "motivnet_flat.pth"
    path = tmp_path / "older.pth"
    path.write_bytes(saved(torch.load(golden, weights_only=True)))
    monkeypatch.setattr(LegacyFile, "read_into", fail)
    decoder = DecoderConfig(embed_dim=16, num_heads=8)
    encoder = EncoderConfig(embed_dim=32, depth=2, num_heads=4, image_size=(64, 48))
    with pytest.raises(FileError, match=r"older\.pth cannot be read: Input/output error$"):
        load_checkpoint(path, ModelConfig(encoder=encoder, decoder=decoder))


def test_our_own_training_state_is_never_in_this_format() -> None:
    with pytest.raises(CheckpointError, match="truncated or damaged"):
        read_archive(io.BytesIO(saved({"x": MATRIX})))


def test_a_changed_byte_is_an_error_or_a_tensor_within_its_bytes() -> None:
    data = saved({"a": torch.ones(4, 4), "b": nn.Parameter(torch.ones(3)), "c": MATRIX.half()})
    draw, refused = random.Random(7), 0
    for _ in range(1_500):
        changed = bytearray(data)
        for _ in range(draw.randint(1, 3)):
            changed[draw.randrange(len(data))] = draw.randrange(256)
        try:
            content, _ = read_torch_file(io.BytesIO(changed))
        except CheckpointError:
            refused += 1
            continue
        parts = content.values() if isinstance(content, dict) else ()
        loaded = [part.load() for part in parts if isinstance(part, StoredTensor)]
        assert sum(tensor.untyped_storage().nbytes() for tensor in loaded) <= 200
    assert refused > 300
