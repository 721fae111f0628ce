"""Graphs of strangers: each user of artifacts refuses them in one line, before parsing them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from motivnet.artifact import Artifact, copy_files, link_files, open_artifact
from motivnet.artifact.manifest import FileEntry, Manifest
from motivnet.artifact.onnx_graph import check_model
from motivnet.errors import ArtifactError
from motivnet_engines.runtimes.openvino_ import has_bf16
from motivnet_engines.serving.triton.export import export_triton
from motivnet_engines.verification.parity_run import verify_on_device

from .hostile_graphs import ATTACKS, DATA, SECRET, Attack, listed_data

CONSUMER = Path(__file__).with_name("hostile_consumer.py")
CONSUMERS = (
    "onnxruntime",
    "openvino",
    pytest.param(
        "openvino-bf16", marks=pytest.mark.skipif(not has_bf16(), reason="needs BF16 instructions")
    ),
    pytest.param(
        "build-engine",
        marks=pytest.mark.skipif(not find_spec("tensorrt_rtx"), reason="needs tensorrt-rtx"),
    ),
    "inspect",
    "verify",
    "triton",
    "serve",
)
MEMORY = 1 << 30
"""What a user of artifacts may take beyond its imports."""


def written(folder: Path, manifest: Manifest, files: list[FileEntry], *, model: str) -> Artifact:
    text = msgspec.structs.replace(manifest, model=model, files=tuple(files)).to_json()
    (folder / "manifest.json").write_bytes(text)
    return open_artifact(folder)


def attacked(
    source: Path, folder: Path, attack: Attack, file_entry: Callable[[Path], FileEntry]
) -> Artifact:
    """A copy of an artifact after an attack, whose manifest has the right hashes."""
    shutil.copytree(source, folder)
    model = onnx.load(folder / "model.onnx")
    attack.change(model, folder)
    (folder / "model.onnx").unlink()
    (folder / attack.model).write_bytes(model.SerializeToString())
    names = (attack.model, "reference.npz", *attack.listed)
    files = [msgspec.structs.replace(file_entry(folder / name), path=name) for name in names]
    return written(folder, open_artifact(source).manifest, files, model=attack.model)


@pytest.fixture(scope="module")
def corpus(fp32_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from .conftest import entry_of

    root = tmp_path_factory.mktemp("corpus")
    for attack in ATTACKS:
        attacked(fp32_artifact, root / attack.name, attack, entry_of)
    return root


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_every_attack_is_one_line_and_takes_no_memory(consumer: str, corpus: Path) -> None:
    folders = [corpus / attack.name for attack in ATTACKS]
    done = subprocess.run(
        [sys.executable, "-W", "error", CONSUMER, consumer, str(MEMORY), *folders],
        capture_output=True,
        text=True,
        timeout=200,
        cwd="/",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    said = {line["folder"]: line["said"] for line in map(json.loads, done.stdout.splitlines())}
    assert said.keys() == {attack.name for attack in ATTACKS}
    for attack in ATTACKS:
        assert attack.words in said[attack.name], attack.name
        assert "\n" not in said[attack.name]
        assert SECRET.decode() not in said[attack.name]


@pytest.mark.parametrize("consumer", ["onnxruntime", "openvino", "inspect", "triton"])
def test_a_fifo_in_the_place_of_the_data_is_refused(
    consumer: str, fp32_artifact: Path, tmp_path: Path, file_entry: Callable[[Path], FileEntry]
) -> None:
    artifact = attacked(
        fp32_artifact, tmp_path / "fifo", Attack("fifo", listed_data, "", (DATA,)), file_entry
    )
    (artifact.folder / DATA).unlink()
    os.mkfifo(artifact.folder / DATA)
    done = subprocess.run(
        [sys.executable, CONSUMER, consumer, str(MEMORY), artifact.folder],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "is not a regular file" in json.loads(done.stdout)["said"]


def test_data_that_is_a_second_name_of_a_file_is_taken_where_its_hash_is_right(
    fp32_artifact: Path, tmp_path: Path, file_entry: Callable[[Path], FileEntry]
) -> None:
    artifact = attacked(
        fp32_artifact, tmp_path / "linked", Attack("linked", listed_data, "", (DATA,)), file_entry
    )
    os.link(artifact.folder / DATA, tmp_path / "another name")
    with artifact.verified_model_path() as path:
        assert path.name == "model.onnx"


def in_a_folder(model: onnx.ModelProto, folder: Path) -> None:
    listed_data(model, folder)
    (folder / "a").mkdir()
    (folder / DATA).rename(folder / "a" / DATA)


def test_a_model_in_a_folder_has_its_data_beside_it(
    fp32_artifact: Path, tmp_path: Path, file_entry: Callable[[Path], FileEntry]
) -> None:
    attack = Attack("folder", in_a_folder, "", (f"a/{DATA}",), model="a/model.onnx")
    artifact = attacked(fp32_artifact, tmp_path / "folder", attack, file_entry)
    assert verify_on_device(artifact, runtimes=["onnxruntime"]).passed
    export_triton(artifact, tmp_path / "triton")
    (served,) = (tmp_path / "triton").rglob(DATA)
    assert (
        onnx.load(served.with_name("model.onnx")).graph
        == onnx.load(artifact.folder / "a" / "model.onnx").graph
    )


def test_a_model_in_a_folder_keeps_it(
    fp32_artifact: Path, tmp_path: Path, file_entry: Callable[[Path], FileEntry]
) -> None:
    attack = Attack("folder", in_a_folder, "", (f"a/{DATA}",), model="a/model.onnx")
    artifact = attacked(fp32_artifact, tmp_path / "folder", attack, file_entry)
    (tmp_path / "copy").mkdir()
    link_files(artifact, [f"a/{DATA}"], tmp_path / "copy")
    copy_files(artifact, ["a/model.onnx"], tmp_path / "copy")
    assert sorted(path.name for path in (tmp_path / "copy" / "a").iterdir()) == ["model.onnx", DATA]


def test_a_sparse_file_of_a_terabyte_is_not_read(copied_artifact) -> None:
    artifact = copied_artifact()
    (artifact.folder / "model.onnx").unlink()
    with (artifact.folder / "model.onnx").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="SHA-256 or size differ"):
        artifact.model_bytes()
    with pytest.raises(ArtifactError, match="SHA-256 or size differ"):
        artifact.verify_files()


@pytest.mark.parametrize(
    ("path", "size", "limit"),
    [
        ("model.onnx", 1 << 40, "70,110,339"),
        ("model.onnx.data", 1 << 40, "70,110,339"),
        ("notes", 1 << 40, "268,435,456"),
    ],
)
def test_a_manifest_cannot_name_a_file_of_a_terabyte(
    path: str, size: int, limit: str, copied_artifact
) -> None:
    manifest = copied_artifact().manifest
    entry = FileEntry(path=path, size=size, sha256="0" * 64)
    files = (*(other for other in manifest.files if other.path != path), entry)
    with pytest.raises(
        ArtifactError, match=f"{path}' has 1,099,511,627,776 bytes; .* at most {limit}"
    ):
        msgspec.structs.replace(manifest, files=files)


def test_a_changed_byte_is_refused_or_is_still_a_graph_of_ours(fp32_artifact: Path) -> None:
    """Nothing but ``ArtifactError`` comes out, whatever the bytes between the weights are."""
    manifest = open_artifact(fp32_artifact).manifest
    whole, generator = slim(fp32_artifact / "model.onnx"), np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        data = bytearray(whole)
        for place in generator.integers(0, len(data), generator.integers(1, 4)):
            data[place] = generator.integers(256)
        refused += is_refused(bytes(data), manifest)
    assert refused > 150


def test_a_cut_model_is_refused(fp32_artifact: Path) -> None:
    manifest, whole = open_artifact(fp32_artifact).manifest, slim(fp32_artifact / "model.onnx")
    places = np.random.default_rng(0).integers(0, len(whole), 200)
    assert all(is_refused(whole[:place], manifest) for place in places)


def slim(path: Path) -> bytes:
    """The model with its weights in another file, so that most of its bytes are structure."""
    model = onnx.load(path)
    offset = 0
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > 64:
            size = len(tensor.raw_data)
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in {"location": DATA, "offset": offset, "length": size}.items():
                tensor.external_data.add(key=key, value=str(value))
            offset += size
    return model.SerializeToString()


def is_refused(data: bytes, manifest: Manifest) -> bool:
    try:
        check_model(data, manifest, data_bytes=1 << 30)
    except ArtifactError as error:
        return "\n" not in str(error)
    return False
