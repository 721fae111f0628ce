"""Which tokens are kept: those that the head looks at, in fact and not by name."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from motivnet.config import EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import ConfigError
from motivnet.model import MotivNet, build_model, ml_decoder
from motivnet.preprocess import Preprocessing
from motivnet.synthetic import draw_face
from motivnet_training.augmentation import augment
from motivnet_training.batch_sampler import NOT_AUGMENTED
from motivnet_training.data import TokenInputs
from motivnet_training.feature_cache import cache_tokens
from motivnet_training.kept_tokens import (
    count_kept,
    holds_content,
    mean_attention,
    most_used_tokens,
)

CONFIG = ModelConfig.named("tiny", image_size=(64, 48))
STRETCH = Preprocessing.named("stretch", size=(64, 48))


def face(seed: int) -> Sample:
    pixels = draw_face("happiness", seed=seed, size=(64, 48))
    image = RawPixels(data=pixels.tobytes(), size=(64, 48))
    return Sample(name=f"{seed}", image=image, label=1)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    return [face(seed) for seed in range(5)]


@pytest.fixture(scope="module")
def model() -> MotivNet:
    return build_model(CONFIG, seed=4)


def looking_at(positions: list[int], model: MotivNet, *, config: ModelConfig = CONFIG) -> MotivNet:
    """The model, its encoder marking these positions with what the head's keys respond to."""
    changed = build_model(config, seed=4)
    changed.load_state_dict(model.state_dict())
    with torch.no_grad():
        changed.encoder.blocks = torch.nn.ModuleList()
        changed.encoder.pos_embed.zero_()
        changed.encoder.patch_embed.projection.weight.zero_()
        changed.encoder.patch_embed.projection.bias.zero_()
        changed.encoder.pos_embed[:, :, 0] = -1.0
        changed.encoder.pos_embed[:, positions, 0] = 1.0
        changed.encoder.pos_embed[:, :, 1] = -changed.encoder.pos_embed[:, :, 0]
        for block in changed.decoder.blocks:
            width = block.attention.key_value.out_features // 2
            block.attention.query.weight.zero_()
            block.attention.query.bias.fill_(1.0)
            block.attention.key_value.weight[:width].fill_(1.0)
        changed.decoder.embed.weight.zero_()
        changed.decoder.embed.weight[:, 0] = 1.0
    return changed


def test_attention_is_a_share_of_each_token(model: MotivNet, samples: list[Sample]) -> None:
    use = mean_attention(model, samples, preprocess=STRETCH, batch_size=2)
    assert use.shape == (12,)
    assert use.sum() == pytest.approx(1.0, abs=1e-5)
    assert (use > 0).all()
    alone = [mean_attention(model, [each], preprocess=STRETCH) for each in samples]
    np.testing.assert_allclose(use, np.mean(alone, axis=0), atol=1e-6)


def test_attention_is_that_of_the_head_as_it_computes_it(
    model: MotivNet, samples: list[Sample]
) -> None:
    """The weights give back what the head's attention layers give, from the same values."""
    seen: list[torch.Tensor] = []

    def watch(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> None:
        seen.append((query @ key.transpose(-2, -1) * scale).softmax(dim=-1).mean(dim=(1, 2)))

    real = ml_decoder.attend

    def attend(query, key, value, *, scale):  # type: ignore[no-untyped-def]
        watch(query, key, value, scale)
        return real(query, key, value, scale=scale)

    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setattr(ml_decoder, "attend", attend)
        images = np.stack([STRETCH(each.pixels()) for each in samples])
        model(torch.from_numpy(images))
    expected = torch.stack(seen).mean(dim=(0, 1))
    use = mean_attention(model, samples, preprocess=STRETCH, batch_size=8)
    np.testing.assert_allclose(use, expected.numpy(), atol=1e-6)


def test_the_tokens_that_the_head_looks_at_are_kept(model: MotivNet, samples: list[Sample]) -> None:
    looked_at = [3, 5, 6, 8]  # at the left and right of the two middle rows
    kept = most_used_tokens(
        looking_at(looked_at, model),
        samples,
        4,
        config=CONFIG.encoder,
        preprocess=STRETCH,
    )
    assert kept == (3, 5, 6, 8)


def test_left_and_right_are_kept_alike(model: MotivNet, samples: list[Sample]) -> None:
    kept = most_used_tokens(
        model, samples, count_kept(12, 0.5), config=CONFIG.encoder, preprocess=STRETCH
    )
    marked = np.zeros(12, bool)
    marked[list(kept)] = True
    grid = marked.reshape(4, 3)
    assert (grid != grid[:, ::-1]).sum() <= 2  # an odd one at the border
    assert len(kept) == 6


def test_the_white_around_an_image_goes_first(model: MotivNet, samples: list[Sample]) -> None:
    padded = Preprocessing.named("square-white-pad", size=(64, 48))
    inside = holds_content(CONFIG.encoder, padded)
    # 8 white rows above and below of 64, and patches that begin 2 pixels above the image
    assert inside.all()
    tall = CONFIG.at((96, 48))
    padded = Preprocessing.named("square-white-pad", size=(96, 48))
    inside = holds_content(tall.encoder, padded)
    assert inside.any(axis=1).tolist() == [False, True, True, True, True, False]
    assert (inside.all(axis=1) == inside.any(axis=1)).all()
    whole = build_model(tall, seed=4)
    kept = most_used_tokens(whole, samples, 12, config=tall.encoder, preprocess=padded)
    assert kept == tuple(range(3, 15))
    fewer = most_used_tokens(whole, samples, 5, config=tall.encoder, preprocess=padded)
    assert set(fewer) < set(kept)
    more = most_used_tokens(whole, samples, 14, config=tall.encoder, preprocess=padded)
    assert set(more) > set(kept)
    blind = looking_at([0, 1, 2, 15, 16, 17], whole, config=tall)  # at the white alone
    kept = most_used_tokens(blind, samples, 12, config=tall.encoder, preprocess=padded)
    assert kept == tuple(range(3, 15))


def test_patches_without_a_margin_hold_what_is_inside_their_square() -> None:
    encoder = EncoderConfig(
        embed_dim=8, depth=1, num_heads=2, patch_size=8, patch_padding=0, image_size=(32, 16)
    )
    padded = Preprocessing.named("square-white-pad", size=(32, 16))
    assert holds_content(encoder, padded)[:, 0].tolist() == [False, True, True, False]


@pytest.mark.parametrize(
    ("tokens", "share", "count"), [(12, 0.6, 7), (192, 0.6, 115), (12, 0.01, 1), (12, 0.99, 11)]
)
def test_a_share_is_a_number_of_tokens(tokens: int, share: float, count: int) -> None:
    assert count_kept(tokens, share) == count


def test_mirrored_tokens_are_those_of_the_mirrored_pixels(model: MotivNet, tmp_path: Path) -> None:
    pixels = draw_face("anger", seed=3, size=(64, 48))
    for name, image in (("as it is", pixels), ("mirrored", pixels[:, ::-1])):
        cv2.imwrite(str(tmp_path / f"{name}.png"), image[..., ::-1])
    samples = [
        Sample(name=name, image=tmp_path / f"{name}.png", label=0)
        for name in ("as it is", "mirrored")
    ]
    plain, mirrored = (
        cache_tokens(
            model.encoder, samples, tmp_path / "tokens", preprocess=STRETCH, mirrored=mirrored
        )
        for mirrored in (False, True)
    )
    assert plain.folder != mirrored.folder
    first, second = (sample.digest() for sample in samples)
    np.testing.assert_array_equal(mirrored.tokens([first]), plain.tokens([second]))
    assert not np.array_equal(mirrored.tokens([first]), plain.tokens([first]))


def test_cached_mirror_images_are_seen_where_the_pixels_would_be_mirrored(
    model: MotivNet, tmp_path: Path
) -> None:
    face = draw_face("anger", seed=3, size=(64, 48))
    cv2.imwrite(str(tmp_path / "face.png"), face[..., ::-1])
    sample = Sample(name="face", image=tmp_path / "face.png", label=0)
    plain, mirrored = (
        cache_tokens(model.encoder, [sample], tmp_path, preprocess=STRETCH, mirrored=mirrored)
        for mirrored in (False, True)
    )
    digest = sample.digest()
    inputs = TokenInputs(store=plain, digests=(digest,), mirrored=mirrored, seed=5)
    seen = []
    for epoch in range(8):
        changed = augment(face, "mirror", key=(5, epoch, 0))
        store = plain if np.array_equal(changed, face) else mirrored
        np.testing.assert_array_equal(inputs.batch([(epoch, 0)]), store.tokens([digest]))
        seen.append(store)
    assert plain in seen
    assert mirrored in seen
    validated = TokenInputs(store=plain, digests=(digest,) * 8, mirrored=mirrored)
    rows = validated.batch([(NOT_AUGMENTED, index) for index in range(8)])
    np.testing.assert_array_equal(rows, plain.tokens([digest] * 8))


def test_no_share_of_one_token_is_possible() -> None:
    with pytest.raises(ConfigError, match="one token"):
        count_kept(1, 0.5)
