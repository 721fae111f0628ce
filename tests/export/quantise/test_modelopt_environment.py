"""ModelOpt that is missing, cannot be installed, or dies: one line, and nothing left behind."""

from __future__ import annotations

import os
import re
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from motivnet.errors import ExportError
from motivnet_export.quantise import modelopt_environment
from motivnet_export.quantise.quantise import encoder_products, quantise_onnx

ENCODER = """
<ir_version: 8, opset_import: ["": 20]>
encoder (float[2, 2] image) => (float[2, 2] embedding)
<float[2, 2] weight = {1, 2, 3, 4}> { [linear] embedding = MatMul(image, weight) }
"""


@pytest.fixture
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A graph with one linear layer."""
    path = tmp_path_factory.mktemp("base") / "base.onnx"
    onnx.save(onnx.parser.parse_model(ENCODER), path)
    return path


def unheard(line: str) -> None:
    raise AssertionError(f"nothing should be announced here: {line}")


def quantise(base: Path, target: Path, announce: Callable[[str], None] = unheard) -> None:
    images = np.zeros((1, 2, 2), np.float32)
    quantise_onnx(ir.load(base), target, precision="int8", images=images, on_message=announce)


def executable(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("kill -9 $$", "was killed, most likely for its memory"),
        ("echo something broke >&2; exit 3", "ended with 3: something broke"),
        ("exit 0", "ended with 0"),
    ],
)
def test_a_quantiser_that_dies_is_one_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    monkeypatch.setenv(modelopt_environment.VARIABLE, str(executable(tmp_path / "python", script)))
    with pytest.raises(ExportError, match=message) as caught:
        quantise(base, tmp_path / "model.onnx")
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["python"]


def test_a_python_without_modelopt_is_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(modelopt_environment.VARIABLE, sys.executable)
    with pytest.raises(
        ExportError,
        match=r"cannot import nvidia-modelopt: .*; give another MOTIVNET_MODELOPT_PYTHON",
    ):
        quantise(base, tmp_path / "model.onnx")


def test_a_python_that_does_not_exist_is_named(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(modelopt_environment.VARIABLE, str(tmp_path / "python"))
    with pytest.raises(ExportError, match="MOTIVNET_MODELOPT_PYTHON should name a Python"):
        quantise(base, tmp_path / "model.onnx")


def test_an_installation_that_fails_leaves_nothing_and_says_what_to_do(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(modelopt_environment.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    announced: list[str] = []
    with pytest.raises(
        ExportError, match=r"cannot be installed: .*nvidia-modelopt.*; try again online, or set"
    ):
        quantise(base, tmp_path / "model.onnx", announce=announced.append)
    assert "installing it (40 MB) into" in announced[0]
    assert not any((tmp_path / "cache" / "motivnet").iterdir())


def test_a_cache_that_cannot_be_written_is_one_line(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(modelopt_environment.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ExportError, match="cannot be written: Not a directory"):
        quantise(base, tmp_path / "model.onnx", announce=print)


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache of a user who names no Python, in a working directory of hostile modules."""
    monkeypatch.delenv(modelopt_environment.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    hostile = tmp_path / "hostile"
    hostile.mkdir()
    for name in ("ensurepip", "json", "pip", "sitecustomize", "subprocess", "venv"):
        (hostile / f"{name}.py").write_text(
            f"open({str(tmp_path / 'ran')!r}, 'a').write(__name__)\n"
        )
    monkeypatch.chdir(hostile)
    monkeypatch.setenv("PYTHONPATH", os.pathsep)
    return tmp_path / "cache"


def forged_wheel(folder: Path) -> None:
    """A wheel of ModelOpt's name and version, with other content."""
    folder.mkdir()
    name = f"nvidia_modelopt-{modelopt_environment.VERSION}"
    with zipfile.ZipFile(folder / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("modelopt/__init__.py", "")
        version = modelopt_environment.VERSION
        metadata = f"Metadata-Version: 2.1\nName: nvidia-modelopt\nVersion: {version}\n"
        wheel.writestr(f"{name}.dist-info/METADATA", metadata)
        wheel.writestr(
            f"{name}.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr(f"{name}.dist-info/RECORD", "")


def test_a_package_whose_hash_is_not_the_pinned_one_is_not_installed(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forged_wheel(tmp_path / "wheels")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    with pytest.raises(ExportError, match=r"cannot be installed: .*(HASH|hash)"):
        modelopt_environment.modelopt_python(lambda _: None)
    assert not any((own / "motivnet").iterdir())
    assert not (tmp_path / "ran").exists(), "a module of the working directory ran"


def test_every_requirement_is_pinned_by_version_and_hash() -> None:
    text = modelopt_environment.REQUIREMENTS.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert all(
        re.fullmatch(r"[a-z-]+==[0-9.]+( +--hash=sha256:[0-9a-f]{64})+", line) for line in lines
    )
    assert f"nvidia-modelopt=={modelopt_environment.VERSION} " in text


@pytest.mark.parametrize("opened", [".", "motivnet", "motivnet/NAME"])
def test_an_environment_that_others_could_have_made_is_not_run(
    opened: str, own: Path, tmp_path: Path
) -> None:
    folder = modelopt_environment.cache_folder()
    (folder / "bin").mkdir(parents=True)
    executable(folder / "bin" / "python", f"touch {tmp_path / 'ran'}")
    (own / opened.replace("NAME", folder.name)).chmod(0o777)
    with pytest.raises(ExportError, match="has no place to be installed in: others can write into"):
        modelopt_environment.modelopt_python(unheard)
    assert not (tmp_path / "ran").exists()


def test_without_a_home_no_environment_of_the_working_directory_is_run(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "~")
    with pytest.raises(
        ExportError, match=r"no home folder; set XDG_CACHE_HOME .*, or set MOTIVNET_MODELOPT_PYTHON"
    ):
        modelopt_environment.modelopt_python(unheard)


def test_ctrl_c_ends_the_quantiser_and_leaves_nothing(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = tmp_path / "pid"
    # The pause lets the start of the process return, which Ctrl-C must not meet.
    script = f"echo $$ > {pid}; sleep 0.3; kill -INT {os.getpid()}; exec sleep 60"
    python = executable(tmp_path / "python", script)
    monkeypatch.setenv(modelopt_environment.VARIABLE, str(python))
    with pytest.raises(KeyboardInterrupt):
        quantise(base, tmp_path / "model.onnx")
    assert not Path("/proc", pid.read_text(encoding="utf-8").strip()).exists()
    assert {path.name for path in tmp_path.iterdir()} == {"python", "pid"}


def test_layers_that_were_left_as_they_are_are_noticed(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = tmp_path / "idle.py"
    idle.write_text(
        "import json, pathlib, shutil, sys\n"
        "job = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "shutil.copy(job['source'], job['target'])\n"
        "pathlib.Path(job['answer']).write_text(json.dumps({'version': '0'}))\n",
        encoding="utf-8",
    )
    script = executable(tmp_path / "python", f'exec {sys.executable} {idle} "$3"')
    monkeypatch.setenv(modelopt_environment.VARIABLE, str(script))
    with pytest.raises(ExportError, match="quantised 0 of the encoder's 1 linear layers"):
        quantise(base, tmp_path / "model.onnx")
    assert {path.name for path in tmp_path.iterdir()} == {"python", "idle.py"}


def test_a_graph_without_an_embedding_has_no_encoder() -> None:
    model = ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 8, opset_import: ["": 20]> '
            "g (float[2, 2] x) => (float[2, 2] y) { y = MatMul(x, x) }"
        )
    )
    with pytest.raises(ExportError, match="no linear layers that can be quantised"):
        encoder_products(model)
