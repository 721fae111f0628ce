"""Graphs that resize their input, in every runtime and the real compiler."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from motivnet.artifact import Artifact
from motivnet.artifact.engine_entry import ShapeProfile
from motivnet.artifact.manifest import InputEntry
from motivnet.config import ModelConfig
from motivnet.errors import ParityError
from motivnet.images import read_image
from motivnet.model import MotivNet, build_model
from motivnet.parity import AttentionForm, Precision
from motivnet.preprocess import PREPROCESSING_NAMES, Preprocessing
from motivnet.synthetic import synthetic_faces
from motivnet_engines.build.builder import engine_from_onnx
from motivnet_engines.build.options import EngineOptions
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_export import fallback, torch_to_onnx
from motivnet_export.build import build_artifact
from motivnet_export.graph import check_onnx, save_onnx, summarise
from motivnet_export.precision import apply_precision
from motivnet_export.request import BuildRequest, InputForm
from motivnet_export.torch_to_onnx import DeployedModel, onnx_from_model

SIZE = (128, 96)
WHOLE_QUOTIENTS = [
    (128, 96),
    (256, 192),
    (384, 288),
    (512, 384),
    (1024, 768),
    (128, 288),
    (640, 96),
]
OTHER_SIZES = [
    (1, 1),
    (2, 3),
    (16, 16),
    (17, 31),
    (127, 95),
    (129, 97),
    (64, 48),
    (53, 1),
    (16, 2160),
    (1080, 1920),
]

SAME_PIXELS, ONE_LEVEL = 1e-3, 0.02
"""Largest differences of the sensitive model's logits: rounding of float32, and one pixel in eight
that differs by one grey level."""

Pixels = NDArray[np.uint8]
Resizer = Callable[[Pixels], NDArray[np.float32]]


def noise(size: tuple[int, int], seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)


def gradient(size: tuple[int, int]) -> Pixels:
    return np.asarray(
        cv2.resize(noise((9, 7)), size[::-1], interpolation=cv2.INTER_CUBIC), np.uint8
    )


def entry_of(preprocessing: str) -> InputEntry:
    return InputEntry(
        name="image",
        dtype="uint8",
        preprocessing=Preprocessing.named(preprocessing, size=SIZE),
        any_size=True,
    )


@pytest.fixture(scope="module")
def sensitive_model(small_config: ModelConfig) -> Callable[[], MotivNet]:
    """A function that gives a small model whose logits depend on its image.

    Those of a random model hardly do. Here the mean over faces is taken away and the rest is
    enlarged to logits of -1 to 1, which change their order when a face moves by a few pixels.
    """

    def make() -> MotivNet:
        model = build_model(small_config, seed=1)
        faces = np.stack(synthetic_faces(7, seed=0, size=SIZE))
        stretch = Preprocessing.named("stretch", size=SIZE)
        with torch.inference_mode():
            logits, _ = model.logits_and_embedding(torch.from_numpy(stretch.normalise(faces)))
        gain = 1 / (logits - logits.mean(dim=0)).abs().max()
        with torch.no_grad():
            model.decoder.group_weight.mul_(gain)
            model.decoder.group_bias.copy_(gain * (model.decoder.group_bias - logits.mean(dim=0)))
        return model

    return make


@pytest.fixture(scope="module")
def sensitive_checkpoint(
    saved: Callable[..., Path], sensitive_model: Callable[[], MotivNet]
) -> Path:
    return saved(sensitive_model())


@pytest.fixture(scope="module")
def graph(
    tmp_path_factory: pytest.TempPathFactory,
    sensitive_model: Callable[[], MotivNet],
    export: Callable[..., ir.Model],
) -> Callable[[str, bool], Path]:
    """A function that gives the FP32 graph of a preprocessing, for any size or the model's."""
    folder = tmp_path_factory.mktemp("graphs")

    @functools.cache
    def exported(preprocessing: str, any_size: bool) -> Path:
        path = folder / f"{preprocessing}-{any_size}.onnx"
        model = export(
            sensitive_model(),
            attention="decomposed",
            input_dtype="uint8",
            any_size=any_size,
            preprocessing=Preprocessing.named(preprocessing, size=SIZE),
        )
        save_onnx(model, path)
        return path

    return exported


@pytest.fixture(scope="module")
def resizer(graph: Callable[[str, bool], Path]) -> Callable[[str], Resizer]:
    """A function that gives the image of a graph before it is normalised."""

    def of_preprocessing(preprocessing: str) -> Resizer:
        model = onnx.load(graph(preprocessing, True))
        last = [node.output[0] for node in model.graph.node if node.op_type in ("Floor", "Pad")][-1]
        model.graph.output.append(
            onnx.helper.make_tensor_value_info(last, onnx.TensorProto.FLOAT, ["n", 3, *SIZE])
        )
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )

        def resized(image: Pixels) -> NDArray[np.float32]:
            return np.moveaxis(session.run([last], {"image": image[None]})[0][0], 0, -1)

        return resized

    return of_preprocessing


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
@pytest.mark.parametrize("picture", [noise, gradient])
def test_the_graph_resizes_to_the_grey_levels_of_the_preprocessing(
    preprocessing: str,
    picture: Callable[[tuple[int, int]], Pixels],
    resizer: Callable[[str], Resizer],
) -> None:
    resized, wanted = resizer(preprocessing), Preprocessing.named(preprocessing, size=SIZE).pixels
    for size in [*WHOLE_QUOTIENTS, *OTHER_SIZES]:
        image = picture(size)
        made = resized(image)
        difference = np.abs(made - wanted(image))
        assert np.array_equal(made, np.rint(made)), size
        assert difference.max() <= 1, size
        assert (difference > 0).mean() <= 0.15, size
        if preprocessing == "stretch" and size in WHOLE_QUOTIENTS:
            assert difference.max() == 0, size


def test_padding_in_the_graph_is_white_and_where_the_preprocessing_puts_it(
    resizer: Callable[[str], Resizer],
) -> None:
    made = resizer("square-white-pad")(np.zeros((50, 70, 3), np.uint8))
    np.testing.assert_array_equal(
        made,
        Preprocessing.named("square-white-pad", size=SIZE).pixels(np.zeros((50, 70, 3), np.uint8)),
    )


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_behind_the_resize_the_graph_is_the_one_for_pixels(
    preprocessing: str, graph: Callable[[str, bool], Path]
) -> None:
    any_size, fixed = (
        Counter(node.op_type for node in onnx.load(graph(preprocessing, form)).graph.node)
        for form in (True, False)
    )
    added = {"Resize": 1, "Shape": 1, "Concat": 1, "Add": 1, "Floor": 1}
    assert any_size - fixed == Counter(added if preprocessing == "stretch" else {**added, "Pad": 1})
    assert not fixed - any_size


def test_batch_height_and_width_are_free_and_named(graph: Callable[[str, bool], Path]) -> None:
    [entry] = onnx.load(graph("stretch", True)).graph.input
    sides = entry.type.tensor_type.shape.dim
    assert [side.dim_param or side.dim_value for side in sides] == ["batch", "height", "width", 3]
    assert entry.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_the_first_node_on_the_pixels_is_a_cast_and_the_resize_does_not_antialias(
    graph: Callable[[str, bool], Path],
) -> None:
    nodes = onnx.load(graph("stretch", True)).graph.node
    assert [
        node.op_type for node in nodes if "image" in node.input and node.op_type != "Shape"
    ] == ["Cast"]
    [resize] = [node for node in nodes if node.op_type == "Resize"]
    attributes = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in resize.attribute
    }
    assert attributes["mode"] == b"linear"
    assert attributes["coordinate_transformation_mode"] == b"half_pixel"
    assert not attributes.get("antialias", 0)
    assert "axes" not in attributes


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
@pytest.mark.parametrize("batch", [1, 3])
def test_logits_are_those_of_the_graph_for_pixels(
    preprocessing: str, batch: int, graph: Callable[[str, bool], Path]
) -> None:
    sessions = [
        onnxruntime.InferenceSession(graph(preprocessing, form), providers=["CPUExecutionProvider"])
        for form in (True, False)
    ]
    for size, tolerance in [
        ((384, 288), SAME_PIXELS),
        ((300, 200), ONE_LEVEL),
        ((33, 400), ONE_LEVEL),
    ]:
        images = np.stack([noise(size, seed) for seed in range(batch)])
        pixels = np.stack(
            [Preprocessing.named(preprocessing, size=SIZE).pixels(image) for image in images]
        )
        found, wanted = (
            session.run(["logits"], {"image": fed})[0]
            for session, fed in zip(sessions, (images, pixels), strict=True)
        )
        np.testing.assert_allclose(found, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_the_gates_enlarged_pixels_give_the_pixels_back_and_other_centres_would_not(
    preprocessing: str, resizer: Callable[[str], Resizer]
) -> None:
    made = Preprocessing.named(preprocessing, size=SIZE)
    pixels = made.pixels(noise((200, 150)))
    [enlarged] = input_from_pixels(entry_of(preprocessing), pixels[None])
    assert enlarged.shape[:2] == tuple(2 * side for side in made.content_size)
    np.testing.assert_array_equal(made.pixels(enlarged), pixels)
    np.testing.assert_array_equal(resizer(preprocessing)(enlarged), pixels)
    aligned = resize_with_corners_aligned(
        torch.from_numpy(enlarged).float().permute(2, 0, 1)[None], made
    )
    difference = np.abs(np.moveaxis(aligned.numpy()[0], 0, -1) - made.content(pixels))
    assert difference.max() > 20
    assert difference.mean() > 2


def resize_with_corners_aligned(image: Tensor, preprocessing: Preprocessing) -> Tensor:
    return functional.interpolate(
        image, size=preprocessing.content_size, mode="bilinear", align_corners=True
    )


@pytest.mark.parametrize(
    ("precision", "attention"),
    [("fp16", "fused"), ("bf16", "decomposed"), ("fp32", "fused")],
)
def test_every_precision_and_form_of_attention_exports_to_valid_onnx(
    precision: Precision,
    attention: AttentionForm,
    tmp_path: Path,
    small_config: ModelConfig,
    export: Callable[..., ir.Model],
) -> None:
    model = build_model(small_config, seed=1)
    apply_precision(model, precision)
    preprocessing = Preprocessing.named("square-white-pad", size=SIZE)
    graph = export(
        model, attention=attention, input_dtype="uint8", preprocessing=preprocessing, any_size=True
    )
    save_onnx(graph, tmp_path / "model.onnx")
    check_onnx(tmp_path / "model.onnx")
    assert bool(summarise(graph).attention_nodes) == (attention == "fused")
    resize = next(node for node in graph.graph if node.op_type == "Resize")
    assert resize.outputs[0].shape is not None
    assert list(resize.outputs[0].shape)[1:] == [3, 96, 96]


@pytest.fixture(scope="module")
def artifact(
    tmp_path_factory: pytest.TempPathFactory, small_checkpoint: Path, sensitive_checkpoint: Path
) -> Callable[..., Artifact]:
    """A function that builds an artifact once: of the sensitive model in FP32, else the small."""
    made: dict[tuple[object, ...], Artifact] = {}

    def built(
        form: InputForm = "image",
        precision: Precision = "fp32",
        *,
        preprocessing: str = "stretch",
        attention: str = "auto",
    ) -> Artifact:
        key = (form, precision, preprocessing, attention)
        if key not in made:
            made[key] = build_artifact(
                BuildRequest(
                    checkpoint=sensitive_checkpoint if precision == "fp32" else small_checkpoint,
                    out=tmp_path_factory.mktemp("artifact") / "small",
                    precision=precision,
                    attention=attention,
                    input=form,
                    preprocess=preprocessing,
                    num_images=2,
                    strict=True,
                )
            )
        return made[key]

    return built


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_a_build_compares_the_resize_in_every_runtime(
    preprocessing: str, artifact: Callable[..., Artifact]
) -> None:
    rows = [
        row
        for row in artifact(preprocessing=preprocessing).manifest.parity.comparisons
        if row.evidence == "graph"
    ]
    assert {row.backend for row in rows} == {"onnxruntime", "openvino"}
    assert max(row.logit_max_abs for row in rows) < SAME_PIXELS


def test_a_resize_with_other_centres_does_not_pass(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sensitive_checkpoint: Path
) -> None:
    monkeypatch.setattr(torch_to_onnx, "_resize", resize_with_corners_aligned)
    monkeypatch.setattr(torch_to_onnx, "RESIZE_TRANSLATION", {})
    monkeypatch.setattr(fallback, "onnx_from_model", onnx_from_model)  # not a shared export
    request = BuildRequest(
        checkpoint=sensitive_checkpoint, out=tmp_path / "small", input="image", strict=True
    )
    with pytest.raises(ParityError, match="logit_cosine"):
        build_artifact(request)


def _predicted(folder: Path, runtime: str, images: list[Pixels]) -> NDArray[np.float64]:
    with EmotionClassifier.open(folder, runtime=runtime, threads=1) as classifier:
        return np.array(
            [list(prediction.probabilities.values()) for prediction in classifier.predict(images)]
        )


@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_drawn_faces_of_several_sizes_get_the_predictions_of_the_artifact_for_pixels(
    runtime: str, preprocessing: str, artifact: Callable[..., Artifact]
) -> None:
    sizes = [(256, 192), (301, 260), SIZE, (77, 500), (301, 260), (384, 288)]
    images = [synthetic_faces(1, seed=seed, size=size)[0] for seed, size in enumerate(sizes)]
    found = _predicted(artifact("image", preprocessing=preprocessing).folder, runtime, images)
    wanted = _predicted(artifact("uint8", preprocessing=preprocessing).folder, runtime, images)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ONE_LEVEL / 4)
    assert np.ptp(found, axis=0).max() > 0.1


@pytest.mark.shared
@pytest.mark.parametrize("preprocessing", PREPROCESSING_NAMES)
def test_photos_get_the_predictions_of_the_artifact_for_pixels(
    preprocessing: str, artifact: Callable[..., Artifact], shared_dir: Path
) -> None:
    images = [
        read_image(path) for path in sorted((shared_dir / "data" / "london").glob("*.jpg"))[:6]
    ]
    images += [
        read_image(path)
        for path in sorted((shared_dir / "data" / "expressions").glob("val/*/*.jpg"))[::40]
    ]
    assert len({image.shape for image in images}) > 1
    found = _predicted(artifact("image", preprocessing=preprocessing).folder, "onnxruntime", images)
    wanted = _predicted(
        artifact("uint8", preprocessing=preprocessing).folder, "onnxruntime", images
    )
    np.testing.assert_allclose(found, wanted, rtol=0, atol=ONE_LEVEL / 4)
    second, first = np.sort(wanted, axis=1)[:, -2:].T
    clear = first - second > ONE_LEVEL / 2
    assert clear.sum() > len(images) / 2
    np.testing.assert_array_equal(found.argmax(axis=1)[clear], wanted.argmax(axis=1)[clear])


ENGINES: list[tuple[Precision, str, str, tuple[str, ...]]] = [
    ("fp16", "stretch", "auto", ("86", "89")),
    ("fp16", "stretch", "decomposed", ("86",)),
    ("bf16", "square-white-pad", "auto", ("86",)),
    ("fp32", "stretch", "auto", ("86",)),
]


@pytest.mark.parametrize(("precision", "preprocessing", "attention", "targets"), ENGINES)
def test_the_real_compiler_takes_any_size_and_keeps_attention_fused(
    precision: Precision,
    preprocessing: str,
    attention: str,
    targets: tuple[str, ...],
    artifact: Callable[..., Artifact],
    tmp_path: Path,
) -> None:
    pytest.importorskip("tensorrt_rtx")
    opened = artifact("image", precision, preprocessing=preprocessing, attention=attention)
    built = engine_from_onnx(
        opened.folder / opened.manifest.model,
        tmp_path / "model.engine",
        manifest=opened.manifest,
        options=EngineOptions(backend="tensorrt-rtx", compute_capabilities=targets),
        on_message=lambda _: None,
    )
    assert built.profile == ShapeProfile(
        min_batch=1,
        opt_batch=1,
        max_batch=8,
        min_size=(16, 16),
        opt_size=SIZE,
        max_size=(2160, 3840),
    )
    assert (tmp_path / "model.engine").stat().st_size > 50_000
    if opened.manifest.attention == "fused":
        assert built.report.attention_fused == built.report.attention_layers == 2
    # No copy of the largest image in float32, which alone would take 8 * 2160 * 3840 * 3 * 4 bytes.
    assert built.report.activation_bytes is not None
    assert built.report.activation_bytes < 64 << 20


def test_the_model_for_any_size_says_what_is_free(small_config: ModelConfig) -> None:
    deployed = DeployedModel(
        build_model(small_config),
        input_dtype="uint8",
        any_size=True,
        preprocessing=Preprocessing.named("stretch", size=SIZE),
    )
    assert deployed.free_axes() == {0: "batch", 1: "height", 2: "width"}
    assert deployed.example(SIZE).shape[1:3] != SIZE
