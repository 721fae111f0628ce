from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from motivnet.errors import FileError
from motivnet_engines.faces import YUNET, open_detector


def test_the_detector_opens_without_a_network_a_home_or_a_cache(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert open_detector() is not None


def test_a_copy_of_the_model_may_be_given(tmp_path: Path) -> None:
    copy = shutil.copy(YUNET, tmp_path)
    assert open_detector(Path(copy)) is not None


def test_another_model_is_refused_before_anything_parses_it(tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(bytes(YUNET.stat().st_size))
    with pytest.raises(FileError, match=rf"other.onnx is not {YUNET.name} \(SHA-256 8f2383e4"):
        open_detector(other)


def test_a_detector_file_that_is_missing_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"none\.onnx does not exist"):
        open_detector(tmp_path / "none.onnx")
