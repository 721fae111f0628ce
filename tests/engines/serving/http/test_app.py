from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from motivnet.prediction import Box
from motivnet_engines.faces.detector import Face
from motivnet_engines.faces.yunet import YuNetDetector
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.batching import Batching

Client = Any
ClientMaker = Callable[..., Client]


def predict(client: Client, body: bytes, **headers: str) -> httpx.Response:
    return client.predict(body, headers=headers)


def code_of(response: httpx.Response) -> str:
    error = response.json()["error"]
    assert set(error) == {"code", "message", "request"}
    assert "\n" not in error["message"]
    assert response.headers["x-request-id"] == error["request"]
    return str(error["code"])


def test_an_image_gets_what_the_classifier_says_of_it(
    client: Client, photo: bytes, classifier: EmotionClassifier
) -> None:
    response = predict(client, photo)
    assert response.status_code == 200
    [image] = response.json()["images"]
    assert image["faces"] == [classifier.predict(photo)[0].to_dict()]
    assert (image["name"], image["width"], image["height"], image["error"]) == (None, 10, 12, None)
    assert image["timing"]["prepare_ms"] > 0
    assert response.json()["timing"]["total_ms"] > image["timing"]["prepare_ms"]


def test_several_images_of_a_form_are_answered_in_order(
    client: Client, classifier: EmotionClassifier, unique_photo: Callable[[int], bytes]
) -> None:
    photos = [unique_photo(number) for number in range(5)]
    files = [(f"field{i}", (f"{i}.png", photo, "image/png")) for i, photo in enumerate(photos)]
    response = client.predict(files=files, data={"note": "not an image"})
    images = response.json()["images"]
    assert [image["name"] for image in images] == ["0.png", "1.png", "2.png", "3.png", "4.png"]
    expected = classifier.predict(photos)
    assert [image["faces"] for image in images] == [[face.to_dict()] for face in expected]


def test_an_image_of_several_that_cannot_be_read_has_its_own_error(
    client: Client, photo: bytes
) -> None:
    files = [("a", ("a.png", photo)), ("b", ("b.png", b"no image")), ("c", ("c.png", photo))]
    response = client.predict(files=files)
    assert response.status_code == 200
    images = response.json()["images"]
    assert [image["error"] and image["error"]["code"] for image in images] == [
        None,
        "bad_image",
        None,
    ]
    assert images[1]["faces"] == []
    assert images[1]["error"]["message"].startswith("image 2 'b.png' is not a JPEG")


def test_a_request_without_a_readable_image_is_bad_image(client: Client) -> None:
    files = [("a", ("a.png", b"no image")), ("b", ("b.png", b""))]
    response = client.predict(files=files)
    assert (response.status_code, code_of(response)) == (422, "bad_image")
    assert response.json()["error"]["message"].startswith("image 1 'a.png' is not a JPEG")


def test_the_message_about_one_image_has_the_name_of_its_file(client: Client) -> None:
    response = client.predict(files={"image": ("C:\\faces\\\x1bbroken.jpg", b"\xff\xd8\xff")})
    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("the image 'broken.jpg' is damaged")


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "bad_request"),
        (b"x", {"Content-Type": "text/plain"}, 415, "wrong_type"),
        (b"x", {"Content-Type": ""}, 415, "wrong_type"),
        (b"x", {"Content-Type": "application/x-www-form-urlencoded"}, 415, "wrong_type"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "bad_request"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "bad_request"),
        (b"--b\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "bad_request"),
        (b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "bad_request"),
        (b"x", {"Content-Type": f"multipart/form-data; boundary={'b' * 71}"}, 400, "bad_request"),
        (b"x", {"Content-Encoding": "gzip"}, 415, "wrong_type"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"; filename="a"\r\n\r\nx\r\n--b',
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            "bad_request",
        ),
        (b"x", {"X-Deadline-Ms": "soon"}, 400, "bad_request"),
        (b"x", {"X-Deadline-Ms": "0"}, 400, "bad_request"),
        (b"x", {"X-Deadline-Ms": "1_000"}, 400, "bad_request"),
        (b"x", {"X-Deadline-Ms": "-5"}, 400, "bad_request"),
        (b"\xff\xd8\xff", {}, 422, "bad_image"),
        (b"http://example.org/face.jpg", {}, 422, "bad_image"),
    ],
)
def test_what_is_wrong_with_a_request_is_one_json_error(
    client: Client, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    response = predict(client, body, **headers)
    assert (response.status_code, code_of(response)) == (status, code)


def test_a_path_that_is_not_there_is_a_json_error(client: Client) -> None:
    for path in (
        "/nothing",
        "/v1/predict/",
        "/page/nothing.js",
        "/page/..%2f__init__.py",
        "/v1/models/load",
    ):
        response = client.get(path)
        assert (response.status_code, code_of(response)) == (404, "not_found")


def test_a_method_that_a_path_does_not_take_says_which_it_takes(client: Client) -> None:
    response = client.get("/v1/predict")
    assert (response.status_code, code_of(response), response.headers["allow"]) == (
        405,
        "wrong_method",
        "POST",
    )


def test_a_model_that_fails_is_our_error_and_says_nothing_of_it(
    client: Client, photo: bytes, runtime: Any
) -> None:
    runtime.fails = True
    response = predict(client, photo)
    assert (response.status_code, code_of(response)) == (500, "failed")
    assert "finite" not in response.text
    runtime.fails = False
    assert predict(client, photo).status_code == 200


def test_an_error_of_our_own_is_a_json_error_without_its_text(
    client: Client, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr("motivnet_engines.inference.classifier.prepare_image", broken)
    response = predict(client, photo)
    assert (response.status_code, code_of(response)) == (500, "failed")
    assert "secret" not in response.text


def test_more_images_than_allowed_are_refused(make_client: ClientMaker, photo: bytes) -> None:
    client = make_client(max_images=2)
    assert client.predict(files=[("a", ("a.png", photo))] * 2).status_code == 200
    response = client.predict(files=[("a", ("a.png", photo))] * 3)
    assert (response.status_code, code_of(response)) == (400, "bad_request")


def test_a_body_may_hold_as_many_bytes_as_allowed_and_no_more(
    make_client: ClientMaker, photo: bytes
) -> None:
    assert predict(make_client(max_body_bytes=len(photo)), photo).status_code == 200
    response = predict(make_client(max_body_bytes=len(photo) - 1), photo)
    assert (response.status_code, code_of(response)) == (413, "too_large")


def test_a_body_without_a_length_is_not_read_beyond_the_limit(make_client: ClientMaker) -> None:
    taken = []

    async def endless() -> Any:
        for _ in range(1000):
            taken.append(1)
            yield b"x" * 100

    response = predict(make_client(max_body_bytes=1000), endless())
    assert (response.status_code, code_of(response)) == (413, "too_large")
    assert len(taken) == 11


def test_too_many_headers_are_refused(make_client: ClientMaker, photo: bytes) -> None:
    response = predict(make_client(max_headers=20), photo, **{f"X-{i}": "1" for i in range(20)})
    assert (response.status_code, code_of(response)) == (431, "too_many_headers")


def test_the_deadline_is_met_although_the_runtime_hangs(
    client: Client, photo: bytes, runtime: Any
) -> None:
    runtime.gate.clear()
    response = predict(client, photo, **{"X-Deadline-Ms": "1"})
    runtime.gate.set()
    assert (response.status_code, code_of(response)) == (503, "late")
    assert response.headers["retry-after"] == "1"
    assert predict(client, photo).status_code == 200


def test_a_single_image_is_not_numbered_in_its_error(client: Client) -> None:
    assert (
        predict(client, b"no image")
        .json()["error"]["message"]
        .startswith("the image is not a JPEG")
    )


class Crowd:
    """Finds five faces in everything, of the widths 10 to 6."""

    def detect(self, pixels: Any) -> tuple[Face, ...]:
        del pixels
        return tuple(
            Face(box=Box(x=0, y=0, width=10 - number, height=10), score=0.9) for number in range(5)
        )


def test_of_a_crowd_the_largest_faces_are_answered_and_the_others_counted(
    make_client: ClientMaker, photo: bytes, classifier: EmotionClassifier
) -> None:
    classifier.detector = Crowd()
    for limit, left_out in ((3, 2), (5, 0), (16, 0)):
        [image] = predict(make_client(max_faces=limit), photo).json()["images"]
        assert [face["box"]["width"] for face in image["faces"]] == [10, 9, 8, 7, 6][:limit]
        assert image["faces_left_out"] == left_out


def test_a_detector_is_called_by_its_own_name(
    make_client: ClientMaker, classifier: EmotionClassifier
) -> None:
    classifier.detector = Crowd()
    assert make_client().get("/v1/model").json()["detector"] == "custom"
    classifier.detector.name = "crowd"  # type: ignore[attr-defined]
    assert make_client().get("/v1/model").json()["detector"] == "crowd"
    assert YuNetDetector.name == "yunet"


def test_an_answer_an_error_and_the_log_have_the_same_id_of_a_request(
    client: Client, photo: bytes, runtime: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    answered = predict(client, photo)
    runtime.fails = True
    failed = predict(client, photo)
    ids = [answered.headers["x-request-id"], failed.json()["error"]["request"]]
    assert len(set(ids)) == 2
    own = [record for record in caplog.records if record.name.startswith("motivnet")]
    logged = [(record.getMessage(), record.fields["request"]) for record in own]
    assert logged == [("request", ids[0]), ("a prediction failed", ids[1]), ("request", ids[1])]


@pytest.mark.parametrize(
    ("given", "kept"),
    [("trace-7.a_B", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("ä", False)],
)
def test_a_clients_own_id_is_kept_if_it_is_short_and_plain(
    client: Client, given: str, kept: bool
) -> None:
    answer = client.get("/nothing", headers={"X-Request-Id": given.encode("latin-1")})
    assert (answer.json()["error"]["request"] == given) == kept
    assert (answer.headers["x-request-id"] == given) == kept


def test_the_model_is_described_without_a_path(make_client: ClientMaker) -> None:
    client = make_client(
        batching=Batching(max_size=4, bit_exact=False), max_images=3, deadline_ms=1234
    )
    model = client.get("/v1/model").json()
    assert model["name"] == "fake"
    assert model["labels"][0] == "neutral"
    assert model["batching"] == {"max_size": 4, "bit_exact": False}
    assert model["limits"]["max_images"] == 3
    assert model["limits"]["deadline_ms"] == 1234
    assert model["detector"] is None


def test_health_and_readiness_are_told_apart_while_draining(
    make_client: ClientMaker, photo: bytes
) -> None:
    client = make_client()
    assert client.get("/readyz").json() == {"status": "ok"}
    client.app.state.service.queue.draining.set()
    ready = client.get("/readyz")
    assert (ready.status_code, ready.json()) == (503, {"status": "draining"})
    assert client.get("/healthz").json() == {"status": "ok"}
    refused = predict(client, photo)
    assert (refused.status_code, code_of(refused)) == (503, "draining")
    assert int(refused.headers["retry-after"]) >= 1


def test_prometheus_is_told_of_requests_images_batches_and_refusals(
    client: Client, photo: bytes
) -> None:
    predict(client, photo)
    predict(client, b"no image")
    client.get("/made/up/by/a/client")
    text = client.get("/metrics").text
    for line in (
        'motivnet_requests_total{path="/v1/predict",status="200"} 1.0',
        'motivnet_requests_total{path="other",status="404"} 1.0',
        'motivnet_refused_total{reason="bad_image"} 1.0',
        "motivnet_images_total 2.0",
        "motivnet_faces_total 1.0",
        "motivnet_queue_depth 0.0",
        "motivnet_batch_queue_depth 0.0",
        'motivnet_batch_size_bucket{le="1.0"} 1.0',
        "motivnet_queue_seconds_count 1.0",
        "motivnet_prepare_seconds_count 1.0",
        "motivnet_classify_seconds_count 1.0",
        "motivnet_total_seconds_count 2.0",
    ):
        assert line in text
    assert "by/a/client" not in text


def test_two_applications_count_on_their_own(make_client: ClientMaker, photo: bytes) -> None:
    first, second = make_client(), make_client()
    predict(first, photo)
    assert "motivnet_images_total 1.0" in first.get("/metrics").text
    assert "motivnet_images_total 0.0" in second.get("/metrics").text


def test_a_client_that_sends_a_path_as_a_name_gets_the_last_part_back(
    client: Client, photo: bytes
) -> None:
    for name, shown in (
        ("../../etc/passwd", "passwd"),
        ("C:\\faces\\me.png", "me.png"),
        ("x" * 999, "x" * 255),
    ):
        response = client.predict(files=[("a", (name, photo))])
        assert response.json()["images"][0]["name"] == shown


def test_the_page_and_its_files_are_served_and_kept_from_third_parties(client: Client) -> None:
    page = client.get("/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    script = client.get("/page/main.js")
    assert (script.status_code, script.headers["content-type"]) == (
        200,
        "text/javascript; charset=utf-8",
    )
    for response in (page, script, client.get("/nothing"), client.get("/v1/model")):
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["content-security-policy"].startswith("default-src 'self';")
        assert "http" not in response.headers["content-security-policy"]
