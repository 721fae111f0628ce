"""Running the encoder once over every image."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.errors import (
    ConfigError,
    FileError,
    MotivNetError,
    RuntimeUnavailableError,
    TrainingError,
)
from motivnet.model import SapiensEncoder, build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.feature_cache import TokenKey, cache_tokens, token_key
from motivnet_training.feature_cache.encode import check_space
from motivnet_training.feature_cache.key import hash_encoder
from motivnet_training.feature_cache.shard import MAX_IMAGES

PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
IMAGE_BYTES = 4 * 32 * 2


def make_encoder(**sizes: Any) -> SapiensEncoder:
    encoder = EncoderConfig(
        **{"embed_dim": 32, "depth": 2, "num_heads": 2, "image_size": (32, 32), **sizes}
    )
    decoder = DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16)
    return build_model(ModelConfig(encoder=encoder, decoder=decoder), seed=1).encoder


def face(number: int) -> Sample:
    data = np.random.default_rng(number).integers(0, 256, 64, np.uint8).tobytes()
    return Sample(name=f"list.csv:{number}", image=RawPixels(data=data, size=(8, 8)), label=0)


def picture(path: Path, number: int) -> Sample:
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    cv2.imwrite(str(path), pixels)
    return Sample(name=path.name, image=path, label=0)


def encoded_alone(encoder: SapiensEncoder, sample: Sample) -> Any:
    with torch.inference_mode():
        return encoder.tokens(torch.from_numpy(PREPROCESSING(sample.pixels())[None]))[0].numpy()


@contextlib.contextmanager
def counting(encoder: SapiensEncoder) -> Iterator[list[int]]:
    """The images of every batch that goes through the encoder."""
    batches: list[int] = []
    hook = encoder.patch_embed.register_forward_hook(
        lambda _, inputs, output: batches.append(len(inputs[0]))
    )
    yield batches
    hook.remove()


@pytest.fixture
def encoder() -> SapiensEncoder:
    return make_encoder()


def test_the_tokens_are_the_encoders_own_rounded_to_fp16(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    samples = [face(0), picture(tmp_path / "one.png", 1), face(2)]
    store = cache_tokens(encoder, samples, tmp_path / "cache", preprocess=PREPROCESSING)
    order = [2, 0, 1, 0]
    tokens = store.tokens([samples[i].digest() for i in order])
    assert tokens.shape == (4, 4, 32)
    assert tokens.dtype == np.float16
    for row, i in zip(tokens, order, strict=True):
        assert np.array_equal(row, encoded_alone(encoder, samples[i]).astype(np.float16))


def test_tokens_of_faces_are_for_this_user_alone(
    encoder: SapiensEncoder, tmp_path: Path, open_umask: None
) -> None:
    store = cache_tokens(encoder, [face(0)], tmp_path / "cache", preprocess=PREPROCESSING)
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "cache", store.folder)}
    assert modes == {0o700}
    assert [path.stat().st_mode & 0o777 for path in store.shards] == [0o600]


def test_batches_and_shards_change_nothing_but_the_last_digit(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    samples = [face(number) for number in range(11)]
    digests = [sample.digest() for sample in samples]
    one = cache_tokens(encoder, samples, tmp_path / "one", preprocess=PREPROCESSING)
    many = cache_tokens(
        encoder,
        samples,
        tmp_path / "many",
        preprocess=PREPROCESSING,
        batch_size=3,
        shard_bytes=4 * IMAGE_BYTES + 100,
    )
    assert (len(one.shards), len(many.shards)) == (1, 3)
    np.testing.assert_allclose(one.tokens(digests).astype(float), many.tokens(digests), atol=4e-3)


def test_an_image_that_is_larger_than_a_shard_has_one_of_its_own(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    store = cache_tokens(
        encoder, [face(0), face(1)], tmp_path, preprocess=PREPROCESSING, shard_bytes=1
    )
    assert len(store.shards) == len(store) == 2


def test_a_shard_never_holds_more_images_than_its_description_may(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    samples = [face(number) for number in range(MAX_IMAGES + 1)]
    assert (
        len(
            cache_tokens(
                encoder, samples, tmp_path, preprocess=PREPROCESSING, batch_size=256
            ).shards
        )
        == 2
    )


def test_only_images_that_the_cache_does_not_have_are_computed(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    samples = [face(number) for number in range(5)]
    for known, batches in ((3, [2, 1]), (3, []), (5, [2]), (5, [])):
        with counting(encoder) as seen:
            store = cache_tokens(
                encoder, samples[:known], tmp_path, preprocess=PREPROCESSING, batch_size=2
            )
        assert seen == batches
        assert len(store) == known
    assert [path.name for path in store.shards] == ["00001.safetensors", "00002.safetensors"]


def test_equal_images_are_computed_and_kept_once(encoder: SapiensEncoder, tmp_path: Path) -> None:
    first = picture(tmp_path / "a.png", 0)
    copy = dataclasses.replace(first, name="b.png", image=tmp_path / "b.png", label=3)
    shutil.copyfile(tmp_path / "a.png", tmp_path / "b.png")
    with counting(encoder) as seen:
        store = cache_tokens(
            encoder, [first, copy, first], tmp_path / "cache", preprocess=PREPROCESSING
        )
    assert seen == [1]
    assert (len(store), store.missing([copy])) == (1, {})


def test_another_encoder_preprocessing_or_precision_has_another_folder(tmp_path: Path) -> None:
    other = make_encoder()
    with torch.no_grad():
        other.norm.bias[0] += 1e-3
    padded = Preprocessing.named("square-white-pad", size=(32, 32))
    stores = [
        cache_tokens(make_encoder(), [face(0)], tmp_path, preprocess=PREPROCESSING),
        cache_tokens(other, [face(0)], tmp_path, preprocess=PREPROCESSING),
        cache_tokens(make_encoder(), [face(0)], tmp_path, preprocess=padded),
        cache_tokens(
            make_encoder(), [face(0)], tmp_path, preprocess=PREPROCESSING, compute="bfloat16"
        ),
    ]
    assert {store.folder for store in stores} == set(tmp_path.iterdir())
    assert len({store.folder for store in stores}) == 4


def changed(value: Any, **fields: Any) -> Any:
    """The same key or preprocessing with other values."""
    plain = msgspec.to_builtins(value)
    return msgspec.convert(plain | msgspec.to_builtins(fields), type(value))


def changed_keys() -> Iterator[tuple[str, TokenKey]]:
    """A key with each of its parts changed, the smallest change that there is."""
    key = token_key(make_encoder(), preprocess=PREPROCESSING)
    yield "heads", token_key(make_encoder(num_heads=4), preprocess=PREPROCESSING)
    yield "padding", token_key(make_encoder(patch_padding=1), preprocess=PREPROCESSING)
    for name in make_encoder().state_dict():
        encoder = make_encoder()
        bits = encoder.state_dict()[name].view(torch.int32).view(-1)
        bits[-1] ^= 1
        yield name, token_key(encoder, preprocess=PREPROCESSING)
    for level in range(3):
        for field in ("mean", "std"):
            values = list(getattr(PREPROCESSING, field))
            values[level] = float(np.nextafter(values[level], 1000))
            preprocess = changed(PREPROCESSING, **{field: tuple(values)})
            yield f"{field} {level}", changed(key, preprocess=preprocess)
    for size in ((48, 32), (32, 48)):
        yield f"size {size}", changed(key, preprocess=changed(PREPROCESSING, size=size))
    padded = Preprocessing.named("square-white-pad", size=(32, 32))
    yield "preprocessing", changed(key, preprocess=padded)
    yield "bfloat16", changed(key, compute="bfloat16")
    yield "float16", changed(key, compute="float16")
    yield "tokens", changed(key, shape=(5, 32))
    yield "width", changed(key, shape=(4, 33))


def test_every_part_of_a_key_changes_the_folder() -> None:
    names = {what: key.folder_name for what, key in changed_keys()}
    names["unchanged"] = token_key(make_encoder(), preprocess=PREPROCESSING).folder_name
    assert len(names) > 40
    assert len(set(names.values())) == len(names)


def test_the_hash_of_an_encoder_is_the_same_in_every_process() -> None:
    encoder = make_encoder()
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.fill_(0.5)
    assert (
        hash_encoder(encoder) == "782f2f31fc9187e22dab3817c8ba12b29fed3e61860e117879927c0b3023d47d"
    )


@pytest.mark.parametrize("compute", ["bfloat16", "float16"])
def test_a_lower_precision_gives_nearly_the_same_tokens(
    compute: Any, encoder: SapiensEncoder, tmp_path: Path
) -> None:
    store = cache_tokens(encoder, [face(0)], tmp_path, preprocess=PREPROCESSING, compute=compute)
    exact = encoded_alone(encoder, face(0)).astype(np.float16)
    tokens = store.tokens([face(0).digest()])[0]
    assert not np.array_equal(tokens, exact)
    np.testing.assert_allclose(tokens.astype(float), exact, atol=0.1)


def test_a_surrounding_autocast_does_not_lower_the_precision(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        store = cache_tokens(encoder, [face(0)], tmp_path, preprocess=PREPROCESSING)
    exact = encoded_alone(encoder, face(0)).astype(np.float16)
    assert np.array_equal(store.tokens([face(0).digest()])[0], exact)


def test_the_encoder_is_left_as_it_was_given(encoder: SapiensEncoder, tmp_path: Path) -> None:
    encoder.train()
    before = {name: weight.clone() for name, weight in encoder.state_dict().items()}
    cache_tokens(encoder, [face(0)], tmp_path, preprocess=PREPROCESSING, compute="bfloat16")
    assert encoder.training
    assert all(
        weight.requires_grad and not weight.is_inference() for weight in encoder.parameters()
    )
    for name, weight in encoder.state_dict().items():
        assert torch.equal(weight, before[name])
        assert weight.dtype == torch.float32


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (
            1e6,
            r"the encoder's tokens reach [\d,]{7,} for list.csv:2, beyond the 65,504 of FP16",
        ),
        (
            float("nan"),
            "the encoder gives tokens that are not finite for list.csv:2; check its weights",
        ),
    ],
)
def test_tokens_that_fp16_cannot_hold_stop_and_name_the_image(
    scale: float, message: str, encoder: SapiensEncoder, tmp_path: Path
) -> None:
    target = encoded_alone(encoder, face(2)).ravel()

    def spoil(_: object, inputs: object, output: torch.Tensor) -> torch.Tensor:
        wrong = [np.allclose(one.detach().numpy().ravel(), target, atol=1e-4) for one in output]
        return output * torch.where(torch.tensor(wrong), scale, 1.0)[:, None, None]

    encoder.norm.register_forward_hook(spoil)
    samples = [face(number) for number in range(4)]
    with pytest.raises(TrainingError, match=message):
        cache_tokens(encoder, samples, tmp_path, preprocess=PREPROCESSING, batch_size=4)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_image_that_changes_before_its_turn_stops(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    samples = [picture(tmp_path / f"{number}.png", number) for number in range(2)]
    encoder.patch_embed.register_forward_hook(lambda *_: picture(tmp_path / "1.png", 7) and None)
    with pytest.raises(
        FileError, match=r"1\.png changed while the tokens were computed; run again"
    ):
        cache_tokens(encoder, samples, tmp_path / "cache", preprocess=PREPROCESSING)


def test_too_little_space_stops_before_anything_is_computed(
    encoder: SapiensEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=4 * IMAGE_BYTES - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    cache_tokens(encoder, [face(number) for number in range(3)], tmp_path, preprocess=PREPROCESSING)
    with (
        counting(encoder) as seen,
        pytest.raises(FileError, match=r"the tokens of 4 images need [\d.]+ MB"),
    ):
        cache_tokens(
            encoder, [face(number) for number in range(3, 7)], tmp_path, preprocess=PREPROCESSING
        )
    assert seen == []


@pytest.mark.parametrize(
    ("width", "image", "paper"),
    [(1024, 6_291_456, 188_743_680_000), (1536, 9_437_184, 283_115_520_000)],
)
def test_the_published_sizes_take_what_the_documentation_says(
    width: int, image: int, paper: int
) -> None:
    key = changed(token_key(make_encoder(), preprocess=PREPROCESSING), shape=(64 * 48, width))
    assert (key.bytes_per_image, 30_000 * key.bytes_per_image) == (image, paper)


def test_a_file_is_hardly_larger_than_its_tokens(encoder: SapiensEncoder, tmp_path: Path) -> None:
    store = cache_tokens(
        encoder,
        [face(number) for number in range(100)],
        tmp_path,
        preprocess=PREPROCESSING,
        batch_size=32,
    )
    size = sum(path.stat().st_size for path in store.shards)
    assert 100 * IMAGE_BYTES < size < 100 * (IMAGE_BYTES + 150) + 1000


def test_the_message_about_space_says_how_much_is_needed_and_how_much_is_free(
    tmp_path: Path,
) -> None:
    key = changed(token_key(make_encoder(), preprocess=PREPROCESSING), shape=(3072, 1024))
    with pytest.raises(FileError) as raised:
        check_space(tmp_path, key=key, images=10**9)
    assert "need 6,291,456,000.0 MB, " in str(raised.value)
    assert "MB are free; make room or choose a folder on another disk" in str(raised.value)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"device": "cuda:99"}, RuntimeUnavailableError, "no device 'cuda:99' here; use 'cpu'"),
        (
            {"preprocess": Preprocessing.named("stretch", size=(32, 48))},
            ConfigError,
            r"preprocessing makes images of \(32, 48\), the encoder takes \(32, 32\)",
        ),
    ],
)
def test_options_that_cannot_be_say_what_to_do(
    options: dict[str, Any],
    error: type[MotivNetError],
    message: str,
    encoder: SapiensEncoder,
    tmp_path: Path,
) -> None:
    with pytest.raises(error, match=message):
        cache_tokens(encoder, [face(0)], tmp_path, **{"preprocess": PREPROCESSING, **options})


def test_a_file_in_the_place_of_the_folder_is_one_clear_line(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("notes")
    with pytest.raises(FileError, match="cannot be written: "):
        cache_tokens(encoder, [face(0)], tmp_path / "cache", preprocess=PREPROCESSING)


def test_no_samples_make_an_empty_store_and_no_folder(
    encoder: SapiensEncoder, tmp_path: Path
) -> None:
    assert len(cache_tokens(encoder, [], tmp_path / "cache", preprocess=PREPROCESSING)) == 0
    assert not (tmp_path / "cache").exists()
