"""An engine in its artifact: compiled by the real TensorRT-RTX, put in place, and described."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from motivnet.artifact import Artifact, add_reports, check_addable, open_artifact
from motivnet.artifact.engine_entry import EngineEntry
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    EngineError,
    FileError,
    RuntimeUnavailableError,
)
from motivnet.parity import Comparison, Outputs
from motivnet_engines.build import engine_artifact
from motivnet_engines.build.engine_artifact import build_engine, build_first_engine
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.cli import app
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_engines.runtimes.registry import open_backend
from motivnet_engines.runtimes.selection import default_runtime, is_default_choice
from motivnet_engines.verification import parity_run
from motivnet_engines.verification.parity_run import verify_on_device

pytest.importorskip("tensorrt_rtx")
pytestmark = pytest.mark.compile
OPTIONS = EngineOptions(backend="tensorrt-rtx", compute_capabilities=("86",))


def silent(line: str) -> None:
    raise AssertionError(f"nothing was to be announced, and this was: {line}")


@pytest.fixture
def artifact(fp16_artifact: Path, tmp_path: Path) -> Artifact:
    return open_artifact(shutil.copytree(fp16_artifact, tmp_path / "artifact"))


@pytest.fixture(scope="module")
def with_engine(fp16_artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "artifact"
    shutil.copytree(fp16_artifact, folder)
    build_engine(open_artifact(folder), OPTIONS, out=None, on_message=silent)
    return folder


@pytest.fixture
def ready_engine(with_engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine of the FP16 graph is compiled no second time, where only its place matters."""
    [engine] = open_artifact(with_engine).manifest.engines

    def compiled(onnx: Path, out: Path, **_: object) -> EngineEntry:
        shutil.copy(with_engine / engine.path, out)
        return engine

    monkeypatch.setattr(engine_artifact, "engine_from_onnx", compiled)


def test_engine_stands_beside_the_graph_that_it_was_built_from(with_engine: Path) -> None:
    artifact = open_artifact(with_engine)
    artifact.verify_files()
    [engine] = artifact.manifest.engines
    assert artifact.manifest.kind == "onnx"
    assert engine.onnx_sha256 == artifact.manifest.entry("model.onnx").sha256
    assert engine.compute_capabilities == ("86",)
    assert engine.report.matrix_layers.keys() == {"float16"}
    assert engine.report.attention_fused == engine.report.attention_layers == 6
    assert engine.comparison is None
    assert (with_engine / engine.path).read_bytes()[:4] == b"vtrt"


def test_graph_of_an_artifact_with_an_engine_still_runs(with_engine: Path) -> None:
    import numpy as np

    with open_backend("onnxruntime", open_artifact(with_engine), threads=1) as runtime:
        assert runtime.run({"image": np.zeros((1, 3, 128, 96), np.float32)})["logits"].shape == (
            1,
            7,
        )


@pytest.mark.usefixtures("ready_engine")
def test_files_are_linked_and_not_left_linked(artifact: Artifact) -> None:
    before = (artifact.folder / "model.onnx").stat().st_ino
    build_engine(artifact, OPTIONS, out=None, on_message=silent)
    after = (artifact.folder / "model.onnx").stat()
    assert after.st_ino == before
    assert after.st_nlink == 1
    assert sorted(path.name for path in artifact.folder.parent.iterdir()) == ["artifact"]


@pytest.mark.usefixtures("ready_engine")
def test_what_a_user_keeps_beside_the_graph_stays(artifact: Artifact) -> None:
    (artifact.folder / "src").mkdir()
    (artifact.folder / "src" / "app.py").write_text("work")
    build_engine(artifact, OPTIONS, out=None, on_message=silent)
    assert (artifact.folder / "src" / "app.py").read_text() == "work"
    (artifact.folder / "model.tensorrt.engine").write_text("mine")
    with pytest.raises(
        FileError, match=r"model\.tensorrt\.engine is not of the artifact and in the way"
    ):
        check_addable(artifact, "model.tensorrt.engine")


@pytest.mark.usefixtures("ready_engine")
def test_what_the_manifest_lists_since_the_artifact_was_opened_stays(artifact: Artifact) -> None:
    add_reports(artifact.folder, {"report.html": b"report"})
    verify_on_device(artifact, runtimes=["openvino"])
    after = build_engine(artifact, OPTIONS, out=None, on_message=silent).manifest
    assert [entry.path for entry in after.reports] == ["report.html"]
    assert "openvino" in {row.backend for row in after.parity.comparisons}


@pytest.mark.parametrize("manifest", ['{"name": "app"}', "not JSON"])
def test_a_folder_with_a_strangers_manifest_is_not_replaced(
    manifest: str, artifact: Artifact, tmp_path: Path
) -> None:
    (tmp_path / "web" / "src").mkdir(parents=True)
    (tmp_path / "web" / "manifest.json").write_text(manifest)
    with pytest.raises(
        FileError, match=r"web is not replaced, because its manifest\.json is no manifest"
    ):
        build_engine(artifact, OPTIONS, out=tmp_path / "web", on_message=silent)
    assert sorted(path.name for path in (tmp_path / "web").iterdir()) == ["manifest.json", "src"]


@pytest.mark.usefixtures("ready_engine")
def test_an_engine_alone_is_replaced_unless_something_was_put_beside_it(
    artifact: Artifact, tmp_path: Path
) -> None:
    for _ in range(2):
        build_engine(artifact, OPTIONS, out=tmp_path / "alone", on_message=silent)
    (tmp_path / "alone" / "notes").write_text("notes")
    with pytest.raises(FileError, match="alone holds other files too: notes; move them away"):
        build_engine(artifact, OPTIONS, out=tmp_path / "alone", on_message=silent)
    assert (tmp_path / "alone" / "notes").read_text() == "notes"


def test_engine_of_the_same_backend_is_replaced(with_engine: Path, tmp_path: Path) -> None:
    artifact = open_artifact(shutil.copytree(with_engine, tmp_path / "artifact"))
    other = replace(OPTIONS, compute_capabilities=("89",), max_batch=2)
    manifest = build_engine(artifact, other, out=None, on_message=silent).manifest
    assert [engine.compute_capabilities for engine in manifest.engines] == [("89",)]
    assert manifest.engines[0].profile.max_batch == 2
    assert [entry.path for entry in manifest.files].count("model.tensorrt-rtx.engine") == 1
    open_artifact(artifact.folder).verify_files()


@pytest.mark.usefixtures("ready_engine")
def test_engine_alone_has_what_a_device_needs_and_no_graph(
    artifact: Artifact, tmp_path: Path
) -> None:
    alone = build_engine(artifact, OPTIONS, out=tmp_path / "alone", on_message=silent)
    assert sorted(path.name for path in alone.folder.iterdir()) == [
        "manifest.json",
        "model.tensorrt-rtx.engine",
        "reference.npz",
    ]
    assert alone.manifest.kind == "engine"
    assert (alone.folder / "reference.npz").stat().st_nlink == 1
    with pytest.raises(RuntimeUnavailableError, match="needs an NVIDIA GPU"):
        default_runtime(alone)
    assert not open_artifact(artifact.folder).manifest.engines
    with pytest.raises(RuntimeUnavailableError, match="an engine alone"):
        open_backend("onnxruntime", alone)
    with pytest.raises(
        ConfigError, match="an engine alone; build from the artifact that holds the ONNX graph"
    ):
        build_engine(alone, OPTIONS, out=tmp_path / "again", on_message=silent)


def test_no_engine_is_built_where_something_else_would_be_lost(
    artifact: Artifact, with_engine: Path, tmp_path: Path
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years of work")
    with pytest.raises(FileError, match="holds files that are not an artifact"):
        build_engine(artifact, OPTIONS, out=tmp_path / "out", on_message=silent)
    before = (with_engine / "model.onnx").read_bytes()
    with pytest.raises(
        ConfigError, match="an artifact with a graph, which the engine alone would replace"
    ):
        build_engine(artifact, OPTIONS, out=with_engine, on_message=silent)
    assert (with_engine / "model.onnx").read_bytes() == before
    with pytest.raises(ConfigError, match="is the artifact itself"):
        build_engine(artifact, OPTIONS, out=artifact.folder, on_message=silent)


@pytest.mark.usefixtures("ready_engine")
def test_refused_build_leaves_the_artifact_as_it_was(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*args: object, **kwargs: object) -> None:
        raise EngineError("the engine computes in float32")

    monkeypatch.setattr(engine_artifact, "check_report", refused)
    before = {path.name: path.read_bytes() for path in artifact.folder.iterdir()}
    with pytest.raises(EngineError, match="float32"):
        build_engine(artifact, OPTIONS, out=None, on_message=silent)
    assert {path.name: path.read_bytes() for path in artifact.folder.iterdir()} == before
    assert sorted(path.name for path in artifact.folder.parent.iterdir()) == ["artifact"]


def test_changed_graph_is_refused_before_the_compiler_sees_it(artifact: Artifact) -> None:
    data = bytearray((artifact.folder / "model.onnx").read_bytes())
    data[-1] ^= 1
    (artifact.folder / "model.onnx").write_bytes(data)
    with pytest.raises(
        ArtifactError, match=r"model\.onnx is not the file that the manifest describes"
    ):
        build_engine(artifact, OPTIONS, out=None, on_message=silent)


def test_artifact_without_a_reference_is_told_so_before_it_is_compiled(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    def builder(*args: object, **kwargs: object) -> None:
        raise AssertionError("it was compiled first")

    monkeypatch.setattr(engine_artifact, "engine_from_onnx", builder)
    (artifact.folder / "manifest.json").write_bytes(
        msgspec.structs.replace(artifact.manifest, reference=None).to_json()
    )
    with pytest.raises(ArtifactError, match="no reference outputs to compare with; build it again"):
        build_engine(open_artifact(artifact.folder), OPTIONS, out=None, on_message=silent)


@pytest.mark.usefixtures("ready_engine")
def test_fallback_takes_the_first_artifact_whose_engine_holds(
    artifact: Artifact, fp32_artifact: Path, tmp_path: Path
) -> None:
    fp32 = open_artifact(shutil.copytree(fp32_artifact, tmp_path / "fp32"))
    unbuildable = Artifact(
        folder=fp32.folder, manifest=msgspec.structs.replace(fp32.manifest, attention="fused")
    )
    lines: list[str] = []
    built = build_first_engine([unbuildable, artifact], OPTIONS, out=None, on_message=lines.append)
    assert built.folder == artifact.folder
    assert [engine.precision for engine in built.manifest.engines] == ["fp16"]
    assert len(lines) == 1
    assert "fp32 is skipped" in lines[0]


def test_known_issue_is_told_before_the_build(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []

    def builder(*args: object, **kwargs: object) -> None:
        order.append("built")
        raise EngineError("enough")

    monkeypatch.setattr(engine_artifact, "engine_from_onnx", builder)
    options = replace(OPTIONS, compute_capabilities=("120",))
    with pytest.raises(EngineError, match="enough"):
        build_engine(artifact, options, out=None, on_message=order.append)
    assert "issues/4837" in order[0]
    assert order[1:] == ["built"]


@pytest.mark.usefixtures("ready_engine")
def test_engine_that_computes_something_else_is_refused_where_it_runs(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The comparison is planted: no engine runs without a GPU."""
    monkeypatch.setattr(parity_run, "compare_runtime", planted("logits differ by 0.5"))
    with pytest.raises(
        EngineError,
        match=r"too far from PyTorch: logits differ by 0\.5; TensorRT accumulates a fused",
    ):
        build_engine(artifact, OPTIONS, out=None, on_message=silent)
    assert not open_artifact(artifact.folder).manifest.engines
    monkeypatch.setattr(parity_run, "compare_runtime", planted())
    built = build_engine(artifact, OPTIONS, out=None, on_message=silent)
    assert built.manifest.engines[0].comparison == planted()("tensorrt-rtx", artifact, None, None)
    assert is_default_choice(built.manifest, "tensorrt-rtx")


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({}, ""),
        ({"optimisation_level": 3}, ""),
        ({"optimisation_level": 0}, "; --optimisation-level 0 can prevent it"),
        (
            {"hardware_compatibility": "ampere-plus", "version_compatible": True},
            "; --hardware-compatibility and --version-compatible can prevent it",
        ),
    ],
    ids=str,
)
def test_options_that_take_kernels_away_are_named_where_attentions_are_not_fused(
    changes: dict[str, Any], hint: str, with_engine: Path
) -> None:
    manifest = open_artifact(with_engine).manifest
    [engine] = manifest.engines
    report = msgspec.structs.replace(engine.report, attention_fused=4)
    said: list[str] = []
    engine_artifact._check_engine(
        msgspec.structs.replace(engine, report=report),
        manifest,
        EngineOptions(backend="tensorrt", **changes),
        on_message=said.append,
    )
    assert said == [f"only 4 of 6 attentions were fused by the compiler{hint}"]


def planted(*failures: str):
    def comparison(
        name: str, artifact: Artifact, pixels: object, reference: Outputs | None
    ) -> Comparison:
        return Comparison(
            backend=name,
            compute="float16",
            evidence="runtime",
            images=4,
            logit_cosine=1.0,
            logit_max_abs=0.0,
            probability_max_abs=0.0,
            top1_agreement=1.0,
            embedding_cosine=1.0,
            seconds_per_image=0.1,
            failures=failures,
        )

    return comparison


def test_info_says_what_the_engine_is_and_that_it_never_ran(with_engine: Path) -> None:
    text = CliRunner().invoke(app, ["inspect", str(with_engine)], catch_exceptions=False).stdout
    for part in (
        "for SM 86, fastest at batch size 1 of up to 8",
        "100% float16",
        "6 of 6 attentions fused",
        "compiled and never run",
    ):
        assert part in text
    [status] = [
        status for status in inspect_artifact(with_engine).runtimes if status.name == "tensorrt-rtx"
    ]
    assert not status.default
    assert "GPU" in (status.missing_requirement or "")


def test_command_builds_and_prints_what_came_of_it(artifact: Artifact) -> None:
    arguments = ["build-engine", str(artifact.folder), "--sm", "8.6,sm_89", "--max-batch", "2"]
    outcome = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert outcome.exit_code == 0
    engine = json.loads(outcome.stdout)["engine"]
    assert engine["compute_capabilities"] == ["86", "89"]
    assert engine["profile"]["max_batch"] == 2
    assert engine["report"]["evidence"] == "compiler"


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["--sm", "87"], ConfigError, "does not compile for SM 87"),
        (["--sm", "86,86"], ConfigError, "twice"),
        (["--sm", "ampere"], ConfigError, "not a list of compute capabilities"),
        (["--max-batch", "9"], ConfigError, "must be 1 to 8"),
        (["--opt-batch", "0"], ConfigError, "must be 1 to 8"),
        (["--opt-batch", "6", "--max-batch", "4"], ConfigError, "must be 1 to 4"),
        (["--max-image", "500x500"], ConfigError, "images of this one have one size"),
        (["--workspace", "2", "--backend", "tensorrt-rtx"], ConfigError, "for tensorrt only"),
        (["--max-image", "big"], ConfigError, "not a height and a width"),
        (["--optimisation-level", "6"], ConfigError, "0 to 5"),
        (["--timing-cache", "x", "--backend", "tensorrt-rtx"], ConfigError, "for tensorrt only"),
        (["--version-compatible", "--backend", "tensorrt-rtx"], ConfigError, "for tensorrt only"),
        (["--workspace", "nan"], ConfigError, "positive number of GiB"),
        (["--workspace", "inf"], ConfigError, "positive number of GiB"),
        (["--workspace", "-1"], ConfigError, "positive number of GiB"),
        (["--backend", "tensorrt"], RuntimeUnavailableError, "tensorrt-rtx"),
    ],
)
def test_option_that_cannot_be_used_is_one_line(
    arguments: list[str], error: type[Exception], message: str, artifact: Artifact
) -> None:
    before = sorted(path.name for path in artifact.folder.iterdir())
    with pytest.raises(error, match=message):
        CliRunner().invoke(
            app, ["build-engine", str(artifact.folder), *arguments], catch_exceptions=False
        )
    assert sorted(path.name for path in artifact.folder.iterdir()) == before
