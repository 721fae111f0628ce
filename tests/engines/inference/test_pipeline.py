"""The pipeline: order, bounded memory, failures, and preparation while the runtime works."""

from __future__ import annotations

import gc
import io
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from PIL import Image

from motivnet.errors import ImageError, RuntimeUnavailableError
from motivnet.prediction import Box
from motivnet.runtime import Arrays
from motivnet.synthetic import draw_face
from motivnet_engines import EmotionClassifier, ImageResult
from motivnet_engines.faces.detector import Face
from motivnet_engines.inference import pipeline
from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest

WAIT = 30.0


class Halves:
    """A detector that finds as many faces as the first pixel's red says."""

    def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
        side = min(pixels.shape[:2]) // 2
        boxes = [
            Box(x=float(index), y=0.0, width=side, height=side)
            for index in range(int(pixels[0, 0, 0]))
        ]
        return tuple(Face(box=box, score=0.9) for box in boxes)


class WaitingRuntime(FakeRuntime):
    """Its first call returns only when it is let go."""

    def __init__(self, manifest: Any) -> None:
        super().__init__(manifest)
        self.let_go = threading.Event()

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        assert self.let_go.wait(WAIT), "nothing happened while the runtime worked"
        return super().run(inputs)


def pictures(faces: list[int]) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    images = [generator.integers(0, 256, (24, 24, 3), np.uint8) for _ in faces]
    for image, count in zip(images, faces, strict=True):
        image[0, 0, 0] = count
    return images


def classifier_over(runtime: FakeRuntime | None = None, **options: Any) -> EmotionClassifier:
    manifest = fake_manifest()
    return EmotionClassifier(runtime or FakeRuntime(manifest), manifest, **options)


def test_every_face_of_every_image_comes_back_to_its_image() -> None:
    counts = [1, 0, 3, 0, 0, 2, 9, 1]
    images = pictures(counts)
    results = classifier_over(detector=Halves(), batch_size=4).read(images)
    assert [len(result.faces) for result in results] == counts
    alone = [classifier_over(detector=Halves()).read(image)[0] for image in images]
    assert [result.faces for result in results] == [result.faces for result in alone]
    assert [face.box.x for face in results[2].faces if face.box] == [0.0, 1.0, 2.0]
    assert results[2].faces[0].score == 0.9


def test_images_without_a_face_are_results() -> None:
    results = classifier_over(detector=Halves(), batch_size=1).read(pictures([0] * 20))
    assert [result.faces for result in results] == [()] * 20
    assert {(result.width, result.height) for result in results} == {(24, 24)}


def test_without_a_detector_an_image_is_one_face_without_a_box() -> None:
    [result] = classifier_over().read(pictures([5])[0])
    assert [face.box for face in result.faces] == [None]


def test_predict_takes_each_image_as_a_face_although_there_is_a_detector() -> None:
    images = pictures([0, 4])
    assert classifier_over(detector=Halves()).predict(images) == classifier_over().predict(images)


def test_only_a_few_images_are_held_however_many_there_are() -> None:
    begun = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal begun
        while True:
            begun += 1
            yield pictures([1])[0]

    stream = classifier_over(batch_size=2).stream(endless())
    for number, _ in enumerate(itertools.islice(stream, 50)):
        assert begun - number < 30


def test_large_pictures_of_a_model_that_resizes_itself_are_not_piled_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pipeline, "_BYTES_PER_GROUP", 1 << 20)
    manifest = fake_manifest(dtype="uint8", max_batch=64)
    manifest = msgspec.structs.replace(
        manifest, input=msgspec.structs.replace(manifest.input, any_size=True)
    )
    runtime = FakeRuntime(manifest)
    classifier = EmotionClassifier(runtime, manifest)
    begun = 0
    picture = np.zeros((200, 200, 3), np.uint8)  # nine of them are a group

    def many() -> Iterator[np.ndarray]:
        nonlocal begun
        for begun in range(1, 101):  # noqa: B007
            yield picture

    for number, _ in enumerate(classifier.stream(many())):
        assert begun - number < 50


def test_images_are_prepared_while_the_runtime_works() -> None:
    runtime = WaitingRuntime(fake_manifest())
    seen = 0

    def images() -> Iterator[np.ndarray]:
        nonlocal seen
        for image in pictures([1] * 6):
            seen += 1
            if seen == 6:  # the first batch of two is in the runtime, and it waits for this
                runtime.let_go.set()
            yield image

    assert len(classifier_over(runtime, batch_size=2).predict(images())) == 6


def test_results_come_while_later_images_are_missing() -> None:
    """A camera gives the next image only when the last answer was looked at."""
    seen: list[int] = []

    def images() -> Iterator[np.ndarray]:
        for number, image in enumerate(pictures([1] * 40)):
            seen.append(number)
            yield image

    stream = classifier_over(batch_size=1).stream(images())
    next(stream)
    assert len(seen) < 40


def test_an_unreadable_image_does_not_stop_the_others() -> None:
    good = pictures([1, 1, 1])
    found = list(
        classifier_over(batch_size=2).outcomes(
            [good[0], b"no image", good[1], Path("nowhere.png"), good[2]]
        )
    )
    assert [type(outcome).__name__ for outcome in found] == [
        "ImageResult", "ImageError", "ImageResult", "FileError", "ImageResult",
    ]  # fmt: skip
    assert str(found[1]).startswith("images[1] is not a JPEG")


def test_stream_raises_at_the_image_that_cannot_be_read() -> None:
    stream = classifier_over(batch_size=1).stream([*pictures([1]), b"no image"])
    assert isinstance(next(stream), ImageResult)
    with pytest.raises(ImageError, match=r"images\[1\] is not"):
        next(stream)


def test_a_failing_runtime_ends_it_all() -> None:
    runtime = FakeRuntime(fake_manifest())
    runtime.close()
    with pytest.raises(RuntimeUnavailableError, match="closed"):
        classifier_over(runtime).predict(pictures([1, 1, 1]))


def threads_end() -> bool:
    deadline = time.monotonic() + WAIT
    while any(thread.name.startswith("motivnet") for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def test_a_stream_that_is_closed_leaves_no_thread() -> None:
    stream = classifier_over(batch_size=1).stream(pictures([1] * 100))
    next(stream)
    assert any(thread.name.startswith("motivnet") for thread in threading.enumerate())
    stream.close()  # type: ignore[attr-defined]
    assert threads_end()


def test_streams_that_are_forgotten_in_cycles_end_whichever_thread_collects_them() -> None:
    """The garbage collector also runs in a pipeline's threads, and closes streams there."""

    class Collecting(Halves):
        def detect(self, pixels: np.ndarray) -> tuple[Face, ...]:
            gc.collect()
            return super().detect(pixels)

    gc.freeze()  # what the other tests left would take the collector most of a minute
    classifier = classifier_over(batch_size=1, detector=Collecting())
    for _ in range(20):
        stream = classifier.stream(pictures([1] * 100))
        next(stream)
        cycle: list[Any] = [stream]
        cycle.append(cycle)
        del stream, cycle
    assert len(classifier.read(pictures([1] * 50))) == 50
    gc.collect()
    gc.unfreeze()
    assert threads_end()


def test_bytes_of_any_kind_are_an_image() -> None:
    buffer = io.BytesIO()
    Image.fromarray(pictures([1])[0]).save(buffer, "PNG")
    data = buffer.getvalue()
    [wanted] = classifier_over().predict(data)
    for same in (bytearray(data), memoryview(data), [bytearray(data)]):
        assert classifier_over().predict(same) == [wanted]


def test_every_public_name_is_there_and_the_package_alone_imports_nothing_heavy() -> None:
    code = (
        "import sys, motivnet_engines\n"
        "assert not {'numpy', 'cv2', 'PIL'} & set(sys.modules), sorted(sys.modules)\n"
        "from motivnet_engines import *\n"
        "assert set(motivnet_engines.__all__) <= set(globals())\n"
        "assert not {'torch', 'onnxruntime', 'openvino'} & set(sys.modules), sorted(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


class SleepingRuntime(FakeRuntime):
    """A GPU as the processor sees it: 25 ms an image in which nothing is asked of the processor."""

    def run(self, inputs: Arrays) -> dict[str, np.ndarray]:
        time.sleep(0.025 * len(inputs["image"]))
        return super().run(inputs)


@pytest.mark.slow
def test_a_folder_of_500_photos_runs_at_the_runtimes_own_throughput(tmp_path: Path) -> None:
    for index in range(500):
        Image.fromarray(draw_face("happiness", seed=index, size=(512, 512))).save(
            tmp_path / f"{index}.jpg"
        )
    paths = sorted(tmp_path.iterdir())
    manifest = fake_manifest()
    runtime = SleepingRuntime(manifest)
    batch = {"image": np.zeros((8, 3, *manifest.input.preprocessing.size), np.float32)}
    start = time.perf_counter()
    for _ in range(20):
        runtime.run(batch)
    own = 160 / (time.perf_counter() - start)
    start = time.perf_counter()
    assert len(EmotionClassifier(runtime, manifest).predict(paths)) == 500
    ratio = 500 / (time.perf_counter() - start) / own
    print(f"{ratio:.1%} of the runtime's own throughput")
    assert ratio >= 0.95
