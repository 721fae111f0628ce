"""Copies of the tiny artifacts, with another manifest or another model."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from motivnet.artifact import Artifact, open_artifact
from motivnet.artifact.engine_entry import EngineDevice, EngineEntry, EngineReport, ShapeProfile
from motivnet.artifact.manifest import FileEntry
from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.config import ModelConfig
from motivnet.labels import EMOTIONS, labels_for
from motivnet.model import MotivNet, build_model
from motivnet.parity import Comparison, Evidence, Precision
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import iterate_faces
from motivnet_engines.calibration.escalate import calibrate_escalation
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

ArtifactEditor = Callable[..., Artifact]


def entry_of(path: Path) -> FileEntry:
    data = path.read_bytes()
    return FileEntry(path=path.name, size=len(data), sha256=hashlib.sha256(data).hexdigest())


def comparison(
    backend: str, *, failures: tuple[str, ...] = (), evidence: Evidence = "runtime"
) -> Comparison:
    return Comparison(
        backend=backend,
        compute="float32",
        evidence=evidence,
        images=1,
        logit_cosine=1.0,
        logit_max_abs=0.0,
        probability_max_abs=0.0,
        top1_agreement=1.0,
        embedding_cosine=1.0,
        seconds_per_image=0.01,
        failures=failures,
    )


@pytest.fixture(scope="session")
def bf16_artifact(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    out = tmp_path_factory.mktemp("artifacts") / "bf16"
    build_artifact(
        BuildRequest(checkpoint=tiny_checkpoint, out=out, precision="bf16", num_images=2)
    )
    return out


@pytest.fixture
def file_entry() -> Callable[[Path], FileEntry]:
    """A function that gives a file's entry in the manifest of its folder."""
    return entry_of


@pytest.fixture
def copied_artifact(request: pytest.FixtureRequest, tmp_path: Path) -> ArtifactEditor:
    """A function that gives a copy of an artifact, to be changed or damaged.

    The manifest says that the runtimes in ``verified`` passed the gate, that those in ``failed``
    did not, and nothing of others. With ``model`` the file holds these bytes.
    """

    def copied(
        precision: Precision = "fp32",
        *,
        verified: tuple[str, ...] = (),
        failed: tuple[str, ...] = (),
        evidence: Evidence = "runtime",
        model: bytes | None = None,
        **changes: Any,
    ) -> Artifact:
        folder = tmp_path / precision
        shutil.copytree(request.getfixturevalue(f"{precision}_artifact"), folder)
        if model is not None:
            (folder / "model.onnx").write_bytes(model)
        manifest = open_artifact(folder).manifest
        comparisons = (
            *(comparison(name, evidence=evidence) for name in verified),
            *(comparison(name, failures=("logits differ by 0.5",)) for name in failed),
        )
        changes["parity"] = msgspec.structs.replace(
            manifest.parity, passed=not failed, comparisons=comparisons
        )
        manifest = msgspec.structs.replace(
            manifest, files=tuple(entry_of(folder / e.path) for e in manifest.files), **changes
        )
        (folder / "manifest.json").write_bytes(manifest.to_json())
        return open_artifact(folder)

    return copied


def link_as_hub(folder: Path) -> Path:
    """The files by their hash in a folder beside it, as in the cache of Hugging Face's hub."""
    blobs = folder.parent / "blobs"
    blobs.mkdir()
    for path in sorted(folder.iterdir()):
        blob = blobs / hashlib.sha256(path.read_bytes()).hexdigest()
        path.rename(blob)
        path.symlink_to(Path("..", "blobs", blob.name))
    return blobs


def link_as_config_map(folder: Path) -> Path:
    """The files in a folder inside, which one link names, as Kubernetes mounts a ConfigMap."""
    inside = folder / "..2026_01_01"
    names = sorted(path.name for path in folder.iterdir())
    inside.mkdir()
    (folder / "..data").symlink_to(inside.name)
    for name in names:
        (folder / name).rename(inside / name)
        (folder / name).symlink_to(Path("..data", name))
    return inside


def link_as_dvc(folder: Path) -> Path:
    """The files under absolute paths, read-only, as in the cache of DVC."""
    cache = folder.parent / "cache"
    cache.mkdir()
    for number, path in enumerate(sorted(folder.iterdir())):
        path.rename(cache / str(number))
        (cache / str(number)).chmod(0o444)
        path.symlink_to(cache / str(number))
    return cache


@pytest.fixture(params=[link_as_hub, link_as_config_map, link_as_dvc])
def link_files_of(request: pytest.FixtureRequest) -> Callable[[Path], Path]:
    """A function that turns an artifact's files into links, and gives the folder of the files."""
    link: Callable[[Path], Path] = request.param
    return link


@pytest.fixture
def engine_artifact(copied_artifact: ArtifactEditor) -> Artifact:
    """An artifact with a TensorRT engine in name, from elsewhere: nothing here opens it."""
    artifact = copied_artifact("fp16", verified=("openvino", "onnxruntime"))
    path = artifact.folder / "model.tensorrt.engine"
    path.write_bytes(f"an engine of {path}".encode())  # no other test's
    sides = {"min_size": (128, 96), "opt_size": (128, 96), "max_size": (128, 96)}
    engine = EngineEntry(
        backend="tensorrt",
        path=path.name,
        onnx_sha256=artifact.manifest.entry("model.onnx").sha256,
        version="11.4.1",
        platform="linux-x86_64",
        precision="fp16",
        attention="fused",
        compute_capabilities=(),
        device=EngineDevice(name="NVIDIA L4", compute_capability="8.9", memory=1, driver="580.1"),
        profile=ShapeProfile(min_batch=1, opt_batch=1, max_batch=2, **sides),
        hardware_compatibility="none",
        version_compatible=False,
        weight_streaming=False,
        build_seconds=1.0,
        build_peak_bytes=1,
        report=EngineReport(
            evidence="network",
            layers=1,
            matrix_layers={},
            attention_layers=0,
            attention_fused=None,
            activation_bytes=None,
        ),
    )
    files = (*artifact.manifest.files, entry_of(path))
    manifest = msgspec.structs.replace(artifact.manifest, files=files, engines=(engine,))
    (artifact.folder / "manifest.json").write_bytes(manifest.to_json())
    return open_artifact(artifact.folder)


@pytest.fixture
def pixels() -> Callable[[int], list[np.ndarray]]:
    """A function that gives so many RGB images, each of its own size."""

    def images(count: int) -> list[np.ndarray]:
        generator = np.random.default_rng(0)
        return [
            np.full((60 + 7 * i, 50 + 3 * i, 3), generator.integers(0, 256, 3), np.uint8) // 2
            + generator.integers(0, 100, (60 + 7 * i, 50 + 3 * i, 3), dtype=np.uint8)
            for i in range(count)
        ]

    return images


@pytest.fixture(scope="session")
def drawn_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of twelve drawn faces for each of the seven emotions, no person twice."""
    root = tmp_path_factory.mktemp("drawn")
    for index, face in enumerate(iterate_faces(84, seed=7, size=(64, 48))):
        folder = root / EMOTIONS[index % 7]
        folder.mkdir(exist_ok=True)
        Image.fromarray(face).save(folder / f"{index:03}.png")
    return root


def _told_apart(*, noise: float) -> MotivNet:
    """A tiny model whose random head tells drawn faces apart, and with noise a bit differently."""
    config = ModelConfig.named("tiny")
    recipe = Preprocessing.named("stretch", size=config.encoder.image_size)
    faces = np.stack([recipe(face) for face in iterate_faces(84, seed=7, size=(64, 48))])
    model, generator = build_model(config, seed=1).eval(), torch.Generator().manual_seed(3)
    weight, bias = model.decoder.group_weight, model.decoder.group_bias
    with torch.no_grad():
        weight.add_(noise * weight.std() * torch.randn(weight.shape, generator=generator))
        logits = model(torch.from_numpy(faces))
        scale = 2 / logits.std(0)
        bias.copy_((bias - logits.mean(0)) * scale)
        weight.mul_(scale[:, None, None])
    return model


def _built_from(model: MotivNet, folder: Path) -> Path:
    config = ModelConfig.named("tiny")
    recipe = Preprocessing.named("stretch", size=config.encoder.image_size)
    path = folder / "model.safetensors"
    save_model(model, path, config=config, labels=labels_for(7), preprocessing=recipe)
    build_artifact(BuildRequest(checkpoint=path, out=folder / folder.name, num_images=2))
    return folder / folder.name


@pytest.fixture(scope="session")
def student_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that is surer of some of the ``drawn_folder`` than of others; not to be changed."""
    return _built_from(_told_apart(noise=0.0), tmp_path_factory.mktemp("student"))


@pytest.fixture(scope="session")
def full_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that differs from the student on 11 of the 84 images of the ``drawn_folder``."""
    return _built_from(_told_apart(noise=0.2), tmp_path_factory.mktemp("full"))


@pytest.fixture(scope="session")
def cascade_folder(
    student_artifact: Path,
    full_artifact: Path,
    drawn_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A student that escalates to ``full_artifact`` on some images; not to be changed."""
    folder = tmp_path_factory.mktemp("cascade") / "student"
    shutil.copytree(student_artifact, folder)
    calibrate_escalation(
        folder, drawn_folder, full_artifact, max_changed=0.1, runtime="onnxruntime", threads=1
    )
    return folder


@pytest.fixture(scope="session")
def demo_artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of ``motivnet-train demo``, trained on drawn faces: for slow tests."""
    from motivnet_training.demo import train_on_drawn_faces
    from motivnet_training.recipe import change_recipe, get_recipe

    folder = tmp_path_factory.mktemp("demo")
    recipe = change_recipe(get_recipe("scratch"), epochs=10, batch_size=32, augmentations="mirror")
    train_on_drawn_faces(
        ModelConfig.named("tiny"), folder / "demo.safetensors", count=3500, recipe=recipe
    )
    build_artifact(
        BuildRequest(checkpoint=folder / "demo.safetensors", out=folder / "demo", num_images=4)
    )
    return folder / "demo"


@pytest.fixture(scope="session")
def expressions_artifact(
    tmp_path_factory: pytest.TempPathFactory, demo_artifact: Path, shared_dir: Path
) -> Path:
    """The artifact of a model of eight emotions, trained on rendered faces: for slow tests."""
    from motivnet_training.devices import Devices
    from motivnet_training.fit import fit
    from motivnet_training.fit_request import FitRequest
    from motivnet_training.recipe import change_recipe, get_recipe

    folder = tmp_path_factory.mktemp("expressions")
    tiny = ModelConfig.named("tiny")
    config = msgspec.structs.replace(
        tiny, decoder=msgspec.structs.replace(tiny.decoder, num_classes=8, num_groups=8)
    )
    preprocess = Preprocessing.named("stretch", size=config.encoder.image_size)
    model = build_model(config, seed=1)
    trained = load_checkpoint(demo_artifact.with_suffix(".safetensors"), tiny)
    model.encoder.load_state_dict(trained.model.encoder.state_dict())
    save_model(
        model,
        folder / "start.safetensors",
        config=config,
        labels=labels_for(8),
        preprocessing=preprocess,
    )
    request = FitRequest(
        config=config,
        data=shared_dir / "data" / "expressions",
        out=folder / "run",
        recipe=change_recipe(
            get_recipe("scratch"), epochs=24, batch_size=32, augmentations="mirror"
        ),
        preprocess=preprocess,
        encoder=folder / "start.safetensors",
        devices=Devices(device="cpu"),
    )
    fit(request)
    build = BuildRequest(
        checkpoint=folder / "run" / "best.safetensors", out=folder / "artifact", num_images=4
    )
    build_artifact(build)
    return folder / "artifact"
