"""The classifier over a fake runtime, where every call can be seen, and over the real ones."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from motivnet.artifact.engine_entry import EngineEntry, EngineReport, ShapeProfile
from motivnet.artifact.manifest import InputEntry, Manifest
from motivnet.errors import (
    ArtifactError,
    ConfigError,
    FileError,
    ImageError,
    InputError,
    RuntimeUnavailableError,
)
from motivnet.labels import EMOTIONS
from motivnet.model import MotivNet
from motivnet.preprocess import PREPROCESSING_NAMES, Preprocessing
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
from motivnet_engines.runtimes.signature import batch_from_images, input_from_pixels, profile_of


def classifier_over_fake(
    manifest: Manifest | None = None, **options: Any
) -> tuple[EmotionClassifier, FakeRuntime]:
    manifest = manifest or fake_manifest()
    runtime = FakeRuntime(manifest)
    return EmotionClassifier(runtime, manifest, **options), runtime


def png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("count", "batch_size", "calls"),
    [
        (0, None, []),
        (1, None, [1]),
        (8, None, [8]),
        (9, None, [8, 1]),
        (7, 3, [3, 3, 1]),
        (3, 1, [1, 1, 1]),
    ],
)
def test_images_are_split_into_batches_and_come_back_in_order(
    count: int, batch_size: int | None, calls: list[int], pixels
) -> None:
    images = pixels(count)
    classifier, runtime = classifier_over_fake(batch_size=batch_size)
    predictions = classifier.predict(images)
    assert [len(call["image"]) for call in runtime.calls] == calls
    one_by_one, _ = classifier_over_fake()
    assert predictions == [one_by_one.predict(image)[0] for image in images]
    assert len({prediction.confidence for prediction in predictions}) == count


def test_a_path_a_string_bytes_and_pixels_of_one_image_agree(tmp_path: Path, pixels) -> None:
    image = pixels(1)[0]
    path = tmp_path / "face.png"
    path.write_bytes(png(image))
    classifier, _ = classifier_over_fake()
    alone = [classifier.predict(one)[0] for one in (path, str(path), png(image), image)]
    assert alone == classifier.predict([path, str(path), png(image), image])
    assert len(set(map(str, alone))) == 1


def test_a_generator_and_a_stack_of_images_are_many_images(pixels) -> None:
    images = pixels(3)
    classifier, _ = classifier_over_fake()
    assert len(classifier.predict(image for image in images)) == 3
    assert len(classifier.predict(np.zeros((5, 20, 10, 3), np.uint8))) == 5


def test_a_prediction_names_its_label_and_all_probabilities(pixels) -> None:
    classifier, _ = classifier_over_fake()
    [prediction] = classifier.predict(pixels(1)[0])
    assert tuple(prediction.probabilities) == EMOTIONS[:7]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)
    assert (
        prediction.confidence
        == max(prediction.probabilities.values())
        == prediction.probabilities[prediction.label]
    )


BAD_IMAGES: list[tuple[Any, type[Exception], str]] = [
    (Path("nowhere.png"), FileError, "nowhere.png does not exist"),
    (b"no image", ImageError, "images[1] is not a JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC image"),
    (np.zeros((4, 4), np.uint8), InputError, "images[1]: an image must be (H, W, 3) of uint8"),
    (np.zeros((4, 4, 4), np.uint8), InputError, "images[1]: an image must be (H, W, 3) of uint8"),
    (np.zeros((4, 4, 3), np.float32), InputError, "images[1]: an image must be (H, W, 3) of uint8"),
    (np.zeros((0, 4, 3), np.uint8), InputError, "images[1]: an image must be (H, W, 3) of uint8"),
    (
        None,
        InputError,
        "images[1] must be a path, the bytes of an image file or an (H, W, 3) array",
    ),
]


@pytest.mark.parametrize(("image", "error", "message"), BAD_IMAGES)
def test_an_error_names_the_image(image: Any, error: type[Exception], message: str, pixels) -> None:
    classifier, _ = classifier_over_fake()
    with pytest.raises(error) as raised:
        classifier.predict([pixels(1)[0], image])
    assert message in str(raised.value)


def test_one_value_that_is_no_image_is_refused() -> None:
    classifier, _ = classifier_over_fake()
    with pytest.raises(InputError, match="one image or an iterable of images, not int"):
        classifier.predict(5)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [0, -1, 9])
def test_a_batch_size_beyond_the_artifacts_is_refused(batch_size: int) -> None:
    with pytest.raises(ConfigError, match=f"between 1 and 8, not {batch_size}"):
        classifier_over_fake(batch_size=batch_size)


def test_a_runtime_that_does_not_fit_the_manifest_is_refused() -> None:
    with pytest.raises(ArtifactError, match="do not fit the manifest"):
        EmotionClassifier(FakeRuntime(fake_manifest(dtype="uint8")), fake_manifest())


def test_logits_that_are_not_finite_are_an_error(pixels, monkeypatch: pytest.MonkeyPatch) -> None:
    classifier, runtime = classifier_over_fake()
    monkeypatch.setattr(runtime, "run", lambda _: {"logits": np.full((1, 7), np.nan, np.float32)})
    with pytest.raises(ArtifactError, match="logits that are not finite in fp32 with fake"):
        classifier.predict(pixels(1)[0])


def test_the_classifier_closes_its_runtime(pixels) -> None:
    classifier, runtime = classifier_over_fake()
    with classifier:
        classifier.predict(pixels(1)[0])
    assert runtime.closed
    with pytest.raises(RuntimeUnavailableError, match="closed"):
        classifier.predict(pixels(1)[0])


@pytest.mark.parametrize("name", ["stretch", "square-white-pad"])
def test_the_batch_is_each_image_preprocessed(name: str, pixels) -> None:
    images = pixels(3)
    preprocessing = Preprocessing.named(name, size=(128, 96))
    floats = batch_from_images(fake_manifest(preprocessing=name).input, images)
    np.testing.assert_array_equal(floats, np.stack([preprocessing(image) for image in images]))
    assert floats.dtype == np.float32
    levels = batch_from_images(fake_manifest(preprocessing=name, dtype="uint8").input, images)
    np.testing.assert_array_equal(
        levels, np.stack([preprocessing.pixels(image) for image in images])
    )
    assert levels.dtype == np.uint8


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one image"):
        batch_from_images(fake_manifest().input, [])


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_real_runtimes_predict_what_pytorch_predicts(
    runtime: str, count: int, copied_artifact, pixels, tiny_model: MotivNet
) -> None:
    images = pixels(count)
    artifact = copied_artifact(verified=(runtime,))
    with torch.no_grad():
        batch = torch.from_numpy(batch_from_images(artifact.manifest.input, images))
        expected = tiny_model(batch).softmax(dim=1).numpy()
    with EmotionClassifier.open(artifact.folder, threads=1) as classifier:
        assert classifier.runtime.name == runtime
        predictions = classifier.predict(images)
    found = np.array([list(prediction.probabilities.values()) for prediction in predictions])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_open_closes_the_runtime_when_the_batch_size_is_refused(
    copied_artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = copied_artifact()
    runtime = FakeRuntime(artifact.manifest)
    monkeypatch.setattr(
        "motivnet_engines.inference.classifier.open_runtime", lambda *_, **__: runtime
    )
    with pytest.raises(ConfigError, match="batch size"):
        EmotionClassifier.open(artifact.folder, batch_size=99)
    assert runtime.closed


def test_labels_come_from_the_manifest(pixels) -> None:
    manifest = fake_manifest()
    renamed = msgspec.structs.replace(
        manifest, labels=tuple(f"label {index}" for index in range(7))
    )
    classifier, _ = classifier_over_fake(renamed)
    assert classifier.predict(pixels(1)[0])[0].label.startswith("label ")


PROFILE = ShapeProfile(
    min_batch=1,
    opt_batch=1,
    max_batch=8,
    min_size=(16, 16),
    opt_size=(128, 96),
    max_size=(200, 300),
)


def any_size_manifest(*, preprocessing: str = "stretch", engine: bool = False) -> Manifest:
    """That of an artifact that resizes, with or without a tensorrt-rtx engine of PROFILE."""
    manifest = fake_manifest(preprocessing=preprocessing, dtype="uint8")
    manifest = msgspec.structs.replace(
        manifest, input=msgspec.structs.replace(manifest.input, any_size=True)
    )
    if not engine:
        return manifest
    proof = EngineReport(
        evidence="network",
        layers=1,
        matrix_layers={},
        attention_layers=0,
        attention_fused=None,
        activation_bytes=None,
    )
    entry = EngineEntry(
        backend="tensorrt-rtx",
        path=manifest.model,
        onnx_sha256="0" * 64,
        version="1.7.1.116",
        platform="linux-x86_64",
        precision="fp32",
        attention="decomposed",
        compute_capabilities=(),
        device=None,
        profile=PROFILE,
        hardware_compatibility="none",
        version_compatible=False,
        weight_streaming=False,
        build_seconds=1,
        build_peak_bytes=1,
        report=proof,
    )
    return msgspec.structs.replace(manifest, engines=(entry,))


def faces(*sizes: tuple[int, int]) -> list[np.ndarray]:
    """Each of one colour, and no colour twice."""
    return [np.full((*size, 3), index + 1, np.uint8) for index, size in enumerate(sizes)]


def test_images_of_any_size_go_in_as_they_are_grouped_by_size_and_come_back_in_order() -> None:
    images = faces((50, 40), (60, 40), (50, 40), (1, 1), (60, 40), (50, 40))
    classifier, runtime = classifier_over_fake(any_size_manifest(), batch_size=4)
    predictions = classifier.predict(images)
    assert [call["image"].shape for call in runtime.calls] == [
        (2, 50, 40, 3),
        (1, 60, 40, 3),
        (1, 1, 1, 3),
        (1, 60, 40, 3),
        (1, 50, 40, 3),
    ]
    np.testing.assert_array_equal(runtime.calls[0]["image"], [images[0], images[2]])
    assert predictions == [classifier.predict(image)[0] for image in images]
    assert len({prediction.confidence for prediction in predictions}) == len(images)


def test_large_images_of_one_size_are_split_so_that_a_call_fits_in_memory() -> None:
    images = [np.zeros((2160, 3840, 3), np.uint8)] * 5
    classifier, runtime = classifier_over_fake(any_size_manifest())
    classifier.predict(images)
    assert [len(call["image"]) for call in runtime.calls] == [2, 2, 1]
    classifier, runtime = classifier_over_fake(any_size_manifest())
    classifier.predict([np.zeros((6000, 4000, 3), np.uint8)])
    assert len(runtime.calls) == 1


def over_engine(
    preprocessing: str = "stretch", max_size: tuple[int, int] = PROFILE.max_size
) -> tuple[EmotionClassifier, FakeRuntime]:
    manifest = any_size_manifest(preprocessing=preprocessing, engine=True)
    [engine] = manifest.engines
    engine = msgspec.structs.replace(
        engine, profile=msgspec.structs.replace(PROFILE, max_size=max_size)
    )
    manifest = msgspec.structs.replace(manifest, engines=(engine,))
    runtime = FakeRuntime(manifest)
    runtime.name = "tensorrt-rtx"
    return EmotionClassifier(runtime, manifest), runtime


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_an_image_beyond_the_engines_sizes_is_resized_by_the_preprocessing(
    preprocessing: str,
) -> None:
    images = [
        np.random.default_rng(i).integers(0, 256, (*size, 3), dtype=np.uint8)
        for i, size in enumerate([(200, 300), (201, 300), (200, 301), (15, 16), (16, 15), (16, 16)])
    ]
    classifier, runtime = over_engine(preprocessing)
    classifier.predict(images)
    made = classifier.manifest.input.preprocessing
    assert [call["image"].shape[:3] for call in runtime.calls] == [
        (1, 200, 300),
        (4, *made.content_size),
        (1, 16, 16),
    ]
    np.testing.assert_array_equal(
        runtime.calls[1]["image"], [made.resized(image) for image in images[1:5]]
    )
    np.testing.assert_array_equal(
        [made.pixels(image) for image in runtime.calls[1]["image"]],
        [made.pixels(image) for image in images[1:5]],
    )


def test_a_call_of_an_engine_is_not_split_for_the_memory_of_the_host() -> None:
    classifier, runtime = over_engine(max_size=(2160, 3840))
    classifier.predict([np.zeros((2160, 3840, 3), np.uint8)] * 4)
    assert [len(call["image"]) for call in runtime.calls] == [4]


@pytest.mark.parametrize(("image", "error", "message"), BAD_IMAGES)
def test_an_error_names_the_image_of_any_size(
    image: Any, error: type[Exception], message: str, pixels
) -> None:
    classifier, _ = classifier_over_fake(any_size_manifest())
    with pytest.raises(error) as raised:
        classifier.predict([pixels(1)[0], image])
    assert message in str(raised.value)


def test_a_batch_of_any_size_holds_one_size() -> None:
    entry = any_size_manifest().input
    batch = batch_from_images(entry, faces((20, 30), (20, 30)))
    assert (batch.dtype, batch.shape) == (np.uint8, (2, 20, 30, 3))
    with pytest.raises(
        InputError, match="images of one size, not 20x30 and 21x30 and 22x30; put them into several"
    ):
        batch_from_images(entry, faces((20, 30), (22, 30), (21, 30)))


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_pixels_at_the_models_size_become_what_the_artifact_takes(preprocessing: str) -> None:
    made = Preprocessing.named(preprocessing, size=(128, 96))
    image = np.random.default_rng(1).integers(0, 256, (300, 222, 3), dtype=np.uint8)
    pixels = np.stack([made.pixels(image)])
    entries = {
        name: InputEntry(name="image", dtype=dtype, preprocessing=made, any_size=name == "any")
        for name, dtype in (("float", "float32"), ("bytes", "uint8"), ("any", "uint8"))
    }
    np.testing.assert_array_equal(
        input_from_pixels(entries["float"], pixels), made.normalise(pixels)
    )
    np.testing.assert_array_equal(input_from_pixels(entries["bytes"], pixels), pixels)
    for profile, times in ((None, 2), (msgspec.structs.replace(PROFILE, max_size=(150, 300)), 1)):
        [fed] = input_from_pixels(entries["any"], pixels, profile=profile)
        assert fed.shape[:2] == tuple(times * side for side in made.content_size)
        assert fed.flags.c_contiguous
        np.testing.assert_array_equal(made.pixels(fed), pixels[0])


def test_only_a_runtime_of_an_engine_has_a_profile() -> None:
    manifest = any_size_manifest(engine=True)
    assert profile_of(manifest, "tensorrt-rtx") == PROFILE
    assert profile_of(manifest, "tensorrt") is None
    assert profile_of(manifest, "onnxruntime") is None
