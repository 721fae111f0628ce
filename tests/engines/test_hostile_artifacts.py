"""Artifacts that are damaged or deceive: one clear line, before a parser sees the model."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ArtifactError
from motivnet_engines.runtimes.selection import open_runtime

RUNTIMES = ["onnxruntime", "openvino"]


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def link_to_another_file(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere.onnx")
    flip_a_bit(path.parent.parent / "elsewhere.onnx")
    path.symlink_to(path.parent.parent / "elsewhere.onnx")


def link_to_a_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path.parent.parent / "pipe")
    path.symlink_to(path.parent.parent / "pipe")


def link_to_itself(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_bit, "is not the file that the manifest describes"),
        (truncate, "is not the file that the manifest describes"),
        (extend, "is not the file that the manifest describes"),
        (link_to_another_file, "is not the file that the manifest describes"),
        (link_to_a_fifo, "is not a regular file"),
        (link_to_itself, "is a link in a loop of links; the artifact is damaged, build it again"),
        (make_folder, "is a directory"),
        (Path.unlink, "does not exist"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_changed_model_file_is_refused(
    damage: Callable[[Path], Any], message: str, runtime: str, copied_artifact
) -> None:
    folder = copied_artifact(verified=(runtime,)).folder
    damage(folder / "model.onnx")
    with pytest.raises(ArtifactError, match=message):
        open_runtime(folder, runtime=runtime)


def edited(path: tuple[str | int, ...], value: Any) -> Callable[[str], str]:
    """An edit of the manifest's text that sets one value."""

    def edit(text: str) -> str:
        document = json.loads(text)
        place = document
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return json.dumps(document)

    return edit


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            lambda text: text.replace('"max_batch": 8', '"max_batch": 8, "max_batch": 9'),
            "'max_batch' appears twice",
        ),
        (edited(("files", 0, "path"), "../model.onnx"), "not a plain relative path"),
        (edited(("files", 0, "path"), "/etc/passwd"), "not a plain relative path"),
        (edited(("files", 0, "path"), "folder//model.onnx"), "not a plain relative path"),
        (edited(("model",), "../model.onnx"), "is not among its files"),
        (edited(("files", 0, "size"), 10.0), "files[0].size: Expected `int`"),
        (edited(("max_batch",), 8.0), "max_batch: Expected `int`"),
        (edited(("max_batch",), True), "max_batch: Expected `int`"),
        (edited(("files", 0, "sha256"), "A" * 64), "files[0].sha256: Expected"),
        (edited(("labels",), ["happiness"]), "labels do not fit"),
        (edited(("precision",), "int4"), "precision: Invalid enum value 'int4'"),
        (edited(("surprise",), 1), "unknown field `surprise`"),
        (edited(("format_version",), 2), "format_version: Invalid enum value 2"),
        (lambda text: text.replace('"max_batch": 8', '"max_batch": NaN'), "not JSON numbers"),
        (lambda text: text[:-2], "not JSON: "),
        (lambda text: text + " " * 1_000_000, "more than the 1,000,000 allowed"),
        (lambda _: "[" * 100_000, "nested deeper than"),
        (lambda _: "[]", "Expected `object`"),
        (lambda _: "", "not JSON"),
    ],
)
def test_a_manifest_that_breaks_a_rule_is_refused(
    edit: Callable[[str], str], message: str, copied_artifact
) -> None:
    path = copied_artifact(verified=("onnxruntime",)).folder / "manifest.json"
    path.write_text(edit(path.read_text()))
    with pytest.raises(ArtifactError) as raised:
        open_runtime(path.parent)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
