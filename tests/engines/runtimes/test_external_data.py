"""Artifacts whose weights lie in a file of their own, as every model above 2 GB has them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest

from motivnet.artifact import Artifact, open_artifact
from motivnet.errors import ArtifactError
from motivnet_engines.runtimes.registry import open_backend

RUNTIMES = ["onnxruntime", "openvino"]
IMAGE = np.random.default_rng(0).standard_normal((2, 3, 128, 96)).astype(np.float32)


@pytest.fixture
def split_artifact(copied_artifact, file_entry) -> Artifact:
    artifact: Artifact = copied_artifact()
    path = artifact.folder / "model.onnx"
    model = onnx.load(path)
    onnx.save_model(
        model, path, save_as_external_data=True, location="model.onnx.data", size_threshold=1024
    )
    files = tuple(
        file_entry(path.with_name(name))
        for name in ("model.onnx", "model.onnx.data", "reference.npz")
    )
    assert files[1].size > files[0].size
    manifest = msgspec.structs.replace(artifact.manifest, files=files)
    (artifact.folder / "manifest.json").write_bytes(manifest.to_json())
    return open_artifact(artifact.folder)


@pytest.mark.parametrize("name", RUNTIMES)
def test_it_computes_what_the_single_file_computes(
    name: str, split_artifact: Artifact, fp32_artifact: Path
) -> None:
    with open_backend(name, open_artifact(fp32_artifact), threads=1) as whole:
        expected = whole.run({"image": IMAGE})["logits"]
    with open_backend(name, split_artifact, threads=1) as split:
        np.testing.assert_array_equal(split.run({"image": IMAGE})["logits"], expected)


@pytest.mark.parametrize("name", RUNTIMES)
@pytest.mark.parametrize("victim", ["model.onnx", "model.onnx.data"])
def test_a_changed_file_is_refused(name: str, victim: str, split_artifact: Artifact) -> None:
    path = split_artifact.folder / victim
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ArtifactError, match=f"{victim} is not the file that the manifest describes"
    ):
        open_backend(name, split_artifact)


@pytest.mark.skipif(
    not Path("/proc/self/maps").exists(), reason="needs Linux to see what is mapped"
)
def test_openvino_keeps_no_map_of_a_file_that_may_change(split_artifact: Artifact) -> None:
    with open_backend("openvino", split_artifact, threads=1) as runtime:
        runtime.run({"image": IMAGE})
        assert "model.onnx" not in Path("/proc/self/maps").read_text()
