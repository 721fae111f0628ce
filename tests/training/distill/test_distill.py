"""A student learns what its teacher answers, and says how close to it it is."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from motivnet.artifact import open_artifact
from motivnet.artifact.fidelity import (
    Fidelity,
    Teacher,
    describe_fidelity,
    fidelity_from_metadata,
)
from motivnet.checkpoints import load_checkpoint, load_model, save_model
from motivnet.config import ModelConfig
from motivnet.datasets.sample import Sample
from motivnet.errors import ArtifactError, CheckpointError, ConfigError, DatasetError, TrainingError
from motivnet.files import sha256_of
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_engines.diagnostics import tables as engines
from motivnet_engines.diagnostics.inspect import inspect_artifact
from motivnet_export import tables as exporter
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest
from motivnet_export.source import model_source
from motivnet_training.answers import view
from motivnet_training.cli import main
from motivnet_training.data import Batch
from motivnet_training.devices import Devices
from motivnet_training.distill import DistillRequest, DistillSummary, distill
from motivnet_training.distill.fidelity import (
    Outputs,
    Pair,
    measure_fidelity,
    outputs_of_model,
    shuffled,
)
from motivnet_training.distill.images import read_images
from motivnet_training.distill.request import distillation_recipe
from motivnet_training.feature_cache import Views
from motivnet_training.feature_cache.shard import open_rows, read_description
from motivnet_training.loop import Trainer
from motivnet_training.model import fresh_model
from motivnet_training.student import EMBEDDING_WEIGHT, LABEL_WEIGHT, DistillationLoss

LABELS = EMOTIONS[:7]
TEACHER = ModelConfig.named("tiny", image_size=(64, 48))
STUDENT = ModelConfig.named("tiny", image_size=(32, 32))
PREPROCESSING = Preprocessing.named("square-white-pad", size=(64, 48))


def write_faces(root: Path, *, of_each: int, seed: int, emotions: tuple[str, ...]) -> None:
    for emotion in emotions:
        (root / emotion).mkdir(parents=True)
        for number in range(of_each):
            face = draw_face(emotion, seed=seed + number, size=(60, 50))
            cv2.imwrite(
                str(root / emotion / f"{number}.png"), np.ascontiguousarray(face[:, :, ::-1])
            )


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights, with logits that differ from face to face: what a student learns is theirs.

    The faces differ little to random weights, hence the mean is taken off and the rest enlarged.
    """
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    model = fresh_model(TEACHER, seed=5)
    faces = [draw_face(label, seed=seed, size=(60, 50)) for seed in range(4) for label in LABELS]
    with torch.inference_mode():
        logits = model(torch.stack([torch.from_numpy(PREPROCESSING(face)) for face in faces]))
        scale = 3 / logits.std(dim=0).mean()
        model.decoder.group_weight.mul_(scale)
        model.decoder.group_bias.copy_((model.decoder.group_bias - logits.mean(dim=0)) * scale)
    save_model(
        model,
        path,
        config=TEACHER,
        labels=LABELS,
        preprocessing=PREPROCESSING,
    )
    return path


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """7 classes that the teacher has and one that it has not, and a face without a class."""
    root = tmp_path_factory.mktemp("faces")
    write_faces(root / "train", of_each=6, seed=0, emotions=EMOTIONS)
    write_faces(root / "val", of_each=6, seed=100, emotions=LABELS)
    write_faces(root / "val", of_each=12, seed=200, emotions=EMOTIONS[7:])
    shutil.copy(root / "train" / "fear" / "0.png", root / "train" / "somebody.png")
    shutil.copy(root / "train" / "fear" / "1.png", root / "train" / "nobody.jpg")
    return root


def request(teacher: Path, data: Path, out: Path, **values: object) -> DistillRequest:
    usual = {
        "config": STUDENT,
        "recipe": distillation_recipe(epochs=4, batch_size=8),
        "views": 3,
        "devices": Devices(device="cpu"),
    }
    return DistillRequest(teacher=teacher, data=data, out=out, **(usual | values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def taught(
    teacher: Path, faces: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, DistillSummary, list[str]]:
    out = tmp_path_factory.mktemp("runs") / "student"
    said: list[str] = []
    return out, distill(request(teacher, faces, out), on_message=said.append), said


def test_a_student_gets_closer_to_its_teacher(
    taught: tuple[Path, DistillSummary, list[str]],
) -> None:
    _, summary, said = taught
    losses = [epoch.val_loss for epoch in summary.history]
    assert min(losses[1:]) < 0.8 * losses[0]
    assert "agreement with the teacher" in said[-1]


def test_every_image_of_the_folder_is_learnt_from_and_said(
    taught: tuple[Path, DistillSummary, list[str]],
) -> None:
    _, summary, said = taught
    # The two without a class are copies of images in the same split, which is no leak.
    assert summary.images == {**dict.fromkeys(EMOTIONS, 6), "no label": 2}
    assert said[0] == (
        "learns from 42 labelled images, 6 of classes that the model does not have (contempt) and "
        "2 without a label; is measured on 42 validation images, and 12 of other classes"
    )


def test_the_student_is_an_ordinary_checkpoint_that_says_who_taught_it(
    taught: tuple[Path, DistillSummary, list[str]], teacher: Path
) -> None:
    out, summary, _ = taught
    found = load_checkpoint(out / "student.safetensors")
    assert (found.config, found.labels) == (STUDENT, LABELS)
    assert found.preprocessing == Preprocessing.named("square-white-pad", size=(32, 32))
    assert fidelity_from_metadata(found.metadata) == summary.fidelity
    assert summary.fidelity.teacher.sha256 == sha256_of(teacher)
    assert "CC BY-NC 4.0" in summary.fidelity.teacher.licence
    assert model_source(
        out / "student.safetensors", model=None, preprocess=None
    ).entry().fidelity == (summary.fidelity)


def test_the_report_is_what_the_two_models_answer(
    taught: tuple[Path, DistillSummary, list[str]], teacher: Path, faces: Path
) -> None:
    """Computed from the files again, image by image."""
    out, summary, _ = taught
    models = [(load_model(teacher), PREPROCESSING)]
    best = load_checkpoint(out / "student.safetensors")
    assert best.preprocessing is not None
    models.append((best.model, best.preprocessing))
    images = [
        Sample(name=str(path), image=path, label=LABELS.index(path.parent.name)).pixels()
        for label in LABELS
        for path in sorted((faces / "val" / label).iterdir())
    ]
    with torch.inference_mode():
        probabilities = [
            torch.stack([model(torch.from_numpy(size(image))[None])[0] for image in images])
            .double()
            .softmax(dim=1)
            for model, size in models
        ]
    answers = [each.argmax(dim=1) for each in probabilities]
    wanted = probabilities[0]
    kl = (wanted * (wanted.log() - probabilities[1].log())).sum(dim=1).mean()
    report = summary.fidelity
    assert report.images == len(images)
    assert report.agreement == pytest.approx(float((answers[0] == answers[1]).double().mean()))
    assert report.kl == pytest.approx(float(kl), rel=0.02)  # the teacher's answers are in FP16
    assert sum(entry.images for entry in report.by_class.values()) == len(images)
    assert [(each.unknown, each.images) for each in report.distances] == [
        ("images of contempt", 12),
        ("measured images with shuffled tiles", 42),
    ]
    assert report.calibrated_on == "labels"


def test_what_is_cached_is_what_the_teacher_answers_to_each_view(
    taught: tuple[Path, DistillSummary, list[str]], teacher: Path, faces: Path
) -> None:
    shard, *_ = sorted((taught[0] / "answers").glob("*/00001.safetensors"))
    shards = sorted((taught[0] / "answers").glob("*/00001.safetensors"))
    shard = next(each for each in shards if read_description(each).key.shape[0] == 3)
    description = read_description(shard)
    digests = {sha256_of(path): path for path in faces.rglob("*.png")}
    model = load_model(teacher)
    for row in (0, 7):
        digest = description.images[row]
        pixels = Sample(name="", image=digests[digest], label=0).pixels()
        views = Views(count=3, seed=0, augmentations="strong")
        shown = [view(pixels, number, digest=digest, views=views) for number in range(3)]
        assert np.array_equal(shown[0], pixels)
        assert not np.array_equal(shown[1], shown[2])
        with torch.inference_mode():
            inputs = torch.stack([torch.from_numpy(PREPROCESSING(each)) for each in shown])
            expected = torch.cat(model.logits_and_embedding(inputs), dim=1).numpy()
        assert np.allclose(open_rows(shard)(row), expected, atol=5e-3)


def test_student_and_teacher_see_the_same_view(
    teacher: Path, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The student gets inputs of the teacher's size here, so that the teacher can be asked."""
    model, batches = load_model(teacher), []
    call = DistillationLoss.__call__

    def compare(self: DistillationLoss, outputs: Any, batch: Batch) -> torch.Tensor:
        with torch.inference_mode():
            expected = torch.cat(model.logits_and_embedding(batch.inputs), dim=1)
        assert batch.answers is not None
        assert torch.allclose(batch.answers, expected, atol=5e-3)
        batches.append(batch.indices)
        return call(self, outputs, batch)

    monkeypatch.setattr(DistillationLoss, "__call__", compare)
    recipe = distillation_recipe(epochs=3, batch_size=16)
    distill(request(teacher, faces, tmp_path / "run", config=TEACHER, recipe=recipe))
    assert sum(map(len, batches)) == 3 * 50


def test_the_loss_is_zero_where_nothing_is_left_to_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    answers = torch.randn(3, 12, generator=generator)
    mean = torch.randn(5, generator=generator)
    loss = DistillationLoss(classes=7, temperature=2.0, embedding_mean=mean)
    targets = torch.zeros(3, 7)  # no image has a label
    batch = Batch(inputs=torch.empty(0), targets=targets, indices=torch.arange(3), answers=answers)
    logits, embedding = answers[:, :7], answers[:, 7:] - mean
    assert torch.allclose(loss((logits + 1, 3 * embedding), batch), torch.zeros(3), atol=1e-6)
    turned = loss((logits, -embedding), batch)
    assert torch.allclose(turned, torch.full((3,), 2 * EMBEDDING_WEIGHT), atol=1e-6)
    other = logits.roll(1, dims=1)
    soft, own = (logits / 2).softmax(dim=1), (other / 2).log_softmax(dim=1)
    divergence = (soft * (soft.log() - own)).sum(dim=1)
    assert torch.allclose(loss((other, embedding), batch), 4 * divergence, atol=1e-5)
    labelled = batch._replace(targets=torch.eye(7)[:3])
    expected = -LABEL_WEIGHT * logits.log_softmax(dim=1).diagonal()[:3]
    assert torch.allclose(loss((logits, embedding), labelled), expected, atol=1e-5)


def test_a_teacher_is_its_own_best_student(teacher: Path, faces: Path) -> None:
    images = read_images(faces, labels=LABELS, seed=0, share=0.1)

    def ask(samples: Sequence[Sample]) -> Outputs:
        return outputs_of_model(
            load_model(teacher), samples, preprocess=PREPROCESSING, batch_size=16, device="cpu"
        )

    report = measure_fidelity(
        Pair(teacher=ask, student=ask),
        Teacher(checkpoint="a", sha256="0" * 64, flop=1, licence="none"),
        training=images.training,
        measured=images.measured,
        unknown=images.unknown,
        labels=LABELS,
        unknown_names=["contempt"],
        measured_on="validation",
        image_size=(64, 48),
        temperature=1.0,
    )
    assert (report.agreement, report.kl) == (1.0, 0.0)
    assert [each.auroc for each in report.distances] == [
        each.teacher_auroc for each in report.distances
    ]
    assert report.accuracy == report.teacher_accuracy


def test_the_artifact_of_a_student_has_the_report_and_both_inspections_show_it(
    taught: tuple[Path, DistillSummary, list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out, summary, _ = taught
    built = build_artifact(
        BuildRequest(checkpoint=out / "student.safetensors", out=tmp_path / "artifact")
    )
    assert open_artifact(built.folder).manifest.source.fidelity == summary.fidelity
    for show in (
        lambda: exporter.print_inspection(built),
        lambda: engines.print_inspection(inspect_artifact(built.folder)),
    ):
        show()
        said = " ".join(capsys.readouterr().out.split())
        assert f"taught by teacher.safetensors, SHA-256 {summary.fidelity.teacher.sha256}" in said
        assert f"agrees with its teacher on {summary.fidelity.agreement:.1%} of 42" in said
        assert "AUROC" in said
    elsewhere = describe_fidelity(summary.fidelity, STUDENT.at((48, 32)))
    assert "measured at 32x32" in elsewhere["fidelity"]


def test_another_student_shares_the_answers(
    taught: tuple[Path, DistillSummary, list[str]],
    teacher: Path,
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("the teacher was asked again")

    monkeypatch.setattr("motivnet_training.answers._Answering._answer", refuse)
    answers = taught[0] / "answers"
    recipe = distillation_recipe(epochs=1, batch_size=8)
    given = request(
        teacher, faces, tmp_path / "other", config=TEACHER, recipe=recipe, answers=answers
    )
    summary = distill(given)
    assert summary.student_flop == summary.teacher_flop
    assert not (tmp_path / "other" / "answers").exists()


def test_a_damaged_cache_is_one_line(
    taught: tuple[Path, DistillSummary, list[str]], teacher: Path, faces: Path, tmp_path: Path
) -> None:
    answers = shutil.copytree(taught[0] / "answers", tmp_path / "answers")
    for shard in answers.glob("*/*.safetensors"):
        data = bytearray(shard.read_bytes())
        data[-100] ^= 1
        shard.write_bytes(data)
    with pytest.raises(CheckpointError, match="truncated or damaged; delete it and run again"):
        distill(request(teacher, faces, tmp_path / "run", answers=answers))


def test_images_without_labels_are_enough(teacher: Path, faces: Path, tmp_path: Path) -> None:
    data = tmp_path / "photos"
    data.mkdir()
    for number, path in enumerate(sorted(faces.rglob("*.png"))):
        shutil.copy(path, data / f"{number}.png")
    said: list[str] = []
    recipe = distillation_recipe(epochs=1, batch_size=8, validation_share=0.2)
    summary = distill(
        request(teacher, data, tmp_path / "run", recipe=recipe), on_message=said.append
    )
    assert summary.format == "folder of images"
    assert set(summary.images) == {"no label"}
    assert summary.fidelity.accuracy is None
    assert summary.fidelity.calibrated_on == "the teacher's answers"
    assert [each.unknown for each in summary.fidelity.distances] == [
        "measured images with shuffled tiles"
    ]
    assert summary.fidelity.temperature == 2.0
    assert "0 labelled validation images are too few to calibrate the teacher" in said[1]


@pytest.mark.parametrize("steps", [3, 13])
def test_an_interrupted_and_resumed_student_comes_to_the_same_bits(
    steps: int,
    taught: tuple[Path, DistillSummary, list[str]],
    teacher: Path,
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole, out = taught[0], tmp_path / "run"
    step = Trainer.step

    def fail(self: Trainer, *values: object, **named: object) -> None:
        if self.progress.steps == steps:
            raise TrainingError("no more")
        step(self, *values, **named)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", fail)
        with pytest.raises(TrainingError, match="no more"):
            distill(request(teacher, faces, out, checkpoint_seconds=0.0, answers=whole / "answers"))
    resumed = request(teacher, faces, out, resume=True, answers=whole / "answers")
    said: list[str] = []
    distill(resumed, on_message=said.append)
    assert any(line.startswith("resumes after epoch") for line in said)
    for name in ("student.safetensors", "best.safetensors", "last.safetensors", "metrics.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


def test_a_run_of_another_teacher_is_not_resumed(
    taught: tuple[Path, DistillSummary, list[str]], faces: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(taught[0], tmp_path / "run")
    other = tmp_path / "other.safetensors"
    save_model(
        fresh_model(TEACHER, seed=6),
        other,
        config=TEACHER,
        labels=LABELS,
        preprocessing=PREPROCESSING,
    )
    with pytest.raises(TrainingError, match="with other values of: teacher"):
        distill(request(other, faces, out, resume=True))


def test_a_student_of_other_classes_is_refused(teacher: Path, faces: Path, tmp_path: Path) -> None:
    eight = ModelConfig.named("tiny", 8, image_size=(32, 32))
    with pytest.raises(ConfigError, match=r"the student has 8 classes and its teacher 7 \(neutral"):
        distill(request(teacher, faces, tmp_path / "run", config=eight))
    assert not (tmp_path / "run").exists()


def test_too_few_images_are_refused(teacher: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "few", of_each=2, seed=0, emotions=LABELS)
    enough = "needs at least 20 and 10"
    with pytest.raises(DatasetError, match=f"7 images to learn from and 7 to.*{enough}"):
        distill(request(teacher, tmp_path / "few", tmp_path / "run"))


def test_a_student_as_large_as_its_teacher_is_warned_of(
    teacher: Path, faces: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    large = ModelConfig.named("tiny", image_size=(128, 96))
    recipe = distillation_recipe(epochs=1, batch_size=32)
    distill(request(teacher, faces, tmp_path / "run", config=large, recipe=recipe, views=1))
    assert "the student needs 56 million FLOP per image and its teacher 14" in caplog.text


def test_a_view_does_not_depend_on_the_other_images() -> None:
    pixels = draw_face("fear", seed=1, size=(60, 50))
    views = Views(count=4, seed=3, augmentations="strong")
    first = view(pixels, 2, digest="ab" * 32, views=views)
    assert np.array_equal(first, view(pixels, 2, digest="ab" * 32, views=views))
    assert not np.array_equal(first, view(pixels, 2, digest="cd" * 32, views=views))


def test_shuffled_tiles_keep_the_colours(faces: Path) -> None:
    sample = Sample(name="a", image=faces / "val" / "fear" / "0.png", label=0)
    before, after = sample.pixels(), shuffled(sample).pixels()
    assert after.shape == (60, 48, 3)
    assert not np.array_equal(before[:60, :48], after)
    assert np.array_equal(
        np.sort(before[:60, :48].reshape(-1, 3), axis=0), np.sort(after.reshape(-1, 3), axis=0)
    )


def test_a_dataset_keeps_its_own_test_split(teacher: Path, faces: Path, tmp_path: Path) -> None:
    shutil.copytree(faces, tmp_path / "data")
    (tmp_path / "data" / "val").rename(tmp_path / "data" / "test")
    images = read_images(tmp_path / "data", labels=LABELS, seed=0, share=0.2)
    assert images.measured_on == "test"
    assert {sample.split for sample in images.measured} == {"test"}
    assert {sample.split for sample in images.validation} == {"train"}
    assert not {each.name for each in images.validation} & {each.name for each in images.training}


def test_a_report_that_is_none_is_refused(
    taught: tuple[Path, DistillSummary, list[str]], tmp_path: Path
) -> None:
    found = load_checkpoint(taught[0] / "student.safetensors")
    text = found.metadata["fidelity"].replace('"kl":', '"kl ":')
    with pytest.raises(ArtifactError, match="the checkpoint's fidelity report is not valid"):
        fidelity_from_metadata(found.metadata | {"fidelity": text})
    assert isinstance(fidelity_from_metadata(found.metadata), Fidelity)
    assert fidelity_from_metadata({}) is None


def test_the_command_teaches_and_says_how_close_it_got(
    teacher: Path,
    faces: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = (
        f"--teacher {teacher} --data {faces} --model tiny --image-size 32x32 --epochs 1 --views 1"
    )
    arguments = ["distill", *line.split(), "--out", str(tmp_path / "run")]
    monkeypatch.setattr(sys, "argv", ["motivnet-train", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    said = capsys.readouterr().out
    assert f"taught by  {teacher.name}, SHA-256 {sha256_of(teacher)}" in said
    assert f"{tmp_path / 'run' / 'student.safetensors'}: agrees with its teacher on" in said
