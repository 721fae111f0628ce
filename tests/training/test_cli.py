import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.config import ModelConfig
from motivnet.errors import FileError, TrainingError
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet_training.cli import main
from motivnet_training.demo import train_on_drawn_faces
from motivnet_training.model import fresh_model
from motivnet_training.recipe import RECIPES, change_recipe

LABELS = EMOTIONS[:7]
SMALL = ModelConfig.named("tiny", image_size=(64, 48))
DEMO = change_recipe(RECIPES["scratch"], epochs=1, batch_size=32, augmentations="mirror")


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["motivnet-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def config(here: Path) -> Path:
    path = here / "small.json"
    path.write_text(json.dumps(SMALL.to_dict()))
    return path


def test_fit_prints_its_result_as_json(face_folder: Path, here: Path, config: Path) -> None:
    arguments = [
        "fit",
        "--data",
        str(face_folder),
        "--model",
        config.name,
        "--epochs",
        "1",
        "--json",
    ]
    line = [
        sys.executable,
        "-W",
        "error",
        "-c",
        "from motivnet_training.cli import main; main()",
        *arguments,
    ]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["checkpoint"] == f"runs/{face_folder.name}/best.safetensors"
    assert result["data"]["training_images"] == 35
    assert result["recipe"] == "scratch"
    assert all("unreadable image" in line for line in done.stderr.splitlines())
    assert {path.name for path in here.iterdir()} == {"runs", "small.json"}


def test_fit_tells_people_of_each_epoch_and_where_everything_is(
    face_folder: Path,
    here: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "recipe.yaml").write_text("epochs: 2\nbatch_size: 16\n")
    options = (
        "--config",
        "recipe.yaml",
        "--out",
        "run",
        "--device",
        "cpu",
        "--export-published-layout",
    )
    assert command(monkeypatch, "fit", "--data", face_folder, "--model", config, *options) == 0
    printed = capsys.readouterr()
    assert [
        line.split(":")[0] for line in printed.err.splitlines() if line.startswith("epoch")
    ] == [
        "epoch 1/2",
        "epoch 2/2",
    ]
    assert printed.out.startswith("run/best.safetensors: validation accuracy ")
    assert "report: run/curves.png, run/confusion.png, run/summary.json" in printed.out
    assert (here / "run" / "MotivNet.pth").exists()


def test_an_encoder_means_the_papers_recipe(
    face_folder: Path,
    here: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preprocessing = Preprocessing.named("stretch", size=(64, 48))
    save_model(
        fresh_model(SMALL, seed=1),
        here / "e.safetensors",
        config=SMALL,
        labels=LABELS,
        preprocessing=preprocessing,
    )
    options = ("--encoder", "e.safetensors", "--epochs", "1", "--image-size", "32x48", "--json")
    assert command(monkeypatch, "fit", "--data", face_folder, "--model", config, *options) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["recipe"] == "paper"
    assert load_checkpoint(result["checkpoint"]).config == SMALL.at((32, 48))
    assert result["history"][0]["encoder_lr"] == 1e-8


def test_cache_then_fit_with_the_fast_recipe(
    face_folder: Path,
    here: Path,
    config: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preprocessing = Preprocessing.named("stretch", size=(64, 48))
    save_model(
        fresh_model(SMALL, seed=1),
        here / "e.safetensors",
        config=SMALL,
        labels=LABELS,
        preprocessing=preprocessing,
    )
    common = ("--data", face_folder, "--model", config, "--encoder", "e.safetensors")
    assert (
        command(monkeypatch, "cache", *common, "--out", "tokens", "--device", "cpu", "--json") == 0
    )
    cached = json.loads(capsys.readouterr().out)
    assert cached["images"] == 42
    tokens = 42 * 12 * 96 * 2  # of 4 x 3 patches, 96 numbers of 2 bytes
    assert cached["bytes"] == tokens
    fast = ("--recipe", "fast", "--tokens", "tokens", "--epochs", "1", "--device", "cpu")
    assert command(monkeypatch, "fit", *common, *fast) == 0
    assert not (here / "runs" / face_folder.name / "tokens").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "nowhere"], "error: nowhere"),
        (
            ["fit", "--data", ".", "--preprocess", "crop"],
            "error: no preprocessing is called 'crop'",
        ),
        (["fit", "--data", ".", "--model", "huge"], "error: no model is called 'huge'"),
        (
            ["fit", "--data", ".", "--lr", "2"],
            "error: the training recipe does not fit: decoder_lr",
        ),
        (
            ["fit", "--data", ".", "--recipe", "fast"],
            "error: the recipe fast is for a trained encoder",
        ),
        (["fit", "--data", ".", "--config", "none.yaml"], "error: none.yaml does not exist"),
        (["fit", "--data", ".", "--encoder", "none.pth"], "error: none.pth does not exist"),
        (
            ["fit", "--data", ".", "--ema"],
            "error: --ema is for the weights of --encoder; give that",
        ),
        (
            ["cache", "--data", ".", "--encoder", "none.pth", "--out", "t"],
            "error: none.pth does not exist",
        ),
        (
            ["demo", "--faces", "14", "--epochs", "1", "--json"],
            "error: the model reached a validation accuracy of",
        ),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_written(
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    assert command(monkeypatch, *arguments) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith(message)
    assert len(printed.err.splitlines()) == 1
    assert not printed.out
    assert not list(here.iterdir())


@pytest.mark.parametrize("option", ["--recipe", "--strategy", "--precision", "--device"])
def test_an_unknown_choice_is_a_usage_error_that_lists_the_choices(
    option: str, here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "fit", "--data", ".", option, "magic") == 2
    said = capsys.readouterr().err
    assert f"Invalid value for '{option}'" in said
    assert "'magic' is not one of" in said
    assert not list(here.iterdir())


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'torch', 'lightning_fabric', 'numpy', 'yaml', 'sklearn', 'matplotlib'}"
    code = f"import sys, motivnet_training.cli; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_demo_writes_what_it_reports(here: Path) -> None:
    out = here / "new" / "demo.safetensors"
    result = train_on_drawn_faces(SMALL, out, count=35, recipe=DEMO, seed=3, min_accuracy=0)
    checkpoint = load_checkpoint(out)
    assert (checkpoint.config, checkpoint.labels) == (SMALL, LABELS)
    assert float(checkpoint.metadata["accuracy"]) == result.validation_accuracy
    assert checkpoint.metadata["seed"] == "3"
    assert (result.training_images, result.validation_images) == (35, 7)
    assert [path.name for path in here.rglob("*")] == ["new", "demo.safetensors"]


def test_a_demo_that_has_not_learnt_is_not_written(here: Path) -> None:
    out = here / "demo.safetensors"
    out.write_bytes(b"older")
    with pytest.raises(
        TrainingError,
        match=r"accuracy of [\d.]+% and was not written: a demo below 90% is not kept; give more",
    ):
        train_on_drawn_faces(SMALL, out, count=14, recipe=DEMO)
    assert [path.name for path in here.iterdir()] == ["demo.safetensors"]
    assert out.read_bytes() == b"older"


@pytest.mark.parametrize(("words", "lines"), [((), 2), (("--json",), 0)])
def test_a_demo_says_a_line_per_epoch(
    words: tuple[str, ...],
    lines: int,
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, "demo", "--faces", "7", "--epochs", "2", *words) == 1
    said = capsys.readouterr().err
    assert (
        len(re.findall(r"^epoch [12]/2: training loss .*, accuracy", said, re.MULTILINE)) == lines
    )
    assert "give more --faces or --epochs" in said


@pytest.mark.parametrize(
    "words", [("demo", "--out", "{}.safetensors"), ("fit", "--data", ".", "--out", "{}")]
)
def test_an_output_that_the_system_refuses_cannot_be_written(
    words: tuple[str, ...],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command(monkeypatch, *(word.format("x" * 300) for word in words)) == 1
    said = capsys.readouterr().err
    assert "error: --out x" in said
    assert "cannot be written: File name too long" in said


def test_a_target_that_could_not_be_written_is_refused_before_the_demo(here: Path) -> None:
    (here / "folder.safetensors").mkdir()
    with pytest.raises(FileError, match="is a directory"):
        train_on_drawn_faces(SMALL, here / "folder.safetensors", count=10**9, recipe=DEMO)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_learns_the_emotions_of_people_it_has_not_seen(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "demo", "--json") == 0
    assert json.loads(capsys.readouterr().out)["validation_accuracy"] >= 0.9
    assert load_checkpoint(here / "checkpoints" / "demo.safetensors").labels == LABELS
