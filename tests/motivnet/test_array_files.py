"""Arrays and facts in one file: round trips, and files that are something else."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from motivnet import array_files
from motivnet.array_files import decode_npz, encode_npz, read_arrays, write_npy
from motivnet.errors import FileError


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    name: str
    share: float


FACTS = Facts(name="Überraschung", share=0.25)
ARRAYS = {
    "first": np.arange(6, dtype=np.float32).reshape(2, 3),
    "second": np.zeros((0,), np.float32),
}


def test_what_was_written_is_read() -> None:
    facts, arrays = decode_npz(encode_npz(FACTS, ARRAYS), Facts, names=("first", "second"))
    assert facts == FACTS
    assert (arrays["first"] == ARRAYS["first"]).all()
    assert arrays["second"].shape == (0,)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"PK\x03\x04",
        b"\x93NUMPY\x01\x00",
        b"text" * 100,
        encode_npz(FACTS, ARRAYS)[:-30],
        encode_npz(FACTS, {"second": ARRAYS["first"]}),
        encode_npz({"name": "no share"}, ARRAYS),
        encode_npz({"name": 1, "share": 0.5}, ARRAYS),
    ],
)
def test_another_file_is_one_line(data: bytes) -> None:
    with pytest.raises(FileError, match=r"^(cannot be read: \S|is not an .npz file)") as caught:
        decode_npz(data, Facts, names=("first",))
    assert "\n" not in str(caught.value)


def test_every_damaged_byte_is_one_line_or_the_same_kind_of_value() -> None:
    whole, generator = encode_npz(FACTS, ARRAYS), np.random.default_rng(0)
    refused = 0
    for _ in range(2_000):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] = generator.integers(256)
        try:
            decode_npz(bytes(data), Facts, names=("first", "second"))
        except FileError:
            refused += 1
    assert refused > 500


def test_a_file_that_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = encode_npz(FACTS, {"first": np.zeros(1_000_000, np.float32)})
    monkeypatch.setattr(array_files, "MAX_BYTES", 100_000)
    assert len(data) < 100_000
    with pytest.raises(FileError, match="unpacks to more than the 100,000 bytes allowed"):
        decode_npz(data, Facts, names=("first",))


def test_a_header_that_promises_more_than_the_file_holds_allocates_nothing() -> None:
    """The shape is the header's word; what is behind it is read bit by bit."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40,)}
    )
    buffer = io.BytesIO(encode_npz(FACTS, {}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr("first.npy", header.getvalue())
    with pytest.raises(FileError, match="cannot be read"):
        decode_npz(buffer.getvalue(), Facts, names=("first",))


@pytest.mark.parametrize(
    "header", [b"(" * 9_000, b"{'descr': '<f4'", b"[" * 9_000 + b"]" * 9_000, b"\0" * 64]
)
def test_a_header_that_is_no_description_is_one_line(header: bytes) -> None:
    buffer = io.BytesIO(encode_npz(FACTS, {}))
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(
            "first.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        )
    with pytest.raises(FileError, match="cannot be read"):
        decode_npz(buffer.getvalue(), Facts, names=("first",))


def test_a_directory_of_many_entries_is_refused_before_it_is_read() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for index in range(101):
            archive.writestr(f"{index}.npy", b"")
    with pytest.raises(FileError, match="more than the 100 entries allowed"):
        read_arrays(buffer.getvalue(), names=("0",), max_bytes=1 << 20)


def test_arrays_of_any_plain_type_are_read() -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, pixels=np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    arrays = read_arrays(buffer.getvalue(), names=("pixels",), max_bytes=1 << 20)
    assert arrays["pixels"].tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


def test_an_array_is_written_whole_or_not_at_all(tmp_path: Path, file_growth) -> None:
    array = np.arange(50_000)
    write_npy(tmp_path / "whole.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "whole.npy"), array)
    with (
        file_growth((tmp_path / "whole.npy").stat().st_size - 1),
        pytest.raises(FileError, match=r"cut\.npy was not written: File too large"),
    ):
        write_npy(tmp_path / "cut.npy", array)
    assert not (tmp_path / "cut.npy").exists()
