"""A replica by itself, without Ray."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request

from motivnet.errors import ArtifactError, MotivNetError
from motivnet_engines.classifier import EmotionClassifier
from motivnet_engines.serving.ray.reading import ReadingOptions
from motivnet_engines.serving.ray.replica import Replica
from motivnet_engines.serving.settings import ServeSettings

RUNTIME = "openvino"
"""It gives each input of a batch the bits that it has alone, so that batches are used."""


def request(path: str, body: bytes = b"", **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    named = {"content-type": "image/png", "content-length": str(len(body)), "host": "localhost", **headers}
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    method = "POST" if body else "GET"
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": raw}
    return Request(scope, receive)


def answers(replica: Replica, requests: Sequence[Request]) -> list[tuple[int, dict[str, Any]]]:
    """The status and the JSON of requests that are all made at once."""

    async def made() -> list[tuple[int, dict[str, Any]]]:
        responses = await asyncio.gather(*map(replica, requests))
        return [(response.status_code, json.loads(bytes(response.body))) for response in responses]

    return asyncio.run(made())


@dataclass(kw_only=True)
class Calls:
    """How many faces each call of the classifier had, and what the next ones raise."""

    sizes: list[int] = field(default_factory=list)
    failure: MotivNetError | None = None


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    seen = Calls()
    classify = EmotionClassifier.classify

    def counted(classifier: EmotionClassifier, inputs: Any) -> Any:
        seen.sizes.append(len(inputs))
        if seen.failure is not None:
            raise seen.failure
        return classify(classifier, inputs)

    monkeypatch.setattr(EmotionClassifier, "classify", counted)
    return seen


@pytest.fixture
def replica(fp32_artifact: Path, calls: Calls) -> Replica:
    options = ReadingOptions(artifact=str(fp32_artifact), runtime=RUNTIME, threads=1, no_detect=True)
    opened = Replica(options, ServeSettings(max_delay_ms=200))
    calls.sizes.clear()
    return opened


def test_requests_that_share_calls_get_their_own_answers(
    replica: Replica, calls: Calls, fp32_artifact: Path, unique_photo: Callable[[int], bytes]
) -> None:
    photos = [unique_photo(7_919 * number) for number in range(24)]
    found = answers(replica, [request("/v1/predict", photo) for photo in photos])
    assert len(calls.sizes) < len(photos)
    assert max(calls.sizes) > 1
    with EmotionClassifier.open(fp32_artifact, runtime=RUNTIME, threads=1, batch_size=1) as classifier:
        expected = [prediction.to_dict() for prediction in classifier.predict(photos)]
    assert len({json.dumps(one) for one in expected}) == len(photos)
    assert [(status, answer["images"][0]["faces"]) for status, answer in found] == [(200, [one]) for one in expected]


def test_an_image_that_cannot_be_read_spoils_no_other_of_its_batch(
    replica: Replica, unique_photo: Callable[[int], bytes]
) -> None:
    bodies = [unique_photo(1), b"a text", unique_photo(2)]
    found = answers(replica, [request("/v1/predict", body) for body in bodies])
    assert [status for status, _ in found] == [200, 422, 200]


def test_a_request_whose_deadline_cannot_be_met_is_refused(
    replica: Replica, unique_photo: Callable[[int], bytes]
) -> None:
    [(status, answer)] = answers(replica, [request("/v1/predict", unique_photo(1), x_deadline_ms="50")])
    assert (status, answer["error"]["code"]) == (503, "late")


def test_outputs_that_cannot_be_used_are_an_error_without_the_models_words(
    replica: Replica, calls: Calls, unique_photo: Callable[[int], bytes]
) -> None:
    calls.failure = ArtifactError("/secret/model.onnx gave NaN")
    [(status, answer)] = answers(replica, [request("/v1/predict", unique_photo(1))])
    assert (status, answer["error"]["code"]) == (500, "failed")
    assert "secret" not in answer["error"]["message"]


def test_the_model_has_the_name_of_its_folder(replica: Replica, fp32_artifact: Path) -> None:
    [(status, description)] = answers(replica, [request("/v1/model")])
    assert (status, description["name"], description["runtime"]) == (200, fp32_artifact.name, RUNTIME)
    assert description["batching"]["max_size"] > 1
