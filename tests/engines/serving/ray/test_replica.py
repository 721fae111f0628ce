"""A replica by itself, without a cluster."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.requests import Request

from motivnet.errors import ArtifactError, MotivNetError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.ray.reading import ReadingOptions
from motivnet_engines.serving.settings import ServeSettings

if TYPE_CHECKING:
    from motivnet_engines.serving.ray.application import Replica

# Ray Serve's own models, while it is imported.
pytestmark = pytest.mark.filterwarnings("ignore:.*Extra keys. 'update_type'.*:DeprecationWarning")
RUNTIME = "openvino"
"""It gives each input of a batch the bits that it has alone, so that batches are used."""


def request(path: str, body: bytes = b"", *, client: str = "127.0.0.1", **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    named = {
        "content-type": "image/png",
        "content-length": str(len(body)),
        "host": "localhost",
        **headers,
    }
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]
    method = "POST" if body else "GET"
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": raw,
        "client": (client, 5),
    }
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
    options = ReadingOptions(
        artifact=str(fp32_artifact), runtime=RUNTIME, threads=1, no_detect=True
    )
    from motivnet_engines.serving.ray.application import Replica

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
    with EmotionClassifier.open(
        fp32_artifact, runtime=RUNTIME, threads=1, batch_size=1
    ) as classifier:
        expected = [prediction.to_dict() for prediction in classifier.predict(photos)]
    assert len({json.dumps(one) for one in expected}) == len(photos)
    assert [(status, answer["images"][0]["faces"]) for status, answer in found] == [
        (200, [one]) for one in expected
    ]


def test_an_image_that_cannot_be_read_spoils_no_other_of_its_batch(
    replica: Replica, unique_photo: Callable[[int], bytes]
) -> None:
    bodies = [unique_photo(1), b"a text", unique_photo(2)]
    found = answers(replica, [request("/v1/predict", body) for body in bodies])
    assert [status for status, _ in found] == [200, 422, 200]


def test_a_request_whose_deadline_cannot_be_met_is_refused(
    replica: Replica, unique_photo: Callable[[int], bytes]
) -> None:
    [(status, answer)] = answers(
        replica, [request("/v1/predict", unique_photo(1), x_deadline_ms="50")]
    )
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
    assert (status, description["name"], description["runtime"]) == (
        200,
        fp32_artifact.name,
        RUNTIME,
    )
    assert description["batching"]["max_size"] > 1


TOKEN = "a-token-of-enough-letters"


@pytest.fixture(scope="module")
def make_replica(fp32_artifact: Path) -> Callable[..., Replica]:
    options = ReadingOptions(
        artifact=str(fp32_artifact), runtime="onnxruntime", threads=1, no_detect=True
    )
    from motivnet_engines.serving.ray.application import Replica

    return lambda **settings: Replica(options, ServeSettings(**settings))


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({}, 200),
        ({"host": "127.0.0.1:8000"}, 200),
        ({"client": "::ffff:127.0.0.1"}, 200),
        ({"client": "192.0.2.7"}, 403),
        ({"client": "192.0.2.7", "host": "localhost"}, 403),
        ({"host": "evil.example"}, 403),
        ({"host": "localhost@evil.example"}, 403),
    ],
)
def test_without_a_token_only_clients_of_the_machine_itself_are_answered(
    make_replica: Callable[..., Replica], options: dict[str, str], status: int
) -> None:
    [(found, answer)] = answers(make_replica(), [request("/v1/model", **options)])
    assert found == status
    assert status == 200 or answer["error"]["code"] == "forbidden"


@pytest.mark.parametrize(
    ("options", "status"),
    [
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        (
            {"authorization": f"Bearer {TOKEN}", "client": "192.0.2.7", "host": "emotions.example"},
            200,
        ),
        ({"authorization": "Bearer another-token-here"}, 401),
        ({}, 401),
    ],
)
def test_with_a_token_everybody_needs_it(
    make_replica: Callable[..., Replica], options: dict[str, str], status: int
) -> None:
    replica = make_replica(token=TOKEN)
    for path in ("/v1/model", "/v1/other"):
        [(found, answer)] = answers(replica, [request(path, **options)])
        assert found == (404 if status == 200 and path == "/v1/other" else status)
        assert found != 401 or answer["error"]["code"] == "unauthorised"


@pytest.mark.parametrize(
    "headers", [{"origin": "http://evil.example"}, {"sec_fetch_site": "cross-site"}]
)
def test_a_page_of_another_site_may_not_ask(
    make_replica: Callable[..., Replica], headers: dict[str, str], photo: bytes
) -> None:
    [(status, answer)] = answers(make_replica(), [request("/v1/predict", photo, **headers)])
    assert (status, answer["error"]["code"]) == (403, "forbidden")


def test_a_request_has_no_more_headers_than_the_service_takes(
    make_replica: Callable[..., Replica],
) -> None:
    many = {f"x_{number}": "1" for number in range(70)}
    [(status, answer)] = answers(make_replica(), [request("/v1/model", **many)])
    assert (status, answer["error"]["code"]) == (431, "too_many_headers")


def test_every_answer_has_the_headers_of_the_service(make_replica: Callable[..., Replica]) -> None:
    replica = make_replica()
    for path in ("/v1/model", "/v1/other"):
        response = asyncio.run(replica(request(path, x_request_id="mine.1")))
        assert response.headers["x-request-id"] == "mine.1"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'self'")
