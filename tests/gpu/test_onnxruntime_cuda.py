"""ONNX Runtime on the GPU: every matrix product runs there, and is near PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from motivnet.artifact import Artifact
from motivnet.errors import MotivNetError
from motivnet.parity import COMPUTE_DTYPES, Outputs, Precision, compare
from motivnet_engines.runtimes.registry import check_possible, open_backend
from motivnet_engines.runtimes.signature import input_from_pixels
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("gpu"), pytest.mark.timeout(600)]

RUNTIME = "onnxruntime-cuda"
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
FORMS = ("fused", "decomposed")


@pytest.fixture(scope="module")
def graph_of(subject_of: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Artifact]:
    """A function that gives an artifact without an engine; skips if it cannot be opened."""

    def graph(precision: Precision, *, size: str = "tiny", **changes: Any) -> Artifact:
        out = tmp_path_factory.mktemp("graphs") / precision
        request = BuildRequest(
            checkpoint=subject_of(size).checkpoint,
            out=out,
            precision=precision,
            num_images=2,
            **changes,
        )
        artifact = build_artifact(request)
        if artifact.manifest.precision != precision:
            pytest.skip(
                f"{precision} cannot be built here: no runtime shows that the graph is the model"
            )
        try:
            check_possible(RUNTIME, artifact.manifest)
        except MotivNetError as error:
            pytest.skip(str(error))
        return artifact

    return graph


def _near(artifact: Artifact, subject: Any, precision: Precision) -> None:
    entry = artifact.manifest.input
    with open_backend(RUNTIME, artifact) as runtime:
        assert (runtime.name, runtime.compute) == (RUNTIME, COMPUTE_DTYPES[precision])
        rows = [
            runtime.run({entry.name: input_from_pixels(entry, subject.pixels[i : i + 4])})
            for i in range(0, 16, 4)
        ]
    found = compare(
        RUNTIME,
        Outputs(
            logits=np.concatenate([row["logits"] for row in rows]),
            embedding=np.concatenate([row["embedding"] for row in rows]),
            seconds_per_image=0.0,
        ),
        Outputs(
            logits=subject.reference.logits[:16],
            embedding=subject.reference.embedding[:16],
            seconds_per_image=0.0,
        ),
        compute=COMPUTE_DTYPES[precision],
        evidence="runtime",
        precision=precision,
    )
    print(f"\n{precision} {artifact.manifest.attention}: {found}")
    assert found.passed, found.failures


@pytest.mark.parametrize("attention", FORMS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_it_is_near_pytorch(
    precision: Precision, attention: str, graph_of: Any, subject_of: Any
) -> None:
    _near(graph_of(precision, attention=attention), subject_of("tiny"), precision)


@pytest.mark.slow
def test_the_wide_heads_of_the_published_decoder_are_near_pytorch(
    graph_of: Any, subject_of: Any
) -> None:
    """8 heads of 144: see ``_PLAIN_KERNEL`` in ``motivnet_engines.runtimes.cuda_provider``."""
    _near(graph_of("fp16", size="sapiens-0.3b"), subject_of("sapiens-0.3b"), "fp16")


def test_pixels_are_normalised_in_the_graph(graph_of: Any, subject_of: Any) -> None:
    _near(graph_of("fp16", input="uint8"), subject_of("tiny"), "fp16")


def test_threads_get_their_own_answers(graph_of: Any, subject_of: Any) -> None:
    artifact, pixels = graph_of("fp16"), subject_of("tiny").pixels
    entry = artifact.manifest.input
    with open_backend(RUNTIME, artifact) as runtime, ThreadPoolExecutor(8) as threads:

        def logits(index: int) -> Any:
            return runtime.run({entry.name: input_from_pixels(entry, pixels[index % 19][None])})[
                "logits"
            ]

        alone = [logits(index) for index in range(19)]
        together = list(threads.map(logits, range(190)))
    assert all(
        np.allclose(found, alone[index % 19], atol=1e-3) for index, found in enumerate(together)
    )
