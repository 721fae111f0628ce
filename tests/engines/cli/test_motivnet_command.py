"""The ``motivnet`` command over real artifacts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

import motivnet as motivnet_package
from motivnet.errors import MotivNetError
from motivnet_engines import cli


@pytest.fixture
def motivnet(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """A function that runs the command here and returns its exit status and both streams."""

    def run(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["motivnet", *map(str, arguments)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        out, err = capfd.readouterr()
        return SimpleNamespace(status=raised.value.code or 0, out=out, err=err)

    return run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "face.png"],
            "there is no artifact in artifacts/; build one with: motivnet-export build",
        ),
        (["predict", "face.png", "--artifact", "nowhere", "--no-detect"], "nowhere does not exist"),
        (["predict", "empty", "--artifact", "nowhere"], "empty holds no image or video (JPEG, "),
        (["predict", "*.jpg", "--artifact", "nowhere"], "*.jpg fits no file"),
        (
            ["build-engine", "empty", "--out", "x", "--timing-cache", "x/t"],
            "--out x and --timing-cache x/t are in each other's way; choose other names",
        ),
        (["inspect", "empty"], "empty is not an artifact: it has no manifest.json"),
        (["predict", "no.png", "--artifact", "nowhere"], "no.png does not exist; check its name"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], message: str, motivnet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "face.png").touch()
    monkeypatch.chdir(tmp_path)
    result = motivnet(*arguments)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith(f"error: {message}")
    assert result.err.count("\n") == 1


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--runtime", "tensorflow", "no runtime is called 'tensorflow'"),
    ],
)
def test_a_wrong_option_is_one_line(
    option: str, value: object, message: str, motivnet, copied_artifact, faces: Path
) -> None:
    folder = copied_artifact(verified=("onnxruntime",)).folder
    result = motivnet("predict", faces, "--no-detect", "--artifact", folder, option, value)
    assert (result.status, result.out) == (1, "")
    assert message in result.err


def test_inspect_shows_the_artifact_and_its_runtimes(motivnet, copied_artifact) -> None:
    artifact = copied_artifact(verified=("openvino",), failed=("onnxruntime",))
    parity = artifact.manifest.parity
    result = motivnet("inspect", artifact.folder)
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert result.status == 0
    assert "precision fp32" in lines
    assert "input image, float32, stretch to 128 x 96" in lines
    assert f"parity FAILED on {parity.images} images ({parity.image_source})" in lines
    assert "openvino verified runs, the default" in lines
    assert "onnxruntime failed runs" in lines
    assert (
        "onnxruntime (float32) runtime 1.000000 0.0e+00 0.0e+00 100.0% 1.000000 "
        "logits differ by 0.5" in lines
    )


def test_inspect_gives_json(motivnet, copied_artifact) -> None:
    artifact = copied_artifact(verified=("openvino", "onnxruntime"))
    document = json.loads(motivnet("inspect", artifact.folder, "--json").out)
    assert document["manifest"]["labels"] == list(artifact.manifest.labels)
    assert [status["name"] for status in document["runtimes"] if status["default"]] == ["openvino"]


def test_doctor_shows_the_packages(motivnet) -> None:
    result = motivnet("doctor")
    assert result.status == 0
    for word in (
        "processor",
        "memory",
        "onnxruntime",
        "openvino",
        "tensorrt_rtx",
        "pip install 'motivnet[trt]'",
    ):
        assert word in result.out
    document = json.loads(motivnet("doctor", "--json").out)
    assert document["healthy"] is True


def test_a_mistake_of_ours_is_not_dressed_up_as_the_users(
    motivnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not issubclass(KeyError, MotivNetError)
    monkeypatch.setattr("motivnet_engines.diagnostics.doctor.diagnose", lambda: {}["nothing"])
    with pytest.raises(KeyError):
        motivnet("doctor")


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, time; started = time.perf_counter()\n"
        "from motivnet_engines import cli\n"
        f"sys.argv = ['motivnet', *{arguments!r}]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'cv2', 'PIL', 'onnxruntime', 'openvino', 'torch', 'onnx'}\n"
        "heavy &= set(sys.modules)\n"
        "print(f'{time.perf_counter() - started:.2f} s', sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.endswith(" s []\n"), done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("arguments", "work", "consequence"),
    [
        (
            ["calibrate", "artifact", "faces"],
            "calibration.calibrate.calibrate_artifact",
            "the artifact is as it was",
        ),
        (["adapt", "artifact", "faces"], "adaptation.adapt.adapt_artifact", "nothing was written"),
        (
            ["build-engine", "artifact", "--backend", "tensorrt-rtx"],
            "build.engine_artifact.build_first_engine",
            "the artifact is as it was, and no engine was written",
        ),
        (
            ["verify", "artifact"],
            "verification.parity_run.verify_on_device",
            "nothing was recorded",
        ),
    ],
)
def test_ctrl_c_says_in_a_line_what_it_left(
    arguments: list[str],
    work: str,
    consequence: str,
    motivnet,
    copied_artifact,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = copied_artifact("fp16").folder
    (tmp_path / "faces").mkdir()

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(f"motivnet_engines.{work}", interrupted)
    given = [folder if word == "artifact" else word for word in arguments]
    result = motivnet(*given)
    assert (result.status, result.out) == (130, "")
    assert result.err.endswith(f"error: stopped by Ctrl-C; {consequence}\n")


def test_verify_warns_of_weights_that_never_learnt(
    motivnet, copied_artifact, caplog: pytest.LogCaptureFixture
) -> None:
    source = msgspec.structs.replace(copied_artifact().manifest.source, fresh_head=True)
    folder = copied_artifact("fp16", source=source).folder
    assert motivnet("verify", folder, "--runtime", "onnxruntime").status == 0
    assert f"{folder} has an untrained head: its results mean nothing" in caplog.messages


def test_the_package_runs_as_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "motivnet_engines", "--version"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert ran.stdout == f"{motivnet_package.__version__}\n"
