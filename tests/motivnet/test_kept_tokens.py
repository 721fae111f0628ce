"""Models that compute some of their tokens: what they are equal to, and what files say of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from motivnet.checkpoints import load_checkpoint, save_model
from motivnet.config import ModelConfig
from motivnet.errors import ConfigError
from motivnet.labels import labels_for
from motivnet.model import MotivNet, build_model

TINY = ModelConfig.named("tiny")
KEPT = tuple(range(0, 48, 2))


def model_of(config: ModelConfig, source: MotivNet) -> MotivNet:
    model = build_model(config, seed=None)
    model.load_state_dict(source.state_dict())
    return model


@pytest.fixture(scope="module")
def whole() -> MotivNet:
    return build_model(TINY, seed=3)


@pytest.fixture
def checkpoint(whole: MotivNet, tmp_path: Path) -> Path:
    path = tmp_path / "some.safetensors"
    save_model(whole, path, config=TINY.keeping(KEPT), labels=labels_for(7), preprocessing=None)
    return path


def test_tokens_that_are_left_out_are_not_seen(whole: MotivNet) -> None:
    """Whatever is in their patches: they are no keys of any attention."""
    model = model_of(TINY.keeping(KEPT), whole)
    image = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    changed = image.clone()
    changed[:, :, 2:14, 18:30] += 5.0  # inside the patch of position 1, not in its neighbours'
    with torch.no_grad():
        assert torch.equal(model(image), model(changed))
        assert not torch.equal(whole(image), whole(changed))
        tokens = model.encoder.tokens(image)
    assert tokens.shape == (2, len(KEPT), 96)


def test_the_blocks_see_the_kept_positions_in_their_order(whole: MotivNet) -> None:
    model = model_of(TINY.keeping(KEPT), whole)
    image = torch.randn(1, 3, 128, 96, generator=torch.Generator().manual_seed(1))
    encoder = whole.encoder
    with torch.no_grad():
        stream = (encoder.patch_embed(image) + encoder.pos_embed)[:, list(KEPT)]
        for block in encoder.blocks:
            stream = block(stream)
        expected = encoder.norm(stream)
        torch.testing.assert_close(model.encoder.tokens(image), expected)
        features = model.encoder(image).flatten(2).transpose(1, 2)
    torch.testing.assert_close(features[:, list(KEPT)], expected)
    left_out = [position for position in range(48) if position not in KEPT]
    assert not features[:, left_out].any()


def test_a_file_says_which_tokens_its_model_keeps(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint)
    assert loaded.config.encoder.kept_tokens == KEPT == loaded.model.encoder.kept_tokens
    assert load_checkpoint(checkpoint, TINY).config.encoder.kept_tokens == KEPT


def test_other_tokens_may_be_asked_for_of_a_file(checkpoint: Path) -> None:
    loaded = load_checkpoint(checkpoint, TINY.keeping([5, 7]))
    assert loaded.model.encoder.kept_tokens == (5, 7)
    smaller = TINY.at((64, 48)).keeping([0, 3])
    assert load_checkpoint(checkpoint, smaller).config == smaller


def test_tokens_of_another_size_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="keeps 24 of the tokens of 128x96 pixels"):
        load_checkpoint(checkpoint, image_size=(64, 48))
