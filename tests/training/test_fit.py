import csv
import json
import os
import shutil
from importlib.metadata import version
from pathlib import Path

import cv2
import msgspec
import pytest
import torch

from motivnet.checkpoints import load_checkpoint, load_model, save_model
from motivnet.config import ModelConfig
from motivnet.errors import CheckpointError, ConfigError, DatasetError, FileError, TrainingError
from motivnet.files import sha256_of
from motivnet.labels import EMOTIONS
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_training.devices import Devices
from motivnet_training.fit import fit, starting_model
from motivnet_training.fit_request import FitRequest
from motivnet_training.model import fresh_model
from motivnet_training.recipe import RECIPES, change_recipe
from motivnet_training.summary import TrainingSummary

SMALL = ModelConfig.named("tiny", image_size=(32, 32))
PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
QUICK = change_recipe(RECIPES["scratch"], epochs=2, batch_size=16, augmentations="mirror")


def request(data: Path, out: Path, **values: object) -> FitRequest:
    usual = {
        "config": SMALL,
        "recipe": QUICK,
        "preprocess": PREPROCESSING,
        "devices": Devices(device="cpu"),
    }
    return FitRequest(data=data, out=out, **(usual | values))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoder") / "encoder.safetensors"
    save_model(
        fresh_model(SMALL, seed=9),
        path,
        config=SMALL,
        labels=EMOTIONS[:7],
        preprocessing=PREPROCESSING,
    )
    return path


@pytest.fixture(scope="module")
def trained(
    face_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, TrainingSummary]:
    out = tmp_path_factory.mktemp("runs") / "faces"
    return out, fit(request(face_folder, out, published=True))


def test_the_run_folder_holds_everything_and_nothing_else(
    trained: tuple[Path, TrainingSummary],
) -> None:
    out, result = trained
    assert {path.name for path in out.iterdir()} == {
        "best.safetensors",
        "last.safetensors",
        "last.ckpt",
        "MotivNet.pth",
        "run.json",
        "recipe.yaml",
        "metrics.csv",
        "curves.png",
        "confusion.png",
        "summary.json",
        "tensorboard",
    }
    assert result.checkpoint == str(out / "best.safetensors")


def test_the_checkpoint_says_how_it_was_made(trained: tuple[Path, TrainingSummary]) -> None:
    out, result = trained
    checkpoint = load_checkpoint(out / "best.safetensors")
    assert (checkpoint.config, checkpoint.labels, checkpoint.preprocessing) == (
        SMALL,
        EMOTIONS[:7],
        PREPROCESSING,
    )
    said = checkpoint.metadata
    assert (said["training_images"], said["validation_images"], said["seed"]) == ("35", "7", "0")
    assert json.loads(said["images_by_label"]) == dict.fromkeys(EMOTIONS[:7], 5)
    assert json.loads(said["drawn_by_label"]) == dict.fromkeys(EMOTIONS[:7], 6)
    assert (said["test_images"], said["unreadable"], said["duplicates"]) == ("0", "1", "0")
    assert json.loads(said["skipped"]) == {"unreadable image": 1}
    assert (said["encoder"], said["encoder_sha256"]) == ("random weights", "none")
    assert (said["precision"], said["strategy"], said["devices"], said["nodes"]) == (
        "32-true",
        "auto",
        "1",
        "1",
    )
    assert json.loads(said["versions"]) == {
        name: version(name) for name in ("motivnet", "torch", "lightning-fabric")
    }
    assert "decoder_lr: 0.001" in said["training_recipe"]
    assert float(said["val_loss"]) == result.validation.loss
    assert int(said["epoch"]) == result.epoch


def test_best_is_the_epoch_of_the_lowest_validation_loss_and_last_the_last(
    trained: tuple[Path, TrainingSummary],
) -> None:
    out, result = trained
    losses = [each.val_loss for each in result.history]
    assert result.history[result.epoch - 1].val_loss == min(losses) == result.validation.loss
    assert load_checkpoint(out / "last.safetensors").metadata["epoch"] == "2"


def test_the_summary_and_the_table_say_what_the_result_says(
    trained: tuple[Path, TrainingSummary],
) -> None:
    out, result = trained
    summary = json.loads((out / "summary.json").read_bytes())
    assert summary["validation"]["accuracy"] == result.validation.accuracy
    assert summary["data"]["skipped"] == {"unreadable image": 1}
    assert [each["dataset"] for each in summary["published"]] == [
        "AffectNet",
        "AffectNet",
        "FER2013",
        "CK+",
    ]
    with (out / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["val_loss"]) for row in rows] == [each.val_loss for each in result.history]


def test_the_pictures_are_pictures(trained: tuple[Path, TrainingSummary]) -> None:
    for name in ("curves.png", "confusion.png"):
        picture = cv2.imread(str(trained[0] / name))
        assert picture.shape[0] > 200
        assert picture.std() > 5


def test_the_published_layout_is_read_back_as_the_same_model(
    trained: tuple[Path, TrainingSummary],
) -> None:
    out, _ = trained
    ours = load_model(out / "best.safetensors").state_dict()
    theirs = load_checkpoint(out / "MotivNet.pth", SMALL)
    assert theirs.layout == "published"
    assert all(
        torch.equal(ours[name], tensor) for name, tensor in theirs.model.state_dict().items()
    )
    stored = torch.load(out / "MotivNet.pth", weights_only=True)
    assert "pose_encoder.projection.weight" in stored
    assert not any(name.startswith("encoder.") for name in stored)


def test_the_same_seed_gives_the_same_figures_and_another_one_does_not(
    trained: tuple[Path, TrainingSummary], face_folder: Path, tmp_path: Path
) -> None:
    _, result = trained
    torch.manual_seed(5)  # what others draw must not matter
    assert fit(request(face_folder, tmp_path / "again")).history == result.history
    assert fit(request(face_folder, tmp_path / "other", seed=1)).history != result.history


def test_resuming_a_training_that_has_ended_changes_nothing(
    trained: tuple[Path, TrainingSummary], face_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    before = (out / "best.safetensors").read_bytes()
    result = fit(request(face_folder, out, resume=True))
    assert result.history == trained[1].history
    assert (out / "best.safetensors").read_bytes() == before
    weights = [load_model(folder / "last.safetensors").state_dict() for folder in (out, trained[0])]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_training_is_not_continued_with_more_epochs(
    trained: tuple[Path, TrainingSummary], face_folder: Path
) -> None:
    with pytest.raises(
        TrainingError,
        match=r"with other values of: recipe \(compare recipe.yaml.*\); "
        "repeat its options, or give another --out",
    ):
        fit(request(face_folder, trained[0], resume=True, recipe=change_recipe(QUICK, epochs=3)))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 3}, "training images, validation images, seed"),
        ({"preprocess": "square-white-pad"}, "preprocess"),
    ],
)
def test_what_differs_from_the_training_to_resume_is_named(
    trained: tuple[Path, TrainingSummary], face_folder: Path, change: dict[str, object], named: str
) -> None:
    if "preprocess" in change:
        change = {"preprocess": Preprocessing.named("square-white-pad", size=(32, 32))}
    with pytest.raises(TrainingError, match=f"other values of: {named};"):
        fit(request(face_folder, trained[0], resume=True, **change))


@pytest.mark.parametrize("resume", [False, True])
def test_a_training_whose_state_is_gone_is_not_written_over(
    trained: tuple[Path, TrainingSummary], face_folder: Path, tmp_path: Path, resume: bool
) -> None:
    out = Path(shutil.copytree(trained[0], tmp_path / "run"))
    (out / "last.ckpt").unlink()
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(
        TrainingError, match=r"holds the weights of a training, and no last.ckpt .*; give"
    ):
        fit(request(face_folder, out, resume=resume))
    (
        out / "summary.json"
    ).unlink()  # it was interrupted, so that the same training may be continued and no other
    with pytest.raises(
        TrainingError, match="holds the weights of a training" if not resume else "other values of"
    ):
        fit(request(face_folder, out, resume=resume, recipe=change_recipe(QUICK, epochs=1)))
    assert (out / "best.safetensors").read_bytes() == before["best.safetensors"]
    assert (out / "recipe.yaml").read_bytes() == before["recipe.yaml"]


def test_a_folder_with_a_training_or_other_files_is_not_written_to(
    trained: tuple[Path, TrainingSummary], face_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(
        TrainingError,
        match="holds a training already; continue it with --resume, or give another --out",
    ):
        fit(request(face_folder, trained[0]))
    (tmp_path / "notes.txt").write_text("notes")
    with pytest.raises(FileError, match="holds files that are not a training"):
        fit(request(face_folder, tmp_path))
    with pytest.raises(FileError, match="is a file; give a folder"):
        fit(request(face_folder, tmp_path / "notes.txt"))


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_a_run_file_of_somebody_else_is_not_written_to(
    resume: bool, face_folder: Path, tmp_path: Path
) -> None:
    files = {"run.json": '{"script": "run.sh"}', "recipe.yaml": "soup", "metrics.csv": "mine"}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(
        TrainingError, match=r"run\.json is damaged, or not of a training: .*; give another --out"
    ):
        fit(request(face_folder, tmp_path, resume=resume))
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == files


def test_a_damaged_state_is_refused_and_nothing_changes(
    trained: tuple[Path, TrainingSummary], face_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    shutil.copytree(trained[0], out)
    data = bytearray((out / "last.ckpt").read_bytes())
    data[len(data) // 2] ^= 1
    (out / "last.ckpt").write_bytes(data)
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    with pytest.raises(CheckpointError, match=r"last.ckpt"):
        fit(request(face_folder, out, resume=True))
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_an_encoder_is_taken_over_and_the_head_is_not(
    face_folder: Path, tmp_path: Path, encoder: Path
) -> None:
    still = change_recipe(QUICK, encoder_lr=1e-12, decoder_lr=1e-12, weight_decay=0.0, epochs=1)
    out = tmp_path / "run"
    fit(request(face_folder, out, recipe=still, encoder=encoder))
    before, after = (load_model(path).state_dict() for path in (encoder, out / "best.safetensors"))
    same = {name for name in before if torch.allclose(before[name], after[name], atol=1e-6)}
    assert {name for name in before if name.startswith("encoder.")} <= same
    assert "decoder.queries" not in same
    said = load_checkpoint(out / "best.safetensors").metadata
    assert (said["encoder"], said["encoder_sha256"]) == ("encoder.safetensors", sha256_of(encoder))


def test_the_averaged_weights_of_an_encoder_are_taken_on_request(
    face_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain, averaged = (fresh_model(SMALL, seed=seed).state_dict() for seed in (8, 9))
    path = tmp_path / "both.pth"
    torch.save({"state_dict": plain, "state_dict_ema": averaged}, path)
    both = {"encoder": path, "recipe": QUICK}
    requests = [request(face_folder, tmp_path / "run", ema=ema, **both) for ema in (False, True)]
    for each, wanted in zip(requests, (plain, averaged), strict=True):
        started = starting_model(each).state_dict()
        assert torch.equal(started["encoder.norm.bias"], wanted["encoder.norm.bias"])
        assert torch.equal(started["encoder.pos_embed"], wanted["encoder.pos_embed"])
    said = [each.getMessage() for each in caplog.records if "EMA" in each.getMessage()]
    assert said == [f"{path} also holds EMA weights in state_dict_ema; --ema takes them"]


def test_an_encoder_of_another_width_is_refused_and_nothing_is_written(
    face_folder: Path, tmp_path: Path, encoder: Path
) -> None:
    wide = msgspec.structs.replace(
        SMALL, encoder=msgspec.structs.replace(SMALL.encoder, embed_dim=48)
    )
    with pytest.raises(
        CheckpointError, match=r"does not have the sizes asked for: .*embed_dim is 96 and not 48"
    ):
        fit(request(face_folder, tmp_path / "run", config=wide, encoder=encoder))
    assert not (tmp_path / "run" / "run.json").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"recipe": RECIPES["fast"]},
            "the recipe fast is for a trained encoder: give one with --encoder",
        ),
        ({"recipe": RECIPES["paper"]}, "the recipe paper is for a trained encoder"),
        (
            {"recipe": change_recipe(QUICK, encoder_lr=0.0)},
            "the recipe scratch is for a trained encoder",
        ),
        (
            {"tokens": Path("tokens")},
            "the recipe scratch uses no cached tokens: leave out --tokens, or use fast",
        ),
        (
            {
                "recipe": RECIPES["fast"],
                "encoder": Path("e"),
                "devices": Devices(strategy="fsdp"),
            },
            "the recipe fast trains the head alone, which fsdp cannot shard: use ddp",
        ),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(
    values: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        request(tmp_path, tmp_path / "run", **values)


def test_a_missing_dataset_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DatasetError):
        fit(request(tmp_path / "nowhere", tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_the_test_part_is_measured_with_the_best_weights(tmp_path: Path) -> None:
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        for emotion in EMOTIONS[:7]:
            folder = tmp_path / "faces" / part / emotion
            folder.mkdir(parents=True)
            for number in range(count):
                face = draw_face(emotion, seed=len(part) * 100 + number, size=(40, 40))
                cv2.imwrite(str(folder / f"{number}.png"), face)
    result = fit(
        request(tmp_path / "faces", tmp_path / "run", recipe=change_recipe(QUICK, epochs=1))
    )
    assert (
        result.data.training_images,
        result.data.validation_images,
        result.data.test_images,
    ) == (21, 7, 14)
    assert result.test is not None
    assert result.test.images == 14
    assert result.data.images == result.data.drawn == dict.fromkeys(EMOTIONS[:7], 3)
    assert load_checkpoint(tmp_path / "run" / "best.safetensors").metadata["test_images"] == "14"


def losses(folder: Path, out: Path, encoder: Path, **values: object) -> list[float]:
    recipe = change_recipe(RECIPES["fast"], epochs=4, per_class=5, decoder_lr=1e-3, **values)
    return [
        each.train_loss
        for each in fit(request(folder, out, recipe=recipe, encoder=encoder)).history
    ]


def test_the_fast_recipe_has_the_loss_curve_of_the_full_loop_on_a_frozen_encoder(
    face_folder: Path, tmp_path: Path, encoder: Path
) -> None:
    cached = losses(face_folder, tmp_path / "cached", encoder)
    full = losses(face_folder, tmp_path / "full", encoder, cached=False)
    assert cached == pytest.approx(full, abs=1e-3)
    assert cached[-1] < cached[0] - 0.01
    assert (
        cached != full
    )  # tokens of 16 bits: equal to the last bit, the cache would not have been used


def test_the_fast_recipes_checkpoint_holds_the_encoder_as_it_was_given(
    face_folder: Path, tmp_path: Path, encoder: Path
) -> None:
    losses(face_folder, tmp_path / "run", encoder)
    given, found = (
        load_model(path).encoder.state_dict()
        for path in (encoder, tmp_path / "run" / "best.safetensors")
    )
    assert all(torch.equal(given[name], found[name]) for name in given)


def test_cached_tokens_serve_the_next_training(
    face_folder: Path, tmp_path: Path, encoder: Path
) -> None:
    tokens = tmp_path / "tokens"
    recipe = change_recipe(RECIPES["fast"], epochs=1, per_class=5)
    fit(request(face_folder, tmp_path / "first", recipe=recipe, encoder=encoder, tokens=tokens))
    written = {path: path.stat().st_mtime_ns for path in tokens.rglob("*.safetensors")}
    fit(request(face_folder, tmp_path / "second", recipe=recipe, encoder=encoder, tokens=tokens))
    assert written
    assert {path: path.stat().st_mtime_ns for path in tokens.rglob("*.safetensors")} == written


def test_broken_images_links_and_names_of_any_bytes_are_said_and_the_rest_is_trained(
    face_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = Path(shutil.copytree(face_folder, tmp_path / "archive" / "faces"))
    (data / "fear" / "0.png").rename(Path(os.fsdecode(os.fsencode(data) + b"/fear/caf\xe9.png")))
    (data / "anger" / "broken.png").rename(os.fsdecode(os.fsencode(data) + b"/anger/\xe9.png"))
    (data / "fear" / "1.JFIF").symlink_to("gone.jpg")
    (data / "happiness").rename(data / "3_Happy")
    (data / "faces").symlink_to(data)
    shutil.copytree(data / "sadness", data / "__MACOSX" / "sadness")
    result = fit(request(tmp_path / "archive", tmp_path / "run"))
    assert result.data.skipped == {
        "unreadable image": 2,
        "folder that is read under another name": 1,
    }
    assert sum(result.data.drawn.values()) == 42
    said = [line for line in caplog.messages if "left out" in line]
    assert "left out 1 x folder that is read under another name (faces), 1 x hidden" in said[0]
    assert "left out 2 x unreadable image (anger/" in said[1]
    assert "fear/1.JFIF is a link to a file that does not exist" in said[1]
