"""``motivnet serve``: an artifact as an HTTP service, or as a model repository for Triton."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from motivnet_engines.faces.detector import FaceDetector


def serve(
    artifact: Annotated[
        Path | None, typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="A runtime's name; 'motivnet info' lists them.", show_default="the first verified one"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads of the runtime on the CPU.", show_default="the runtime's choice")
    ] = None,
    host: Annotated[str, typer.Option(help="The address to listen on; beyond this machine only with a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(help="The port; 0 takes a free one.")] = 8000,
    token_file: Annotated[
        Path | None,
        typer.Option(help="A file with the token that every client must present.", show_default="MOTIVNET_TOKEN"),
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="YuNet's ONNX file.", show_default="fetched once into the user's cache")
    ] = None,
    no_detect: Annotated[bool, typer.Option("--no-detect", help="Each image is one face already.")] = False,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Label faces that are unlike the calibration's as unknown.")
    ] = False,
    classes: Annotated[
        Path | None, typer.Option(help="What 'motivnet adapt' made.", show_default="the model's own classes")
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="The largest batch.", show_default="the artifact's, if bit-exact here")
    ] = None,
    max_delay_ms: Annotated[float, typer.Option(help="How long the first of a batch waits for others.")] = 2.0,
    queue: Annotated[int, typer.Option(help="Requests that may wait or be in work.")] = 64,
    deadline: Annotated[float, typer.Option(help="Seconds in which a request is answered or refused.")] = 10.0,
    grace: Annotated[float, typer.Option(help="Seconds for accepted requests after SIGTERM.")] = 10.0,
    max_body: Annotated[int, typer.Option(help="Bytes of a request's body.")] = 20_000_000,
    max_images: Annotated[int, typer.Option(help="Images of a request.")] = 8,
    max_faces: Annotated[int, typer.Option(help="Faces of an image, the largest first.")] = 16,
    max_connections: Annotated[int, typer.Option(help="Open connections.")] = 256,
    export_triton: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a Triton model repository there instead.", show_default="none"),
    ] = None,
) -> None:
    """Answer HTTP requests for predictions until SIGTERM or Ctrl-C; the page is at /."""
    from motivnet.artifact import ARTIFACTS, newest_artifact

    folder = artifact or newest_artifact(ARTIFACTS)
    if export_triton is not None:
        _export(folder, export_triton)
        return
    from motivnet_engines.serving.settings import ServeSettings, token_from

    settings = ServeSettings(
        host=host,
        port=port,
        token=token_from(token_file),
        max_batch=max_batch,
        max_delay_ms=max_delay_ms,
        queue=queue,
        deadline_ms=round(deadline * 1e3),
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
            folder, settings, runtime=runtime, threads=threads, detector=found, unknown=unknown, classes=classes
        )
    sys.stdout.write(f"serving {folder} ({service.runtime}) at {service.url}; Ctrl-C ends it\n")
    sys.stdout.flush()
    end_process(0 if service.run() else 1)


def _detector(path: Path | None) -> FaceDetector:
    from motivnet_engines.faces.detector import open_detector

    return open_detector(path)


def _export(folder: Path, out: Path) -> None:
    from motivnet_engines.serving.triton import export_triton

    exported = export_triton(folder, out)
    sys.stdout.write(f"{exported}\n")


def end_process(status: int) -> None:
    """Ends the process; at once where a thread still works for a request that was given up.

    A thread in native code can neither be stopped nor survive the interpreter's end.
    """
    if status == 0 and threading.active_count() == 1:
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
