"""The timing cache: kept whole, and refused where it was not measured on this very combination."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from motivnet.errors import EngineError, FileError
from motivnet_engines.build.timing_cache import read_timing_cache, write_timing_cache

KEY = {
    "TensorRT": "10.16.1.11",
    "GPU": "NVIDIA L4",
    "compute capability": "8.9",
    "driver": "580.95",
    "flags": "level=3",
}
TIMINGS = bytes(range(256)) * 40 + b"\n\n"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    path = tmp_path / "timings" / "l4.cache"
    write_timing_cache(path, TIMINGS, KEY)
    return path


def test_timings_come_back_as_they_were_written(cache: Path) -> None:
    assert read_timing_cache(cache, KEY) == TIMINGS
    assert read_timing_cache(cache, dict(reversed(KEY.items()))) == TIMINGS


def test_a_first_build_begins_with_none(tmp_path: Path) -> None:
    assert read_timing_cache(tmp_path / "new.cache", KEY) == b""


def test_an_empty_cache_is_one_too(cache: Path) -> None:
    write_timing_cache(cache, b"", KEY)
    assert read_timing_cache(cache, KEY) == b""


@pytest.mark.parametrize("field", KEY)
def test_a_cache_of_another_combination_is_refused_and_the_field_named(
    cache: Path, field: str
) -> None:
    message = rf"{field} is other here and {re.escape(KEY[field])} in the cache; remove it, or give another --timing-cache"
    with pytest.raises(EngineError, match=message):
        read_timing_cache(cache, {**KEY, field: "other"})


def test_a_field_that_only_one_side_has_is_a_difference(cache: Path) -> None:
    with pytest.raises(EngineError, match="sparsity is on here and none in the cache"):
        read_timing_cache(cache, {**KEY, "sparsity": "on"})
    with pytest.raises(EngineError, match=r"driver is none here and 580\.95 in the cache"):
        read_timing_cache(cache, {name: value for name, value in KEY.items() if name != "driver"})


def test_every_flipped_byte_and_every_cut_is_noticed(cache: Path) -> None:
    content = cache.read_bytes()
    for position in [
        *range(0, len(content) - len(TIMINGS), 3),
        *range(len(content) - len(TIMINGS), len(content), 997),
    ]:
        cache.write_bytes(
            content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :]
        )
        with pytest.raises(EngineError):
            read_timing_cache(cache, KEY)
    for length in (0, 10, 24, 100, len(content) - len(TIMINGS), len(content) - 1):
        cache.write_bytes(content[:length])
        with pytest.raises(EngineError):
            read_timing_cache(cache, KEY)


@pytest.mark.parametrize(
    "content", [b"", b"ptrt\x00\x01", b'{"key": {}}\n', b"motivnet timing cache 2\n{}\n"]
)
def test_a_foreign_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.cache"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="is not a timing cache of motivnet build-engine"):
        read_timing_cache(path, KEY)


@pytest.mark.parametrize(
    "header", [b"[]", b"{", b'{"bytes": 2, "key": {"GPU": 1}, "sha256": ""}', b"\xff\xfe"]
)
def test_a_header_that_is_none_is_damage(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "damaged.cache"
    path.write_bytes(b"motivnet timing cache 1\n" + header + b"\nxx")
    with pytest.raises(EngineError, match="is damaged"):
        read_timing_cache(path, KEY)


def test_a_link_to_nothing_and_a_folder_are_errors_and_not_an_empty_cache(tmp_path: Path) -> None:
    link = tmp_path / "link.cache"
    link.symlink_to(tmp_path / "gone")
    for path in (link, tmp_path):
        with pytest.raises(FileError):
            read_timing_cache(path, KEY)


def test_writers_at_the_same_time_leave_one_whole_cache(tmp_path: Path) -> None:
    path, versions = tmp_path / "shared.cache", [bytes([index]) * 300_000 for index in range(8)]
    seen: list[bytes] = []

    def write_and_read(data: bytes) -> None:
        for _ in range(5):
            write_timing_cache(path, data, KEY)
            seen.append(read_timing_cache(path, KEY))

    threads = [threading.Thread(target=write_and_read, args=(data,)) for data in versions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(seen) == 40
    assert set(seen) <= set(versions)
    assert [entry.name for entry in tmp_path.iterdir()] == ["shared.cache"]
