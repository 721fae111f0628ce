"""An artifact's folder while several write to it."""

from __future__ import annotations

import logging
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from motivnet.artifact import add_reports, has_manifest, open_artifact, own_files_except_reports
from motivnet.errors import ArtifactError
from motivnet.folders import atomic_folder
from motivnet_engines.verification.parity_run import verify_on_device


@pytest.fixture
def folder(fp32_artifact: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fp32_artifact, tmp_path / "artifact")


def add_report(folder: Path) -> None:
    add_reports(folder, {"report.html": b"report"})


def add_comparison(folder: Path) -> None:
    assert verify_on_device(open_artifact(folder), runtimes=["onnxruntime"]).recorded


@pytest.mark.parametrize("write", [add_report, add_comparison])
def test_what_is_added_while_another_builds_is_added_to_what_was_built(
    write: Callable[[Path], None], folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The other process writes a manifest that it made before, which would lose the addition."""
    before = open_artifact(folder).manifest
    without = msgspec.structs.replace(
        before, parity=msgspec.structs.replace(before.parity, comparisons=())
    )
    writer = threading.Thread(target=write, args=(folder,))
    with (
        caplog.at_level(logging.WARNING),
        atomic_folder(folder, own=own_files_except_reports, others="keep") as other,
    ):
        for entry in before.files:
            os.link(folder / entry.path, other / entry.path)
        (other / "manifest.json").write_bytes(
            msgspec.structs.replace(without, tools={"name": "built"}).to_json()
        )
        writer.start()
        while writer.is_alive() and "another process" not in caplog.text:
            writer.join(0.01)
    writer.join()
    after = open_artifact(folder).manifest
    assert after.tools == {"name": "built"}
    assert after.reports if write is add_report else after.parity.comparisons
    assert [path.name for path in folder.parent.iterdir()] == ["artifact"]


def test_a_report_is_listed_where_no_lock_can_be_made(folder: Path) -> None:
    """As in a volume that is mounted below a folder of the system."""
    lock = folder.parent / f".{folder.name}.motivnet-lock"
    lock.mkdir()
    add_report(folder)
    assert [entry.path for entry in open_artifact(folder).manifest.reports] == ["report.html"]


def test_a_manifest_may_be_anybodys(tmp_path: Path) -> None:
    assert not has_manifest(tmp_path)
    (tmp_path / "manifest.json").symlink_to("nowhere")
    assert has_manifest(tmp_path)


def test_a_damaged_manifest_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"not valid: .*; copy the artifact again, or build it"):
        open_artifact(tmp_path)
