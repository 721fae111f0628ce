import json
import subprocess
import sys
from pathlib import Path

import pytest

from motivnet.checkpoints import load_checkpoint
from motivnet.config import ModelConfig
from motivnet.labels import EMOTIONS
from motivnet_training.cli import main

LABELS = EMOTIONS[:7]
SMALL = ModelConfig.named("tiny", image_size=(64, 48))


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["motivnet-train", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    return int(caught.value.code or 0)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fit_prints_its_result_as_json_and_leaves_only_the_checkpoint(face_folder: Path, here: Path) -> None:
    config = here / "small.json"
    config.write_text(json.dumps(SMALL.to_dict()))
    arguments = ["fit", "--data", str(face_folder), "--size", str(config), "--epochs", "1", "--json"]
    line = [sys.executable, "-W", "error", "-c", "from motivnet_training.cli import main; main()", *arguments]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["checkpoint"] == f"checkpoints/{face_folder.name}.safetensors"
    assert result["training_images"] == 35
    assert done.stderr.splitlines() == [f"WARNING: {face_folder}: skipped 1 x unreadable image"]
    assert {path.name for path in here.rglob("*")} == {"checkpoints", f"{face_folder.name}.safetensors", "small.json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "--data", "nowhere"], "error: nowhere is not a folder"),
        (["fit", "--data", ".", "--preprocess", "crop"], "error: no input recipe is called 'crop'"),
        (["fit", "--data", ".", "--size", "huge"], "error: no model is called 'huge'"),
        (["fit", "--data", ".", "--lr", "nan"], "error: a learning rate must be between 0 and 1"),
        (["demo", "--faces", "14", "--epochs", "1"], "error: the model reached a validation accuracy of"),
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


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, motivnet_training.cli; sys.exit(bool({'torch', 'lightning', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_demo_learns_the_emotions_of_people_it_has_not_seen(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "demo", "--json") == 0
    assert json.loads(capsys.readouterr().out)["validation_accuracy"] >= 0.9
    assert load_checkpoint(here / "checkpoints" / "demo.safetensors").labels == LABELS
