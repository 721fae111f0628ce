"""``motivnet calibrate --escalate`` on drawn faces, and the cascade that it is for."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from motivnet.artifact import open_artifact
from motivnet.checkpoints import save_model
from motivnet.config import ModelConfig
from motivnet.errors import ArtifactError
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet_engines.calibration.calibrate import calibrate_artifact
from motivnet_engines.calibration.changed_answers import allowed_changes
from motivnet_engines.calibration.escalate import calibrate_escalation
from motivnet_engines.cli import app
from motivnet_engines.inference.cascade import Cascade
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.inference.escalation import (
    ESCALATION_FILE,
    add_escalation,
    escalation_of_artifact,
)
from motivnet_engines.serving import logs
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

RUNTIME = ("--runtime", "onnxruntime", "--threads", "1")
PERCENT = 10.0


def motivnet(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)])


def calibrate(*arguments: object) -> Result:
    return motivnet("calibrate", *arguments, *RUNTIME)


def predict(*arguments: object) -> Result:
    return motivnet("predict", "--no-detect", *arguments, *RUNTIME)


def line_of(outcome: Result) -> str:
    """The one line of a mistake of the user's."""
    assert outcome.exit_code == 1, outcome.output
    error = outcome.exception
    return str(error) if error and not isinstance(error, SystemExit) else outcome.stderr.strip()


@pytest.fixture
def student(student_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(student_artifact, tmp_path / "student"))


def test_the_figures_are_printed_and_written_into_the_student(
    student: Path, full_artifact: Path, drawn_folder: Path
) -> None:
    outcome = calibrate(
        student, drawn_folder, "--escalate", full_artifact, "--max-changed", PERCENT
    )
    assert outcome.exit_code == 0, outcome.output
    found = escalation_of_artifact(open_artifact(student))
    assert found is not None
    allowed = allowed_changes(84, max_changed=0.1)
    assert (found.images, found.changed, found.unknown) == (84, allowed, 0)
    assert 0.2 < found.student_share < 0.9
    assert found.full == open_artifact(full_artifact).manifest.model_identity()
    assert found.student == open_artifact(student).manifest.model_identity()
    shown = " ".join(outcome.stdout.split())
    assert f"answered by the student {found.by_student} ({found.student_share:.1%})" in shown
    assert f"changed answers {allowed}; at most 10.00% of all, with 95% confidence" in shown
    assert "MFLOP" in shown
    # Two models of one size: the student is no cheaper, which is said.
    assert "the cascade costs more than the full model alone" in outcome.stderr
    # The threshold is where one more answer would be one change too many.
    with (
        EmotionClassifier.open(student, runtime="onnxruntime", threads=1) as own,
        EmotionClassifier.open(full_artifact, runtime="onnxruntime", threads=1) as other,
    ):
        paths = sorted(drawn_folder.rglob("*.png"))
        pairs = list(zip(own.predict(paths), other.predict(paths), strict=True))
    surer = [(one, two) for one, two in pairs if one.confidence >= found.threshold]
    next_one = max(
        (pair for pair in pairs if pair not in surer), key=lambda pair: pair[0].confidence
    )
    assert len(surer) == found.by_student
    assert sum(one.label != two.label for one, two in surer) == allowed
    assert next_one[0].label != next_one[1].label


def test_json_and_inspect_have_what_is_in_the_file(
    student: Path, full_artifact: Path, drawn_folder: Path
) -> None:
    outcome = calibrate(
        *(student, drawn_folder, "--escalate", full_artifact),
        *("--max-changed", PERCENT, "--json"),
    )
    printed = json.loads(outcome.stdout)
    found = escalation_of_artifact(open_artifact(student))
    assert printed == json.loads(msgspec.json.encode(found))
    assert json.loads(motivnet("inspect", student, "--json").stdout)["escalation"] == printed
    assert "at most 10.00% of the answers change" in motivnet("inspect", student).stdout
    assert found is not None
    again = calibrate_escalation(
        student, drawn_folder, full_artifact, max_changed=0.05, runtime="onnxruntime", threads=1
    )[0]
    assert again.threshold >= found.threshold
    listed = [entry.path for entry in open_artifact(student).manifest.files]
    assert listed.count(ESCALATION_FILE) == 1


def test_images_need_no_labels_and_copies_do_not_count(
    student: Path, full_artifact: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    plain = tmp_path / "plain"
    plain.mkdir()
    for path in drawn_folder.rglob("*.png"):
        shutil.copy(path, plain / path.name)
    first = calibrate(student, plain, "--escalate", full_artifact, "--max-changed", PERCENT)
    measured = escalation_of_artifact(open_artifact(student))
    assert measured is not None
    for number, path in enumerate(sorted(plain.iterdir())[:20]):
        shutil.copy(path, plain / f"copy{number}.png")
    again = calibrate(student, plain, "--escalate", full_artifact, "--max-changed", PERCENT)
    assert "20 images left out: copies of others tell nothing new" in again.stderr
    assert "left out" not in first.stderr
    repeated = escalation_of_artifact(open_artifact(student))
    assert repeated is not None
    assert (repeated.images, repeated.threshold) == (84, measured.threshold)


def test_every_result_says_who_answered(
    cascade_folder: Path, full_artifact: Path, drawn_folder: Path
) -> None:
    escalation = escalation_of_artifact(open_artifact(cascade_folder))
    assert escalation is not None
    options = (drawn_folder, "--artifact", cascade_folder, "--escalate", full_artifact)
    outcome = predict(*options, "--format", "jsonl")
    assert outcome.exit_code == 0, outcome.output
    faces = [json.loads(line)["faces"][0] for line in outcome.stdout.splitlines()]
    by_student = [face["answered_by"] == "student" for face in faces]
    assert sum(by_student) == escalation.by_student
    rest = 84 - escalation.by_student
    assert outcome.stderr.splitlines()[-1] == (
        f"84 faces: {escalation.by_student} by the student, {rest} by the full model; "
        f"{1 + rest / 84:.0%} of the full model's cost (FLOP)"
    )
    alone = predict(drawn_folder, "--artifact", full_artifact, "--format", "jsonl")
    others = [json.loads(line)["faces"][0] for line in alone.stdout.splitlines()]
    assert {face["answered_by"] for face in others} == {None}
    changed = sum(
        face["label"] != other["label"] for face, other in zip(faces, others, strict=True)
    )
    assert changed == escalation.changed
    rows = list(csv.DictReader(predict(*options, "--format", "csv").stdout.splitlines()))
    assert [row["answered_by"] == "student" for row in rows] == by_student
    table = predict(*options).stdout
    assert "answered by" in table.splitlines()[0]
    assert "answered by" not in predict(drawn_folder, "--artifact", full_artifact).stdout


def test_what_the_student_takes_for_unknown_is_asked_of_the_full_model(
    student: Path, full_artifact: Path, drawn_folder: Path, tmp_path: Path, noise_and_textures
) -> None:
    calibrate_artifact(student, drawn_folder, runtime="onnxruntime", threads=1)
    mixed = Path(shutil.copytree(drawn_folder, tmp_path / "mixed"))
    for number, pixels in enumerate(noise_and_textures[0][:40]):
        Image.fromarray(pixels).save(mixed / f"{number}.png")
    found, _ = calibrate_escalation(
        student, mixed, full_artifact, max_changed=0.5, runtime="onnxruntime", threads=1
    )
    assert found.calibration is not None
    assert found.unknown > 0
    with Cascade.open(student, full_artifact, runtime="onnxruntime", threads=1) as cascade:
        paths = sorted(mixed.rglob("*.png"))
        own = cascade.student.predict(paths)
        faces = [one.faces[0] for one in cascade.outcomes(paths)]
    unknown = [face.answered_by for face, mine in zip(faces, own, strict=True) if not mine.known]
    assert set(unknown) == {"full"}
    assert len(unknown) >= found.unknown
    assert sum(face.answered_by == "student" for face in faces) == found.by_student


def test_another_calibration_takes_the_escalation_along_and_says_so(
    student: Path, full_artifact: Path, drawn_folder: Path
) -> None:
    older, _ = calibrate_escalation(
        student, drawn_folder, full_artifact, max_changed=0.1, runtime="onnxruntime", threads=1
    )
    outcome = calibrate(student, drawn_folder)
    assert (
        "the escalation was fitted with the older confidences and went with them; make it again "
        f"with: motivnet calibrate --escalate FULL {student} FOLDER" in outcome.stderr
    )
    artifact = open_artifact(student)
    assert artifact.manifest.escalation is None
    assert artifact.manifest.calibration is not None
    assert not (student / ESCALATION_FILE).exists()
    with pytest.raises(ArtifactError, match="calibration is another than its escalation"):
        add_escalation(artifact, older)
    artifact.verify_files()


def test_a_rebuild_says_that_the_escalation_is_gone(cascade_folder: Path, tmp_path: Path) -> None:
    folder, said = Path(shutil.copytree(cascade_folder, tmp_path / "demo")), list[str]()
    config = ModelConfig.named("tiny")
    recipe = Preprocessing.named("stretch", size=config.encoder.image_size)
    path = tmp_path / "other.safetensors"
    model = build_model(config, seed=5)
    save_model(model, path, config=config, labels=labels_for(7), preprocessing=recipe)
    build_artifact(BuildRequest(checkpoint=path, out=folder, num_images=2), on_message=said.append)
    assert said == [
        "the escalation of the older artifact went with it; "
        f"make it again with: motivnet calibrate --escalate FULL {folder}"
    ]
    assert not (folder / ESCALATION_FILE).exists()


def test_a_dataset_too_small_for_the_bound_is_said_before_anything_is_opened(
    student: Path, full_artifact: Path, drawn_folder: Path
) -> None:
    before = open_artifact(student).manifest
    outcome = motivnet(
        *("calibrate", student, drawn_folder, "--escalate", full_artifact),
        *("--runtime", "of no such name"),
    )
    assert line_of(outcome) == (
        "84 images cannot show that at most 2.00% of the answers change: with 95% confidence that "
        "takes 149 images or more; give more, or raise --max-changed"
    )
    assert open_artifact(student).manifest == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--escalate", "{student}"), "is the same model as"),
        (("--escalate", "{other}"), "has the classes"),
        (("--escalate", "{student}x"), "does not exist|is not an artifact|no artifact"),
        (("--max-changed", "2"), "--max-changed is for --escalate alone; leave it out"),
        (("--escalate", "{full}", "--max-changed", "0"), "above 0 and below 100, not 0.0"),
        (("--escalate", "{full}", "--max-changed", "nan"), "above 0 and below 100, not nan"),
        (("--escalate", "{full}", "--val", "{faces}"), "--escalate takes no --val"),
    ],
)
def test_what_does_not_go_together_is_one_line(
    words: tuple[str, ...],
    message: str,
    student: Path,
    full_artifact: Path,
    drawn_folder: Path,
    tmp_path: Path,
    file_entry,
) -> None:
    other = Path(shutil.copytree(full_artifact, tmp_path / "other"))
    manifest = open_artifact(other).manifest
    turned = msgspec.structs.replace(manifest, labels=manifest.labels[::-1])
    (other / "manifest.json").write_bytes(turned.to_json())
    names = {"student": student, "full": full_artifact, "other": other, "faces": drawn_folder}
    outcome = calibrate(student, drawn_folder, *(word.format(**names) for word in words))
    line = line_of(outcome)
    assert "\n" not in line

    assert re.search(message, line), line


@pytest.mark.parametrize("command", ["predict", "serve"])
@pytest.mark.parametrize(
    ("change", "words", "message"),
    [
        ("plain", (), "has no threshold below which to escalate; make one with: motivnet calib"),
        ("plain", ("--escalate", "{student}"), "is the same model as"),
        ("fitted", ("--escalate", "{third}"), "is not the model that .* escalates to, which was"),
        ("fitted", ("--escalate", "{full}", "--unknown"), "student: the artifact has no calibra"),
        ("damaged", (), "escalation.json"),
    ],
)
def test_a_cascade_that_cannot_be_opened_is_one_line(
    command: str,
    change: str,
    words: tuple[str, ...],
    message: str,
    student_artifact: Path,
    cascade_folder: Path,
    full_artifact: Path,
    fp32_artifact: Path,
    drawn_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logs, "configure_logging", lambda _: None)  # it is for a process of its own
    source = student_artifact if change == "plain" else cascade_folder
    student = Path(shutil.copytree(source, tmp_path / "student"))
    if change == "damaged":
        path = student / ESCALATION_FILE
        path.write_bytes(path.read_bytes().replace(b'"threshold": 0', b'"threshold": 1'))
    names = {"student": student, "full": full_artifact, "third": fp32_artifact}
    given = [word.format(**names) for word in words or ("--escalate", "{full}")]
    sources = (next(drawn_folder.rglob("*.png")),) if command == "predict" else ("--port", "0")
    outcome = motivnet(command, *sources, "--artifact", student, *given, "--no-detect")

    assert re.search(message, line_of(outcome)), outcome.output


def test_options_that_a_cascade_has_no_use_for_are_one_line(
    cascade_folder: Path, full_artifact: Path, drawn_folder: Path, tmp_path: Path
) -> None:
    both = ("--artifact", cascade_folder, "--escalate", full_artifact)
    classes = predict(drawn_folder, *both, "--adapted-classes", tmp_path / "classes.npz")
    assert "--escalate does not go with --adapted-classes" in line_of(classes)
    triton = motivnet("serve", *both, "--export-triton", tmp_path / "models")
    assert line_of(triton) == "--escalate is not for --export-triton; leave it out"
