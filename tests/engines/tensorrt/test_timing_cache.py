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
    message = rf"{field} is other here and {re.escape(KEY[field])} in the cache; remove it, or give"
    with pytest.raises(EngineError, match=message):
        read_timing_cache(cache, {**KEY, field: "other"})


def test_a_field_that_only_one_side_has_is_a_difference(cache: Path) -> None:
    with pytest.raises(EngineError, match="sparsity is on here and none in the cache"):
        read_timing_cache(cache, {**KEY, "sparsity": "on"})
    with pytest.raises(EngineError, match=r"driver is none here and 580\.95 in the cache"):
        read_timing_cache(cache, {name: value for name, value in KEY.items() if name != "driver"})


def test_every_flipped_byte_and_every_cut_is_noticed(cache: Path) -> None:
    for path, step in ((cache, 997), (record_of(cache), 3)):
        content = path.read_bytes()
        flipped = [
            content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
            for at in range(0, len(content), step)
        ]
        cut = [content[:length] for length in (0, 10, 100, len(content) - 2)]
        for damaged in (*flipped, *cut):
            path.write_bytes(damaged)
            with pytest.raises(EngineError):
                read_timing_cache(cache, KEY)
        path.write_bytes(content)
    assert read_timing_cache(cache, KEY) == TIMINGS


def record_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def test_timings_are_kept_as_tensorrt_gave_them(cache: Path) -> None:
    assert cache.read_bytes() == TIMINGS


@pytest.mark.parametrize("content", [b"", b"ptrt\x00\x01", b'{"key": {}}\n'])
def test_a_file_that_nothing_describes_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.cache"
    path.write_bytes(content)
    with pytest.raises(
        EngineError, match=r"is not a timing cache .*no foreign\.cache\.json beside"
    ):
        read_timing_cache(path, KEY)


@pytest.mark.parametrize(
    "record", [b"[]", b"{", b'{"key": {"GPU": 1}, "sha256": ""}', b'{"key": {}}', b"\xff\xfe"]
)
def test_a_description_that_is_none_is_damage(cache: Path, record: bytes) -> None:
    record_of(cache).write_bytes(record)
    with pytest.raises(EngineError, match="is damaged"):
        read_timing_cache(cache, KEY)


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
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [
        "shared.cache",
        "shared.cache.json",
    ]
