from __future__ import annotations

import pytest

from motivnet.checkpoints import load_model
from motivnet.errors import ConfigError, DatasetError
from motivnet.model.runtime import TorchRuntime
from motivnet.preprocess import InputRecipe
from motivnet_bench.viability.images import FedModel, embeddings_of, image_files
from motivnet_bench.viability.measure import CriteriaOptions
from motivnet_bench.viability.names import folder_names


@pytest.fixture(scope="module")
def fed(tiny_checkpoint, tiny_config):
    runtime = TorchRuntime(load_model(tiny_checkpoint), config=tiny_config)
    return FedModel(runtime=runtime, recipe=InputRecipe.named("stretch", size=(128, 96)), batch=4)


def test_images_are_found_at_any_depth_and_hidden_ones_are_not(tmp_path):
    for name in ("b/2.JPG", "a/1.png", "a/.hidden.png", ".cache/3.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    assert [path.name for path in image_files(tmp_path)] == ["1.png", "2.JPG"]


def test_a_limit_is_spread_evenly(tmp_path):
    for index in range(10):
        (tmp_path / f"{index}.png").write_bytes(b"")
    assert [path.name for path in image_files(tmp_path, limit=3)] == ["0.png", "4.png", "9.png"]


def test_folders_of_one_name_are_told_apart_by_the_folders_above(tmp_path):
    first, second = tmp_path / "a" / "val", tmp_path / "b" / "val"
    assert folder_names([first, second]) == ("a/val", "b/val")
    assert folder_names([first, first]) == ("val", "val")
    assert folder_names([]) == ()


def test_folders_without_two_images_are_refused(tmp_path, fed):
    with pytest.raises(DatasetError, match="is not a folder"):
        image_files(tmp_path / "none")
    (tmp_path / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="holds 1 images; a comparison"):
        image_files(tmp_path)
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="holds 0 images that can be read"):
        embeddings_of(fed, tmp_path, image_files(tmp_path))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "nothing to judge by"),
        ({"data": "a"}, "--data and --reference go together"),
        ({"reference": "a"}, "--data and --reference go together"),
        ({"encoder": "a", "batch": 0}, "--batch"),
        ({"encoder": "a", "threads": 0}, "--threads"),
        ({"encoder": "a", "limit": 1}, "--limit must be at least 2"),
        ({"encoder": "a", "resamples": 19}, "--resamples must be at least 20"),
    ],
)
def test_options_without_sense_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        CriteriaOptions(**options)
