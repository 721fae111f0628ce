"""``motivnet serve``: an artifact as an HTTP service, or as a model repository for Triton."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from motivnet.command_line import say
from motivnet.errors import ConfigError, FileError
from motivnet.path_kind import check_exist
from motivnet_engines.cli.options import (
    PATH,
    AdaptedClassesOption,
    ArtifactOption,
    DetectorOption,
    EscalateOption,
    NoDetectOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    UnknownOption,
    check_detection,
    check_escalate,
    check_unknown,
    choose_artifact,
)

_OF_BOTH = frozenset(("artifact", "max_batch", "max_delay_ms", "export_triton", "trust_engines"))
_OF_STATIC = frozenset(("static", "port"))
_OF_TRITON = frozenset(("triton_instances", "triton_device", "triton_form"))


def _number(value: float) -> float:
    """Refuse NaN, which is within any bounds for click."""
    if math.isnan(value):
        raise typer.BadParameter(f"{value} is not a number.")
    return value


def serve(
    context: typer.Context,
    artifact: ArtifactOption = None,
    escalate: EscalateOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    host: Annotated[
        str, typer.Option(help="The address to listen on; beyond this machine only with a token.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port; 0 chooses a free one.")
    ] = 8000,
    root_path: Annotated[
        str,
        typer.Option(
            help="The path of a proxy under which the service is, as /faces.",
            metavar="PATH",
            show_default="none",
        ),
    ] = "",
    allowed_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="An origin, as https://faces.example, whose pages may use the service too; "
            "repeat it for more.",
            metavar="ORIGIN",
            show_default="none",
        ),
    ] = None,
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
    classes: AdaptedClassesOption = None,
    max_batch: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Largest batch size.",
            show_default="the artifact's, as far as bit-identical",
        ),
    ] = None,
    max_delay_ms: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=10_000.0,
            callback=_number,
            help="Milliseconds that the first image of a batch waits for others.",
        ),
    ] = 2.0,
    queue: Annotated[
        int, typer.Option(min=1, max=100_000, help="Requests that may wait or be in work at once.")
    ] = 64,
    deadline: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=3600.0,
            callback=_number,
            help="Seconds in which a request is answered or refused.",
        ),
    ] = 10.0,
    grace: Annotated[
        float,
        typer.Option(
            min=0.001,
            max=3600.0,
            callback=_number,
            help="Seconds for accepted requests after SIGTERM.",
        ),
    ] = 10.0,
    max_body: Annotated[
        int, typer.Option(min=1, max=2_000_000_000, help="Bytes per request body.")
    ] = 20_000_000,
    max_images: Annotated[int, typer.Option(min=1, max=1000, help="Images per request.")] = 8,
    max_pixels: Annotated[
        int, typer.Option(min=1, max=1_000_000_000, help="Pixels per image.")
    ] = 40_000_000,
    max_faces: Annotated[
        int, typer.Option(min=1, max=1000, help="Faces per image, the largest first.")
    ] = 16,
    max_connections: Annotated[
        int, typer.Option(min=1, max=100_000, help="Open connections.")
    ] = 256,
    static: Annotated[
        Path | None,
        typer.Option(
            help="Serve a folder of --target web on this machine instead: browsers compute.",
            show_default="none",
            **PATH,
        ),
    ] = None,
    export_triton: Annotated[
        Path | None,
        typer.Option(
            help="Write a Triton model repository there instead.", show_default="none", **PATH
        ),
    ] = None,
    triton_instances: Annotated[
        int, typer.Option(min=1, help="With --export-triton: copies of the model, on each GPU.")
    ] = 1,
    triton_device: Annotated[
        Literal["auto", "gpu", "cpu"],
        typer.Option(help="With --export-triton: where the model runs."),
    ] = "auto",
    triton_form: Annotated[
        Literal["onnx", "tensorrt"] | None,
        typer.Option(
            help="With --export-triton: what is served.",
            show_default="the engine if there is one",
        ),
    ] = None,
) -> None:
    """Answer HTTP requests for predictions until SIGTERM or Ctrl-C; the page is at /."""
    if static is not None:
        _serve_static(context, static, port=port)
        return
    _check_options(context, exporting=export_triton is not None)
    check_detection(detector, no_detect=no_detect)
    check_unknown(classes, unknown=unknown)
    check_escalate(classes, escalate=escalate)
    _check_files(
        escalate=escalate, token_file=token_file, detector=detector, adapted_classes=classes
    )
    folder = choose_artifact(artifact)
    if export_triton is not None:
        from motivnet_engines.serving import triton

        options = triton.TritonOptions(
            form=triton_form,
            device=triton_device,
            max_batch=max_batch,
            instances=triton_instances,
            max_queue_delay_us=round(max_delay_ms * 1e3),
            trust_engines=trust_engines,
        )
        say(str(triton.export_triton(folder, export_triton, options=options)))
        return
    from motivnet_engines.serving.logs import configure_logging
    from motivnet_engines.serving.settings import ServeSettings, token_from

    configure_logging(sys.stderr)  # before anything is read, because that may warn
    settings = ServeSettings(
        host=host,
        port=port,
        root_path=root_path,
        allowed_origins=tuple(allowed_origin or ()),
        token=token_from(token_file),
        max_batch=max_batch,
        max_delay_ms=max_delay_ms,
        queue=queue,
        deadline_ms=deadline * 1e3,
        grace_s=grace,
        max_body_bytes=max_body,
        max_images=max_images,
        max_pixels=max_pixels,
        max_faces=max_faces,
        max_connections=max_connections,
    )
    from motivnet.terminal import progress
    from motivnet_engines.faces import open_detector
    from motivnet_engines.serving.http.server import open_service

    with progress("opening"):
        service = open_service(
            folder,
            settings,
            escalate=escalate,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=None if no_detect else open_detector(detector),
            unknown=unknown,
            classes=classes,
        )
    served = folder if escalate is None else f"{folder}, which escalates to {escalate}"
    say(f"serving {served} ({service.classifier.runtime.name}) at {service.url}; Ctrl-C ends it")
    sys.stdout.flush()
    service.run()


def _serve_static(context: typer.Context, folder: Path, *, port: int) -> None:
    """Serve a folder for the browser until Ctrl-C or SIGTERM."""
    for parameter in context.command.params:
        if parameter.name not in _OF_STATIC and _is_given(context, parameter.name or ""):
            raise ConfigError(f"{parameter.opts[0]} is not for --static; leave it out")
    from motivnet_engines.browser.site import Site

    with Site(folder, port=port) as site:
        say(f"serving {folder} at {site.url}, to this machine alone; Ctrl-C ends it")
        sys.stdout.flush()
        site.run()


def _check_files(**files: Path | None) -> None:
    """Refuse a name of nothing, with its option, before the artifact is opened."""
    for name, path in files.items():
        try:
            check_exist(path)
        except FileError as error:
            raise FileError(f"--{name.replace('_', '-')}: {error}") from error


def _check_options(context: typer.Context, *, exporting: bool) -> None:
    """Refuse an option that the export, or the service, would ignore."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if _is_given(context, name) and name not in _OF_BOTH and exporting != (name in _OF_TRITON):
            meaning = "is not for --export-triton" if exporting else "is for --export-triton alone"
            raise ConfigError(f"{parameter.opts[0]} {meaning}; leave it out")


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
