"""The Ray Serve application on a real cluster, and its arguments."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from motivnet.errors import ArtifactError, ConfigError, MotivNetError
from motivnet_engines.inference.classifier import EmotionClassifier

pytestmark = [
    pytest.mark.ray,
    pytest.mark.timeout(180),
    # Ray Serve's own models, while it is imported.
    pytest.mark.filterwarnings("ignore:.*Extra keys. 'update_type'.*:DeprecationWarning"),
]
_PATIENCE = 60.0
ARGUMENTS: dict[str, Any] = {
    "runtime": "onnxruntime",
    "threads": 1,
    "replicas": 2,
    "cpus": 0.5,
    "no_detect": True,
}


@pytest.fixture(scope="module")
def address(cluster: str) -> Iterator[str]:
    """Where Ray Serve listens."""
    from ray import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serve.start(http_options=serve.HTTPOptions(host="127.0.0.1", port=port))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


@pytest.fixture(scope="module")
def service(address: str, fp32_artifact: Path) -> str:
    """The address of an application of two replicas."""
    from ray import serve

    from motivnet_engines.serving.ray.application import application

    serve.run(application(fp32_artifact, **ARGUMENTS), name="motivnet", route_prefix="/")
    return address


@pytest.fixture(scope="module")
def classifier(fp32_artifact: Path) -> Iterator[EmotionClassifier]:
    with EmotionClassifier.open(
        fp32_artifact, runtime="onnxruntime", threads=1, batch_size=1
    ) as opened:
        yield opened


def answered(client: httpx.Client, path: Path) -> dict[str, Any]:
    """Send a request as a client does: again, if it met a dying replica."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            response = client.post(
                "/v1/predict", content=path.read_bytes(), headers={"Content-Type": "image/png"}
            )
        except httpx.TransportError:
            response = httpx.Response(503)
        if response.status_code < 500:
            return {"status": response.status_code, **response.json()}
        assert time.monotonic() < end, response.text
        time.sleep(0.05)


def test_a_killed_replica_costs_no_image_its_answer(
    service: str, classifier: EmotionClassifier, photos: Path, processes_named
) -> None:
    paths = sorted(photos.iterdir())
    with httpx.Client(base_url=service, timeout=30) as client, ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(answered, client, path) for path in paths]
        while sum(future.done() for future in futures) < len(futures) // 4:
            time.sleep(0.005)
        [victim, _] = processes_named("ray::ServeReplica")
        victim.send_signal(signal.SIGKILL)
        done_at_death = sum(future.done() for future in futures)
        answers = [future.result() for future in futures]
    assert done_at_death < len(paths)
    for path, answer in zip(paths, answers, strict=True):
        try:
            [expected] = classifier.read(path)
        except MotivNetError:
            assert (answer["status"], answer["error"]["code"]) in (
                (422, "bad_image"),
                (400, "bad_request"),
            )
        else:
            [image] = answer["images"]
            assert image["faces"] == [face.to_dict() for face in expected.faces]
            assert (image["width"], image["height"], image["error"]) == (
                expected.width,
                expected.height,
                None,
            )


def test_an_image_of_several_that_cannot_be_read_has_an_error_of_its_own(
    service: str, classifier: EmotionClassifier, photos: Path
) -> None:
    good, bad = photos / "0000.png", photos / "0007_text.png"
    files = [("a", (path.name, path.read_bytes(), "image/png")) for path in (good, bad, good)]
    first, second, third = httpx.post(f"{service}/v1/predict", files=files).json()["images"]
    assert [image["name"] for image in (first, second, third)] == [good.name, bad.name, good.name]
    assert second["error"]["code"] == "bad_image"
    assert second["faces"] == []
    expected = [face.to_dict() for face in classifier.read(good)[0].faces]
    assert first["faces"] == third["faces"] == expected


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status", "code"),
    [
        ("POST", "/v1/predict", b"a text", "image/png", 422, "bad_image"),
        ("POST", "/v1/predict", b"", "image/png", 400, "bad_request"),
        ("POST", "/v1/predict", b"{}", "application/json", 400, "bad_request"),
        ("POST", "/v1/predict", b"a text", "text/plain", 415, "wrong_type"),
        ("POST", "/v1/predict", b"\0" * 20_000_001, "image/png", 413, "too_large"),
        ("GET", "/v1/predict", b"", "image/png", 405, "wrong_method"),
        ("POST", "/v1/models", b"", "image/png", 404, "not_found"),
    ],
)
def test_what_is_wrong_with_a_request_is_said_as_the_service_on_one_machine_says_it(
    service: str, method: str, path: str, content: bytes, kind: str, status: int, code: str
) -> None:
    response = httpx.request(
        method, f"{service}{path}", content=content, headers={"Content-Type": kind}
    )
    assert (response.status_code, response.json()["error"]["code"]) == (status, code)


def test_the_model_is_described(service: str, classifier: EmotionClassifier) -> None:
    description = httpx.get(f"{service}/v1/model").json()
    assert description["labels"] == list(classifier.labels)
    assert description["runtime"] == "onnxruntime"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"detect": "false"}, "there is no argument detect; the arguments are artifact, runtime"),
        ({"replicas": "two"}, "replicas: Expected `int`, got `str`; the arguments are"),
        ({"cpus": "nan"}, "cpus: Expected `float` > 0.0"),
        ({"embeddings": True}, "there is no argument embeddings"),
        ({"replicas": 3, "max_replicas": 2}, "max_replicas 2 is below replicas 3"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    arguments: dict[str, Any], message: str, fp32_artifact: Path
) -> None:
    from motivnet_engines.serving.ray.application import application

    with pytest.raises(ConfigError, match=message):
        application(fp32_artifact, **arguments)


def test_a_detector_that_cannot_be_had_is_one_line_of_serve_run_before_ray_starts(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "ray.serve.scripts",
        "run",
        "motivnet_engines.serving.ray.application:build",
    ]
    words = [f"artifact={fp32_artifact}", f"detector={tmp_path / 'none.onnx'}"]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    [error] = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
    assert "none.onnx does not exist" in error
    assert "Traceback" not in done.stdout + done.stderr


def test_the_token_is_read_where_the_application_is_built(
    fp32_artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from motivnet_engines.serving.ray.application import application

    file = tmp_path / "token"
    file.write_text("short")
    with pytest.raises(ConfigError, match="holds no token: a token is 16 to 1024"):
        application(fp32_artifact, token_file=file, **ARGUMENTS)
    monkeypatch.setenv("MOTIVNET_TOKEN", "b" * 32)
    built = application(fp32_artifact, **ARGUMENTS)
    _, settings = built._bound_deployment.init_args
    assert settings.token == "b" * 32


def test_a_folder_that_is_no_artifact_is_refused_before_anything_starts(tmp_path: Path) -> None:
    from motivnet_engines.serving.ray.application import application

    with pytest.raises(ArtifactError, match="is not an artifact"):
        application(tmp_path)


def test_a_replica_is_added_under_load(
    address: str,
    fp32_artifact: Path,
    photos: Path,
    processes_named: Callable[[str], list[psutil.Process]],
) -> None:
    from ray import serve

    from motivnet_engines.serving.ray.application import build

    # As strings, which is how ``serve run`` gives them.
    words = {
        "runtime": "onnxruntime",
        "threads": "1",
        "cpus": "0.5",
        "no_detect": "true",
        "artifact": fp32_artifact,
    }
    scaling = {"replicas": "1", "max_replicas": "2", "ongoing": "1", "upscale_delay_s": "0"}
    serve.run(build(words | scaling), name="scaled", route_prefix="/scaled")
    title = "ray::ServeReplica:scaled"
    before = processes_named(title)
    end = time.monotonic() + _PATIENCE
    with (
        httpx.Client(base_url=f"{address}/scaled", timeout=30) as client,
        ThreadPoolExecutor(4) as pool,
    ):
        while len(processes_named(title)) < 2:
            assert time.monotonic() < end, "no second replica was started"
            found = list(pool.map(answered, [client] * 8, [photos / "0000.png"] * 8))
            assert {one["status"] for one in found} == {200}
    assert len(before) == 1
