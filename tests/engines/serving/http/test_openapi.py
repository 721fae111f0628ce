"""The OpenAPI description, against the application that it describes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema_rs
import pytest

from motivnet_engines.serving.http.errors import STATUS_AND_MEANING

TOKEN = "0123456789abcdef0123456789abcdef"
Client = Any
ClientMaker = Callable[..., Client]


@pytest.fixture
def document(client: Client) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def test_every_path_and_method_of_the_application_is_described_and_no_other(
    client: Client, document: dict[str, Any]
) -> None:
    described = {(method.upper(), path) for method, path, _ in operations(document)}
    assert described == {
        (method, route.path) for route in client.app.routes for method in route.methods
    }


def test_every_status_is_described_somewhere_and_no_other(document: dict[str, Any]) -> None:
    described = {
        status for *_, operation in operations(document) for status in operation["responses"]
    }
    known = {str(status) for status, _ in STATUS_AND_MEANING.values()}
    # 405 is of the methods that are not described, 401 of a service with a token.
    assert described == {"200"} | known - {"401", "405"}


def test_every_operation_has_a_name_of_its_own(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(set(names)) == len(names)


def test_what_is_described_of_a_path_is_what_it_answers(
    client: Client, document: dict[str, Any]
) -> None:
    for method, path, operation in operations(document):
        if method == "post":
            continue
        response = client.request(method.upper(), path.format(name="main.js"))
        described = operation["responses"]["200"]
        assert response.status_code == 200
        assert set(described["headers"]) == {"X-Request-Id"}
        assert "X-Request-Id" in response.headers
        if method == "head":
            assert response.content == b""
            assert "content" not in described
        else:
            assert response.headers["content-type"].split(";")[0] in described["content"]


def test_every_example_of_a_body_is_answered_with_a_result(
    client: Client, document: dict[str, Any]
) -> None:
    content = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"]
    examples = {kind: media["example"] for kind, media in content.items() if "example" in media}
    assert set(examples) == {"application/octet-stream", "application/json", "multipart/form-data"}
    for kind, example in examples.items():
        if kind == "application/json":
            response = client.request("POST", "/v1/predict", json=example)
            jsonschema_rs.validate(content[kind]["schema"], example)
        elif kind == "multipart/form-data":
            files = [
                (name, ("a", part.encode())) for name, parts in example.items() for part in parts
            ]
            response = client.predict(files=files)
        else:
            response = client.predict(example.encode(), headers={"Content-Type": kind})
        assert response.status_code == 200, kind
        jsonschema_rs.validate(resolved(document, "PredictionBody"), response.json())


@pytest.mark.parametrize(
    ("path", "name"),
    [("/v1/model", "ModelBody"), ("/healthz", "StatusBody"), ("/readyz", "StatusBody")],
)
def test_an_answer_has_the_form_that_is_described(
    client: Client, document: dict[str, Any], path: str, name: str
) -> None:
    jsonschema_rs.validate(resolved(document, name), client.get(path).json())


def test_an_error_has_the_form_that_is_described(client: Client, document: dict[str, Any]) -> None:
    jsonschema_rs.validate(resolved(document, "ErrorBody"), client.predict(b"no image").json())


def test_a_form_may_call_its_images_anything(
    client: Client, document: dict[str, Any], photo: bytes
) -> None:
    form = document["paths"]["/v1/predict"]["post"]["requestBody"]["content"][
        "multipart/form-data"
    ]["schema"]
    assert "required" not in form
    for name in ("image", "other"):
        assert client.predict(files=[(name, ("a.png", photo))]).status_code == 200
        assert jsonschema_rs.is_valid(form, {name: ["bytes"]})
    assert not jsonschema_rs.is_valid(form, {})


def test_a_token_is_described_where_one_is_needed(make_client: ClientMaker) -> None:
    document = make_client(token=TOKEN).get("/openapi.json").json()
    closed = {path for _, path, operation in operations(document) if "security" in operation}
    assert closed == {"/v1/predict", "/v1/model", "/metrics"}
    for _, path, operation in operations(document):
        assert ("401" in operation["responses"]) == (path in closed)


def resolved(document: dict[str, Any], name: str) -> dict[str, Any]:
    """A schema that can be used outside its document."""
    return {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
