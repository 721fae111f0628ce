"""Models at another size of image: positions are resampled, everything else stays."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from msgspec.structs import replace

from motivnet.checkpoints import load_checkpoint, load_model, save_model
from motivnet.checkpoints.weights import resample_positions
from motivnet.config import ModelConfig, image_size_from_text
from motivnet.errors import CheckpointError, ConfigError
from motivnet.labels import labels_for
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing

TINY = ModelConfig.named("tiny")


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.safetensors"
    save_model(
        build_model(TINY, seed=3),
        path,
        config=TINY,
        labels=labels_for(7),
        preprocessing=Preprocessing.named("stretch", size=(128, 96)),
    )
    return path


def test_a_checkpoint_is_loaded_at_another_size(
    checkpoint: Path, caplog: pytest.LogCaptureFixture
) -> None:
    loaded = load_checkpoint(checkpoint, image_size=(64, 48))
    assert loaded.config == TINY.at((64, 48))
    assert loaded.trained_image_size == (128, 96)
    assert f"{checkpoint} was trained at 128x96: its positions were resampled to 64x48" in (
        caplog.text
    )
    before, after = load_model(checkpoint).state_dict(), loaded.model.state_dict()
    positions = "encoder.pos_embed"
    assert all(torch.equal(after[name], before[name]) for name in before if name != positions)
    assert torch.equal(after[positions], resample_positions(before[positions], (8, 6), (4, 3)))
    assert loaded.model(torch.zeros(1, 3, 64, 48)).shape == (1, 7)


def test_a_configuration_may_differ_from_the_file_in_its_image_size_alone(checkpoint: Path) -> None:
    larger = load_checkpoint(checkpoint, TINY.at((256, 192)))
    assert larger.config.encoder.grid_size == (16, 12)
    heads = replace(TINY, encoder=replace(TINY.encoder, num_heads=2, image_size=(64, 48)))
    with pytest.raises(CheckpointError, match=r"encoder\.num_heads is 3 and not 2$"):
        load_checkpoint(checkpoint, heads)


def test_a_file_without_a_description_is_resampled_from_its_published_size(tmp_path: Path) -> None:
    path = tmp_path / "tiny.pth"
    torch.save(build_model(TINY, seed=3).state_dict(), path)
    for config, size in ((None, (64, 48)), (TINY.at((64, 48)), None)):
        loaded = load_checkpoint(path, config, image_size=size)
        assert (loaded.config, loaded.trained_image_size) == (TINY.at((64, 48)), (128, 96))


def test_positions_of_no_known_grid_are_not_resampled(tmp_path: Path) -> None:
    path = tmp_path / "odd.pth"
    torch.save(build_model(TINY.at((160, 96)), seed=3).state_dict(), path)
    with pytest.raises(CheckpointError, match=r"encoder\.tokens is 60 and not 12"):
        load_checkpoint(path, TINY.at((64, 48)))


def test_resampling_keeps_a_smooth_surface() -> None:
    """A plane stays a plane: values at the centres of the patches, whatever their number."""

    def plane(rows: int, columns: int) -> torch.Tensor:
        y, x = (torch.arange(rows) + 0.5) / rows, (torch.arange(columns) + 0.5) / columns
        return (2 * y[:, None] + 3 * x[None]).reshape(1, -1, 1)

    smaller = resample_positions(plane(64, 48), (64, 48), (32, 24)).reshape(32, 24)
    inside = (slice(2, -2), slice(2, -2))  # the kernel reaches over the border
    assert torch.allclose(smaller[inside], plane(32, 24).reshape(32, 24)[inside], atol=1e-5)
    assert torch.equal(resample_positions(plane(8, 6), (8, 6), (8, 6)), plane(8, 6))


def test_a_size_is_read_as_height_by_width() -> None:
    assert image_size_from_text(" 512X384 ") == (512, 384)
    for text in ("512", "512x", "512*384", "x", "-512x384", "512x384x3", "512.5x384", "999999x1"):
        with pytest.raises(ConfigError, match="an image size is HEIGHTxWIDTH in pixels, such as"):
            image_size_from_text(text)
    with pytest.raises(ConfigError, match=r"image_size \[500, 384\] must be multiples of the pat"):
        TINY.at((500, 384))
