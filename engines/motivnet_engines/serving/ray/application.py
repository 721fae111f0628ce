"""An artifact as a Ray Serve application: replicas on the machines of a cluster, more of them as
requests come.

``serve run motivnet_engines.serving.ray.application:build artifact=/models/demo max_replicas=8``
starts it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from motivnet.errors import ConfigError, FileError, MissingDependencyError, MotivNetError
from motivnet.printable import one_line
from motivnet_engines.serving.ray.reading import ReadingOptions, check_reading, options_for_workers
from motivnet_engines.serving.settings import ServeSettings, token_from

try:
    import click
    from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt, ValidationError
    from pydantic.types import NonNegativeFloat
    from ray import serve

    from motivnet_engines.serving.ray.replica import Replica
except ModuleNotFoundError as error:
    raise MissingDependencyError("ray", extra="ray") from error


class Arguments(BaseModel):
    """What ``serve run`` takes as ``name=value``, and a configuration of Ray Serve as ``args``.

    Args:
        artifact: A folder that every machine of the cluster sees under this path.
        trust_engines: Whether a replica may choose an engine that its machine's user did not build
        there.
        replicas: How many there are, or at least are where ``max_replicas`` is given.
        max_replicas: The most that Ray Serve starts by itself.
        ongoing: Requests in work per replica that Ray Serve aims at when it starts and ends
        replicas. upscale_delay_s, downscale_delay_s: How long more, or fewer, must be wanted before
        Ray Serve acts.
        max_ongoing: Requests that a replica takes at once; further ones go to others, or wait.
        max_queued: Requests that wait in each proxy before it answers 503.
        deadline_ms: How long a request may take in its replica.
        cpus, gpus: What each replica is given.
        token_file: A file with the token that every client must present, read where the application
            is built; else it is in MOTIVNET_TOKEN there. Without one only clients of a proxy's own
            machine are answered.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    artifact: Path
    runtime: str | None = None
    trust_engines: bool = False
    threads: PositiveInt | None = None
    batch_size: PositiveInt | None = None
    no_detect: bool = False
    detector: Path | None = None
    unknown: bool = False
    classes: Path | None = None
    max_delay_ms: NonNegativeFloat = 2.0
    max_images: PositiveInt = 8
    deadline_ms: PositiveInt = 10_000
    replicas: PositiveInt = 1
    max_replicas: PositiveInt | None = None
    ongoing: PositiveFloat = 8
    upscale_delay_s: NonNegativeFloat = 30
    downscale_delay_s: NonNegativeFloat = 600
    max_ongoing: PositiveInt = 32
    max_queued: PositiveInt = 64
    cpus: PositiveFloat = 1
    gpus: NonNegativeFloat = 0
    token_file: Path | None = None


def application(artifact: Path | str, **arguments: Any) -> serve.Application:
    """An application to be given to ``ray.serve.run``; see ``Arguments``.

    The manifest, the detector and the runtime are looked at here, and the graph is opened by the
    replicas.

    Raises:
        ConfigError: If an argument is unknown or not valid.
        ArtifactError: If the folder is not an artifact.
        FileError: If the face detector cannot be had, or the token's file not be read.
        MissingDependencyError, RuntimeUnavailableError: If the runtime cannot be had; not where
        replicas have GPUs.
    """
    return _application(_validated({"artifact": artifact, **arguments}))


def build(arguments: Mapping[str, Any]) -> serve.Application:
    """The application of ``serve run``.

    Raises:
        click.ClickException: For the errors of ``application``. Ray's command prints the traceback
        of any other error,
            and of this one its one line.
    """
    try:
        return _application(_validated(arguments))
    except MotivNetError as error:
        raise click.ClickException(one_line(error)) from error


def _application(given: Arguments) -> serve.Application:
    replicas = _replicas(given)
    options = _options(given)
    _check(options, gpus=given.gpus)
    deployment = serve.deployment(
        name="motivnet",
        max_ongoing_requests=given.max_ongoing,
        max_queued_requests=given.max_queued,
        ray_actor_options={"num_cpus": given.cpus, "num_gpus": given.gpus},
        **replicas,
    )
    return deployment(Replica).bind(options, _settings(given))


def _validated(arguments: Mapping[str, Any]) -> Arguments:
    try:
        return Arguments.model_validate(arguments)
    except ValidationError as error:
        [first, *_] = error.errors()
        name = ".".join(map(str, first["loc"])) or "the arguments"
        known = f"the arguments are {', '.join(Arguments.model_fields)}"
        if first["type"] == "extra_forbidden":
            raise ConfigError(f"there is no argument {name}; {known}") from error
        raise ConfigError(f"{name}: {first['msg']}; {known}") from error


def _check(options: ReadingOptions, *, gpus: float) -> None:
    try:
        check_reading(options, gpus=gpus)
    except FileError as error:
        if options.no_detect or options.detector is not None:
            raise
        raise FileError(f"{error} (here these are detector=FILE and no_detect=true)") from error


def _replicas(given: Arguments) -> dict[str, Any]:
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


def _options(given: Arguments) -> ReadingOptions:
    return options_for_workers(
        ReadingOptions(
            artifact=str(given.artifact),
            runtime=given.runtime,
            trust_engines=given.trust_engines,
            threads=given.threads,
            batch_size=given.batch_size,
            no_detect=given.no_detect,
            detector=None if given.detector is None else str(given.detector),
            unknown=given.unknown,
            classes=None if given.classes is None else str(given.classes),
        ),
        cpus=given.cpus,
    )


def _settings(given: Arguments) -> ServeSettings:
    return ServeSettings(
        token=token_from(given.token_file),
        max_delay_ms=given.max_delay_ms,
        max_images=given.max_images,
        queue=given.max_queued,
        deadline_ms=given.deadline_ms,
        prepare_threads=max(1, int(given.cpus)),
    )
