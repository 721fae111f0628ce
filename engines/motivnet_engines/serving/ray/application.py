"""An artifact as a Ray Serve application, with replicas on the machines of a cluster.

``serve run motivnet_engines.serving.ray.application:build artifact=/models/demo max_replicas=8``
starts it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec

from motivnet.artifact import open_artifact
from motivnet.errors import ConfigError, FileError, MissingDependencyError, MotivNetError
from motivnet.printable import one_line
from motivnet.schema import Schema
from motivnet_engines.serving.batching import batching_for
from motivnet_engines.serving.http.access import REQUEST_ID_HEADER, check_request
from motivnet_engines.serving.http.app import json_response
from motivnet_engines.serving.http.errors import (
    CLIENT_CLOSED_REQUEST,
    RequestError,
    error_response,
    request_error,
)
from motivnet_engines.serving.http.limits import UploadBuffer, check_body_length, deadline_seconds
from motivnet_engines.serving.http.middleware import (
    PREDICT,
    SECURITY_HEADERS,
    path_below,
    request_id,
)
from motivnet_engines.serving.metrics import Metrics
from motivnet_engines.serving.ray.reading import ReadingOptions, check_reading, open_classifier
from motivnet_engines.serving.responses import PredictionBody
from motivnet_engines.serving.service import PredictionService, describe_model
from motivnet_engines.serving.settings import ServeSettings, is_loopback, token_from

try:
    import click
    from ray import serve
    from starlette.datastructures import Headers
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import Response
    from starlette.types import Scope
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error

T = TypeVar("T")

_Count = Annotated[int, msgspec.Meta(ge=1)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]
_NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class ServingOptions(Schema, frozen=True, kw_only=True):
    """How many replicas there are, and which requests each takes.

    Args:
        replicas: The number of replicas, or with ``max_replicas`` the least.
        max_replicas: The most that Ray Serve starts by itself.
        ongoing: Requests in work per replica that Ray Serve aims at when it adds and removes
            replicas.
        upscale_delay_s: How long more replicas must be needed before Ray Serve adds one.
        downscale_delay_s: How long fewer must be needed before it removes one.
        max_ongoing: Requests that a replica takes at once; others go elsewhere, or wait.
        max_queued: Requests that wait in each proxy before it answers 503.
        deadline_ms: How long a request may take in its replica.
        cpus: Cores per replica.
        gpus: GPUs per replica.
        token_file: A file with the token that every client must present, read where the application
            is built; by default the token is in MOTIVNET_TOKEN there. Without one, only clients on
            a proxy's own machine are answered.
    """

    max_delay_ms: _NotNegative = 2.0
    max_images: _Count = 8
    deadline_ms: _Count = 10_000
    replicas: _Count = 1
    max_replicas: _Count | None = None
    ongoing: _Positive = 8
    upscale_delay_s: _NotNegative = 30
    downscale_delay_s: _NotNegative = 600
    max_ongoing: _Count = 32
    max_queued: _Count = 64
    cpus: _Positive = 1
    gpus: _NotNegative = 0
    token_file: str | None = None


_METHODS = {PREDICT: "POST", "/v1/model": "GET"}
_READING = tuple(
    name for name in ReadingOptions.__struct_fields__ if name not in ("embeddings", "limits")
)
_KNOWN = (*_READING, *ServingOptions.__struct_fields__)


def application(artifact: Path | str, **arguments: Any) -> serve.Application:
    """Return an application for ``ray.serve.run``.

    Manifest, face detector and runtime are checked here; the replicas open the graph.

    Args:
        artifact: A folder that every machine of the cluster sees under this path.
        arguments: Those of ``ReadingOptions``, except ``embeddings`` and ``limits``, and of
            ``ServingOptions``.

    Raises:
        ConfigError: If an argument is unknown or not valid.
        ArtifactError: If the folder is not an artifact.
        FileError: If the face detector or the token's file cannot be read.
        MissingDependencyError, RuntimeUnavailableError: If the runtime is not available; not
            checked if replicas have GPUs.
    """
    return _application({"artifact": artifact, **arguments})


def _application(arguments: Mapping[str, Any]) -> serve.Application:
    for name in arguments:
        if name not in _KNOWN:
            raise ConfigError(f"there is no argument {name}; the arguments are {', '.join(_KNOWN)}")
    values = {
        name: str(value) if isinstance(value, Path) else value for name, value in arguments.items()
    }
    reading = {name: values.pop(name) for name in _READING if name in values}
    given = _convert(values, ServingOptions)
    options = _convert(reading, ReadingOptions).for_workers(cpus=given.cpus)
    settings = ServeSettings(
        token=token_from(None if given.token_file is None else Path(given.token_file)),
        max_delay_ms=given.max_delay_ms,
        max_images=given.max_images,
        queue=given.max_ongoing,
        deadline_ms=given.deadline_ms,
        prepare_threads=max(1, int(given.cpus)),
    )
    replicas = _replicas(given)
    try:
        check_reading(options, gpus=given.gpus)
    except FileError as error:
        if options.no_detect or options.detector is not None:
            raise
        raise FileError(f"{error} (here these are detector=FILE and no_detect=true)") from error
    deployment = serve.deployment(
        name="motivnet",
        max_ongoing_requests=given.max_ongoing,
        max_queued_requests=given.max_queued,
        ray_actor_options={"num_cpus": given.cpus, "num_gpus": given.gpus},
        **replicas,
    )
    return deployment(Replica).bind(options, settings)


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """Return the application of ``serve run``, whose values may be texts.

    Raises:
        click.ClickException: For the errors of ``application``. Ray's command prints one line for
            it, and the traceback of any other error.
    """
    try:
        return _application(arguments)
    except MotivNetError as error:
        raise click.ClickException(one_line(error)) from error


def _convert(values: dict[str, Any], kind: type[T]) -> T:
    """Convert arguments, whose values may be texts: ``serve run`` passes nothing else."""
    try:
        return msgspec.convert(values, kind, strict=False)
    except msgspec.ValidationError as error:
        problem, _, place = str(error).partition(" - at `$.")
        text = f"{place.rstrip('`')}: {problem}" if place else problem
        raise ConfigError(f"{text}; the arguments are {', '.join(_KNOWN)}") from error


def _replicas(given: ServingOptions) -> dict[str, Any]:
    if given.max_replicas is None:
        return {"num_replicas": given.replicas}
    if given.max_replicas < given.replicas:
        raise ConfigError(f"max_replicas {given.max_replicas} is below replicas {given.replicas}")
    scaling = {
        "min_replicas": given.replicas,
        "max_replicas": given.max_replicas,
        "target_ongoing_requests": given.ongoing,
        "upscale_delay_s": given.upscale_delay_s,
        "downscale_delay_s": given.downscale_delay_s,
    }
    return {"autoscaling_config": scaling}


class Replica:
    """Answers with the same JSON as ``motivnet serve``; each process of Ray Serve has one.

    Faces of several requests are batched as in ``motivnet serve`` and not by ``serve.batch``, which
    knows no deadlines and fails a whole batch for one bad input.

    Args:
        options: What to open.
        settings: The token, and the limits of ``motivnet serve`` that concern a single request;
            Ray Serve has its own for the queue and the connections.
    """

    def __init__(self, options: ReadingOptions, settings: ServeSettings) -> None:
        self._settings = settings
        classifier = open_classifier(options)
        batching = batching_for(
            classifier, open_artifact(options.artifact), max_batch=settings.max_batch
        )
        name = Path(options.artifact).resolve().name
        self._description = describe_model(classifier, settings, name=name, batching=batching)
        self._uploads = UploadBuffer(settings)
        self._service = PredictionService(
            classifier, settings, batching=batching, metrics=Metrics()
        )

    async def __call__(self, request: Request) -> Response:
        """Return the response to a request."""
        name = request_id(request.headers.get(REQUEST_ID_HEADER))
        response = await self._answered(request, name)
        response.headers[REQUEST_ID_HEADER] = name
        response.raw_headers.extend(SECURITY_HEADERS)
        return response

    async def _answered(self, request: Request, name: str) -> Response:
        try:
            return json_response(await self._answer(request))
        except ClientDisconnect:
            return Response(status_code=CLIENT_CLOSED_REQUEST)
        except Exception as error:  # noqa: BLE001 - what is unexpected is logged and answered too
            return error_response(request_error(error, request=name), request=name)

    async def _answer(self, request: Request) -> Any:
        scope = request.scope
        # Ray Serve's route_prefix is the root, and part of the path.
        path = path_below(scope.get("root_path", ""), scope["path"])
        check_request(
            Headers(scope=scope), method=request.method, path=path, settings=self._settings
        )
        self._check_machine(scope)
        if path not in _METHODS:
            raise RequestError(
                "not_found", f"there is nothing at this path; there is {' and '.join(_METHODS)}"
            )
        method = _METHODS[path]
        if request.method != method:
            raise RequestError("wrong_method", f"this path takes {method}", allow=method)
        return await self._predict(request) if path == PREDICT else self._description

    def _check_machine(self, scope: Scope) -> None:
        """Refuse other machines without a token; only a request tells where Ray Serve listens."""
        host = (scope.get("client") or ("",))[0]
        if self._settings.token is None and not is_loopback(host):
            raise RequestError(
                "forbidden",
                "without a token this service answers only to clients of its own machine",
            )

    async def _predict(self, request: Request) -> PredictionBody:
        deadline = time.monotonic() + deadline_seconds(request.headers, self._settings)
        check_body_length(request.headers, self._settings)
        async with self._uploads.read(request) as uploads:
            return await self._service.predict(uploads, deadline=deadline)
