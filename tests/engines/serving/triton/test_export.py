from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from motivnet.artifact import Artifact
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    FileError,
    MotivNetError,
    ParityError,
    RuntimeUnavailableError,
)
from motivnet_engines.serving.triton import TritonOptions, export_triton
from motivnet_engines.serving.triton.configuration import Device


def session(path: Path) -> Any:
    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def test_weights_beside_the_graph_go_where_triton_and_the_graph_look_for_them(
    copied_artifact, file_entry, fp32_artifact: Path, tmp_path: Path
) -> None:
    artifact = copied_artifact()
    path = artifact.folder / "model.onnx"
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        location="model.onnx.data",
        size_threshold=1024,
    )
    files = tuple(
        file_entry(path.with_name(name))
        for name in ("model.onnx", "model.onnx.data", "reference.npz")
    )
    artifact = dataclasses.replace(
        artifact, manifest=msgspec.structs.replace(artifact.manifest, files=files)
    )
    repository = export_triton(artifact, tmp_path / "models")
    inside = repository / "motivnet_model" / "1" / "model.onnx"
    assert sorted(file.name for file in inside.iterdir()) == ["model.onnx", "model.onnx.data"]
    image = {"image": np.random.default_rng(0).standard_normal((2, 3, 128, 96)).astype(np.float32)}
    expected = session(fp32_artifact / "model.onnx").run(None, image)
    np.testing.assert_array_equal(session(inside / "model.onnx").run(None, image)[0], expected[0])


def test_an_older_repository_is_replaced_whole(fp32_artifact: Path, tmp_path: Path) -> None:
    out = export_triton(fp32_artifact, tmp_path / "models", options=TritonOptions(name="before"))
    export_triton(fp32_artifact, out, options=TritonOptions(name="after"))
    folders = sorted(path.name for path in out.iterdir() if path.is_dir())
    assert folders == ["after", "after_model", "after_preprocess"]


def test_models_of_others_and_what_was_added_to_ours_stay(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    out = export_triton(fp32_artifact, tmp_path / "models", options=TritonOptions(name="before"))
    for name in ("resnet/config.pbtxt", "resnet/1/model.onnx", "before/2/model.onnx", "notes.txt"):
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text(name)
    for name in ("before", "after"):
        export_triton(fp32_artifact, out, options=TritonOptions(name=name))
        assert (out / name / "config.pbtxt").exists()
        for mine in (
            "resnet/config.pbtxt",
            "resnet/1/model.onnx",
            "before/2/model.onnx",
            "notes.txt",
        ):
            assert (out / mine).read_text() == mine
    assert not (out / "before" / "config.pbtxt").exists()
    assert not (out / "before_model").exists()


@pytest.mark.parametrize("name", ["mine", "mine_model", "mine_preprocess"])
def test_a_model_of_that_name_which_is_not_ours_is_not_written_over(
    name: str, fp32_artifact: Path, tmp_path: Path
) -> None:
    out = export_triton(fp32_artifact, tmp_path / "models")
    (out / name / "1").mkdir(parents=True)
    (out / name / "config.pbtxt").write_text("theirs")
    with pytest.raises(
        FileError, match=f"{name} is a model that was not exported from here; choose another"
    ):
        export_triton(fp32_artifact, out, options=TritonOptions(name="mine"))
    assert (out / name / "config.pbtxt").read_text() == "theirs"
    assert (out / "motivnet" / "config.pbtxt").exists()


@pytest.mark.parametrize("text", ["", "{}", '{"entry": "a"}', "[" * 5_000])
def test_a_mark_that_is_not_ours_is_no_leave_to_replace(
    text: str, fp32_artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "motivnet-triton.json").write_text(text)
    (tmp_path / "work").write_text("work")
    with pytest.raises(
        FileError, match=r"motivnet-triton\.json is not one that this version reads; choose another"
    ):
        export_triton(fp32_artifact, tmp_path)
    assert (tmp_path / "work").read_text() == "work"


def test_a_strangers_folder_is_left_alone(fp32_artifact: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileError, match="holds files that are not a model repository of ours"):
        export_triton(fp32_artifact, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("served", ["model.onnx", "model.tensorrt.engine"])
def test_a_changed_file_is_refused_and_nothing_is_left(
    served: str, engine_artifact: Artifact, tmp_path: Path
) -> None:
    path = engine_artifact.folder / served
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    out = tmp_path / "out" / "models"
    form = "onnx" if served == "model.onnx" else "tensorrt"
    with pytest.raises(
        ArtifactError, match=f"{served} is not the file that the manifest describes"
    ):
        export_triton(engine_artifact, out, options=TritonOptions(form=form))
    assert list(out.parent.iterdir()) == []


def test_a_file_behind_a_link_is_copied_if_it_is_the_one_of_the_manifest(
    copied_artifact, tmp_path: Path
) -> None:
    artifact, elsewhere = copied_artifact(), tmp_path / "elsewhere.onnx"
    shutil.move(artifact.folder / "model.onnx", elsewhere)
    (artifact.folder / "model.onnx").symlink_to(elsewhere)
    export_triton(artifact, tmp_path / "models")
    [copy] = (tmp_path / "models").rglob("model.onnx")
    assert not copy.is_symlink()
    assert copy.read_bytes() == elsewhere.read_bytes()
    elsewhere.write_bytes(b"x" * elsewhere.stat().st_size)
    with pytest.raises(ArtifactError, match=r"model\.onnx"):
        export_triton(artifact, tmp_path / "others")
    assert not (tmp_path / "others").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "a/b"}, "'a/b' is no name for a model"),
        ({"instances": 0}, "instances must be at least 1, not 0"),
        ({"max_batch": 0}, "max_batch must be at least 1, not 0"),
        ({"max_queue_delay_us": -1}, "max_queue_delay_us must be at least 0, not -1"),
        ({"device": "tpu"}, "there is no device 'tpu'; choose auto, gpu, cpu"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TritonOptions(**options)


def test_what_triton_cannot_serve_is_refused_with_the_reason(
    own_engine_artifact: Artifact, tmp_path: Path
) -> None:
    [engine] = own_engine_artifact.manifest.engines
    cases: list[tuple[dict[str, Any], TritonOptions, type[MotivNetError], str]] = [
        (
            {"engines": ()},
            TritonOptions(form="tensorrt"),
            RuntimeUnavailableError,
            "has no tensorrt engine",
        ),
        (
            {},
            TritonOptions(max_batch=4),
            ConfigError,
            "max_batch 4 is more than the 2 that the engine takes",
        ),
        (
            {},
            TritonOptions(form="onnx", max_batch=99),
            ConfigError,
            "more than the 8 that the graph takes",
        ),
        (
            {
                "kind": "engine",
                "model": engine.path,
                "engines": (msgspec.structs.replace(engine, backend="tensorrt-rtx"),),
            },
            TritonOptions(),
            RuntimeUnavailableError,
            "Triton has no backend|which Triton has no backend for",
        ),
        (
            {
                "engines": (
                    msgspec.structs.replace(
                        engine,
                        profile=msgspec.structs.replace(engine.profile, min_batch=2, opt_batch=2),
                    ),
                )
            },
            TritonOptions(),
            EngineError,
            "takes no batch below 2",
        ),
        (
            {"engines": (msgspec.structs.replace(engine, version_compatible=True),)},
            TritonOptions(),
            EngineError,
            "runs no version-compatible engine of ours",
        ),
    ]
    for changes, options, error, message in cases:
        artifact = dataclasses.replace(
            own_engine_artifact,
            manifest=msgspec.structs.replace(own_engine_artifact.manifest, **changes),
        )
        with pytest.raises(error, match=message):
            export_triton(artifact, tmp_path / "models", options=options)
    assert not (tmp_path / "models").exists()


def test_a_strangers_engine_is_not_exported_unless_it_is_asked_for(
    engine_artifact: Artifact, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def served(options: TritonOptions) -> str:
        repository = export_triton(engine_artifact, tmp_path / "models", options=options)
        found: str = json.loads((repository / "motivnet-triton.json").read_text())["served"]["path"]
        return found

    assert served(TritonOptions()) == "model.onnx"
    assert "name it with --triton-form tensorrt or give --trust-engines" in caplog.text
    assert served(TritonOptions(form="tensorrt")) == "model.tensorrt.engine"
    assert served(TritonOptions(trust_engines=True)) == "model.tensorrt.engine"


def test_a_strangers_engine_alone_is_refused_in_one_line(
    engine_artifact: Artifact, tmp_path: Path
) -> None:
    [engine] = engine_artifact.manifest.engines
    manifest = msgspec.structs.replace(engine_artifact.manifest, kind="engine", model=engine.path)
    alone = dataclasses.replace(engine_artifact, manifest=manifest)
    with pytest.raises(
        RuntimeUnavailableError, match="did not build it on this machine; an engine is native code"
    ):
        export_triton(alone, tmp_path / "models")


def test_the_mark_names_the_file_that_is_served(fp32_artifact: Path, tmp_path: Path) -> None:
    repository = export_triton(fp32_artifact, tmp_path / "models")
    record = json.loads((repository / "motivnet-triton.json").read_text())
    data = (repository / "motivnet_model" / "1" / "model.onnx").read_bytes()
    assert record["served"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert record["models"] == ["motivnet_preprocess", "motivnet_model", "motivnet"]


@pytest.mark.parametrize(
    ("runtime", "refused", "taken"),
    [
        ("onnxruntime-cuda", ("auto", "gpu"), "cpu"),
        ("onnxruntime", ("auto", "cpu"), "gpu"),  # where Triton finds no GPU, auto is the CPU
    ],
)
def test_a_graph_that_the_runtime_of_triton_computes_wrongly_is_refused(
    runtime: str, refused: tuple[Device, ...], taken: Device, copied_artifact, tmp_path: Path
) -> None:
    artifact = copied_artifact("fp16", failed=(runtime,))
    for device in refused:
        with pytest.raises(ParityError, match=f"{runtime} is too far from PyTorch"):
            export_triton(artifact, tmp_path / "models", options=TritonOptions(device=device))
    export_triton(artifact, tmp_path / "models", options=TritonOptions(device=taken))


def test_a_graph_that_was_compared_nowhere_like_triton_is_warned_of(
    copied_artifact, caplog, tmp_path: Path
) -> None:
    export_triton(copied_artifact(verified=("onnxruntime",)), tmp_path / "first")
    assert "onnxruntime-cuda was not compared with PyTorch" in caplog.text
    caplog.clear()
    export_triton(tmp_path / "fp32", tmp_path / "second", options=TritonOptions(device="cpu"))
    assert caplog.text == ""
