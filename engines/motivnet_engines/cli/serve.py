"""``motivnet serve``: an artifact as an HTTP service, or as a model repository for Triton."""

from __future__ import annotations

import math
import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import say
from motivnet_engines.cli.options import (
    PATH,
    ArtifactOption,
    ClassesOption,
    DetectorOption,
    NoDetectOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    UnknownOption,
    check_detection,
    chosen_artifact,
)

if TYPE_CHECKING:
    from motivnet_engines.faces.detector import FaceDetector
    from motivnet_engines.serving.triton import TritonOptions

_OF_BOTH = frozenset(("artifact", "max_batch", "max_delay_ms", "export_triton", "trust_engines"))
_OF_TRITON = frozenset(("triton_instances", "triton_device", "triton_form"))


class TritonDeviceName(StrEnum):
    """Choices of ``--triton-device``."""

    AUTO = "auto"
    GPU = "gpu"
    CPU = "cpu"


class TritonFormName(StrEnum):
    """Choices of ``--triton-form``."""

    ONNX = "onnx"
    TENSORRT = "tensorrt"


def serve(
    context: typer.Context,
    artifact: ArtifactOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond this machine only with a token.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="A file with the token (16 to 1024 characters) that every client must present.",
            show_default="MOTIVNET_TOKEN",
            **PATH,
        ),
    ] = None,
    detector: DetectorOption = None,
    no_detect: NoDetectOption = False,
    unknown: UnknownOption = False,
    classes: ClassesOption = None,
    max_batch: Annotated[
        int | None,
        typer.Option(help="The largest batch.", show_default="the artifact's, if bit-exact here"),
    ] = None,
    max_delay_ms: Annotated[
        float, typer.Option(help="How long the first of a batch waits for others.")
    ] = 2.0,
    queue: Annotated[int, typer.Option(help="Requests that may wait or be in work.")] = 64,
    deadline: Annotated[
        float, typer.Option(help="Seconds in which a request is answered or refused.")
    ] = 10.0,
    grace: Annotated[
        float, typer.Option(help="Seconds for accepted requests after SIGTERM.")
    ] = 10.0,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 20_000_000,
    max_images: Annotated[int, typer.Option(help="Images of a request.")] = 8,
    max_faces: Annotated[int, typer.Option(help="Faces of an image, the largest first.")] = 16,
    max_connections: Annotated[int, typer.Option(help="Open connections.")] = 256,
    export_triton: Annotated[
        Path | None,
        typer.Option(
            help="Write a Triton model repository there instead.", show_default="none", **PATH
        ),
    ] = None,
    triton_instances: Annotated[
        int, typer.Option(help="With --export-triton: copies of the model, on each GPU.")
    ] = 1,
    triton_device: Annotated[
        TritonDeviceName, typer.Option(help="With --export-triton: where the model runs.")
    ] = TritonDeviceName.AUTO,
    triton_form: Annotated[
        TritonFormName | None,
        typer.Option(
            help="With --export-triton: what is served.",
            show_default="the engine where there is one",
        ),
    ] = None,
) -> None:
    """Answer HTTP requests for predictions until SIGTERM or Ctrl-C; the page is at /."""
    _check_options(context, exporting=export_triton is not None)
    check_detection(detector, no_detect=no_detect)
    folder = chosen_artifact(artifact)
    if export_triton is not None:
        from motivnet_engines.serving.triton import TritonOptions

        options = TritonOptions(
            form=triton_form.value if triton_form else None,
            device=triton_device.value,
            max_batch=max_batch,
            instances=triton_instances,
            max_queue_delay_us=_microseconds(max_delay_ms),
            trust_engines=trust_engines,
        )
        _export(folder, export_triton, options)
        return
    from motivnet_engines.serving.logs import configure_logging
    from motivnet_engines.serving.settings import ServeSettings, milliseconds, token_from

    configure_logging(sys.stderr)  # before anything is read, because that may warn
    settings = ServeSettings(
        host=host,
        port=port,
        token=token_from(token_file),
        max_batch=max_batch,
        max_delay_ms=max_delay_ms,
        queue=queue,
        deadline_ms=milliseconds(deadline),
        grace_s=grace,
        max_body_bytes=max_body,
        max_images=max_images,
        max_faces=max_faces,
        max_connections=max_connections,
    )
    from motivnet.progress import progress
    from motivnet_engines.serving.launch import listening_service

    found = None if no_detect else _detector(detector)
    with progress("opening"):
        service = listening_service(
            folder,
            settings,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=found,
            unknown=unknown,
            classes=classes,
        )
    say(f"serving {folder} ({service.runtime}) at {service.url}; Ctrl-C ends it")
    sys.stdout.flush()
    ending = service.run()
    end_process(0 if ending.answered else 1, at_once=not ending.idle)


def _detector(path: Path | None) -> FaceDetector:
    from motivnet_engines.faces import open_detector

    return open_detector(path)


def _microseconds(delay_ms: float) -> int:
    from motivnet.errors import ConfigError

    if not math.isfinite(delay_ms):
        raise ConfigError(f"--max-delay-ms is a number of milliseconds, not {delay_ms}")
    return round(delay_ms * 1e3)


def _check_options(context: typer.Context, *, exporting: bool) -> None:
    """Nothing that was asked for is left undone without a word.

    Raises:
        ConfigError: If an option was given that the export, or the service, has no use for.
    """
    from motivnet.errors import ConfigError

    for parameter in context.command.params:
        name = parameter.name or ""
        source = context.get_parameter_source(name)
        given = source is not None and source.name == "COMMANDLINE"
        if given and name not in _OF_BOTH and exporting != (name in _OF_TRITON):
            meaning = "is not for --export-triton" if exporting else "is for --export-triton alone"
            raise ConfigError(f"{parameter.opts[0]} {meaning}; leave it out")


def _export(folder: Path, out: Path, options: TritonOptions) -> None:
    from motivnet_engines.serving.triton import export_triton

    exported = export_triton(folder, out, options=options)
    say(str(exported))


def end_process(status: int, *, at_once: bool) -> None:
    """Ends the process; ``at_once`` where a thread still works for a request that was given up.

    A thread in native code can neither be stopped nor survive the interpreter's end.

    Raises:
        SystemExit: Where there is time for everything that is done at the end.
    """
    if not at_once:
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
