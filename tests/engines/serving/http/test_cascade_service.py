"""A cascade as a service on a socket, with two real models."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, MotivNetError
from motivnet_engines.inference.cascade import Cascade
from motivnet_engines.inference.escalation import Escalation, escalation_of_artifact
from motivnet_engines.runtimes.fake import FakeRuntime
from motivnet_engines.serving.http.server import HttpService, open_service
from motivnet_engines.serving.settings import ServeSettings


@pytest.fixture(scope="module")
def escalation(cascade_folder: Path) -> Escalation:
    found = escalation_of_artifact(open_artifact(cascade_folder))
    assert found is not None
    return found


@pytest.fixture
def service(cascade_folder: Path, full_artifact: Path) -> Iterator[HttpService]:
    service = open_service(
        cascade_folder,
        ServeSettings(port=0, max_delay_ms=20.0),
        escalate=full_artifact,
        runtime="openvino",
        threads=1,
    )
    yield service
    service.app.state.service.close(timeout=10)
    service.classifier.close()
    service.listener.close()


def test_requests_of_one_batch_are_answered_by_whom_they_should(
    service: HttpService,
    escalation: Escalation,
    full_artifact: Path,
    drawn_folder: Path,
    running: Callable[..., AbstractContextManager[None]],
) -> None:
    paths = sorted(drawn_folder.rglob("*.png"))[:24]
    with (
        running(service.app, service.listener, connections=16),
        httpx.Client(base_url=service.url, timeout=60) as client,
    ):
        assert client.get("/readyz").json() == {"status": "ok"}

        def face_of(path: Path) -> dict:
            headers = {"Content-Type": "image/png"}
            answer = client.post("/v1/predict", content=path.read_bytes(), headers=headers)
            assert answer.status_code == 200, answer.text
            [face] = answer.json()["images"][0]["faces"]
            return face

        with ThreadPoolExecutor(8) as pool:
            faces = list(pool.map(face_of, paths))
        model = client.get("/v1/model").json()
        metrics = client.get("/metrics").text
    assert isinstance(service.classifier, Cascade)
    own = service.classifier.student.predict(paths)
    asked = service.classifier.full.predict(paths)
    by_student = [one.confidence >= escalation.threshold for one in own]
    assert 0 < sum(by_student) < 24
    for face, mine, other, kept in zip(faces, own, asked, by_student, strict=True):
        assert face["answered_by"] == ("student" if kept else "full")
        assert face["probabilities"] == (mine if kept else other).probabilities
    described = model["escalation"]
    assert described["model"] == full_artifact.name
    assert described["threshold"] == escalation.threshold
    assert described["student_share"] == escalation.student_share
    counts = dict(re.findall(r'motivnet_answered_total\{by="(\w+)"\} (\S+)', metrics))
    assert counts == {"student": f"{sum(by_student)}.0", "full": f"{24 - sum(by_student)}.0"}


def test_a_service_without_a_cascade_says_null_and_counts_nobody(make_client, photo) -> None:
    client = make_client()
    [face] = client.predict(photo).json()["images"][0]["faces"]
    assert face["answered_by"] is None
    assert client.get("/v1/model").json()["escalation"] is None
    assert not re.search(r"motivnet_answered_total\{", client.get("/metrics").text)


def test_a_service_that_cannot_open_the_full_model_leaves_its_port(
    cascade_folder: Path, fp32_artifact: Path
) -> None:
    with pytest.raises(MotivNetError, match="is not the model that"):
        open_service(cascade_folder, ServeSettings(port=0), escalate=fp32_artifact)


def test_the_student_is_closed_if_the_full_model_does_not_open(
    cascade_folder: Path, full_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motivnet_engines.inference import classifier

    opened: list[FakeRuntime] = []

    def open_first(artifact, **_: object) -> FakeRuntime:
        if opened:
            raise ConfigError("no second one")
        opened.append(FakeRuntime(artifact.manifest))
        return opened[0]

    monkeypatch.setattr(classifier, "open_runtime", open_first)
    with pytest.raises(ConfigError, match=r"full.*no second one"):
        Cascade.open(cascade_folder, full_artifact)
    assert opened[0].closed
