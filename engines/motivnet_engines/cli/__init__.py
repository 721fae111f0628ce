"""The ``motivnet`` command: predict, predict-dataset, serve, calibrate, adapt, build-engine, verify, info, doctor."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet_engines.cli.adapt import adapt
from motivnet_engines.cli.calibrate import calibrate
from motivnet_engines.cli.options import TrustEnginesOption
from motivnet_engines.cli.predict import predict
from motivnet_engines.cli.predict_dataset import predict_dataset
from motivnet_engines.cli.serve import serve


class BackendName(StrEnum):
    """Choices of ``--backend``."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


class CompatibilityName(StrEnum):
    """Choices of ``--hardware-compatibility``."""

    NONE = "none"
    AMPERE_PLUS = "ampere-plus"
    SAME_COMPUTE_CAPABILITY = "same-compute-capability"


app = command_line.make_app(
    "Run MotivNet artifacts: emotions of faces, on this machine's first verified runtime."
)
for command in (predict, predict_dataset, serve, calibrate, adapt):
    app.command()(command)


@app.command()
def build_engine(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            help="The artifact's folder; of several, the first whose engine holds.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for the engine alone.", show_default="added to the artifact"),
    ] = None,
    backend: Annotated[
        BackendName | None,
        typer.Option(
            help="What compiles.", show_default="tensorrt where a GPU is, else tensorrt-rtx"
        ),
    ] = None,
    sm: Annotated[
        str | None,
        typer.Option(
            "--sm",
            help="tensorrt-rtx: compute capabilities, as 86,89.",
            show_default="Ampere and later",
        ),
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="The largest batch.", show_default="the artifact's")
    ] = None,
    opt_batch: Annotated[int, typer.Option(help="The batch that the engine is fastest at.")] = 1,
    max_image: Annotated[
        str | None,
        typer.Option(
            metavar="HEIGHTxWIDTH",
            help="The largest image, with --input image.",
            show_default="2160x3840",
        ),
    ] = None,
    workspace: Annotated[
        float | None,
        typer.Option(help="tensorrt: GiB that the builder may use on the GPU.", show_default="all"),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            help="tensorrt: your own kernel timings, to start from and to extend.",
            show_default="none",
        ),
    ] = None,
    optimisation_level: Annotated[
        int | None,
        typer.Option(help="0 (fast build) to 5 (fast engine).", show_default="the builder's"),
    ] = None,
    hardware_compatibility: Annotated[
        CompatibilityName, typer.Option(help="tensorrt: other GPUs that may run the engine.")
    ] = CompatibilityName.NONE,
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible", help="tensorrt: later versions of the same major may run it."
        ),
    ] = False,
    weight_streaming: Annotated[
        bool, typer.Option("--weight-streaming", help="Weights may stay in host memory.")
    ] = False,
    json: JSONOption = False,
) -> None:
    """Compile an artifact's graph to an engine, prove its precision, and judge it where it can run."""
    from dataclasses import asdict

    from motivnet.artifact import open_artifact
    from motivnet_engines.build.backend import chosen_backend
    from motivnet_engines.build.engine_artifact import build_first_engine
    from motivnet_engines.build.options import (
        EngineOptions,
        bytes_from_gib,
        compute_capabilities_from_text,
        size_from_text,
    )
    from motivnet_engines.diagnostics.engine_text import engine_text

    options = EngineOptions(
        backend=chosen_backend(backend.value if backend else None),
        opt_batch=opt_batch,
        max_batch=max_batch,
        max_size=size_from_text(max_image),
        workspace=bytes_from_gib(workspace),
        timing_cache=timing_cache,
        optimisation_level=optimisation_level,
        hardware_compatibility=hardware_compatibility.value,
        version_compatible=version_compatible,
        weight_streaming=weight_streaming,
        compute_capabilities=compute_capabilities_from_text(sm),
    )
    opened = [open_artifact(folder) for folder in artifacts]
    built = build_first_engine(opened, options, out=out, announce=command_line.warn)
    [engine] = [entry for entry in built.manifest.engines if entry.backend == options.backend]
    if json:
        command_line.print_json({"folder": str(built.folder), "engine": asdict(engine)})
    else:
        command_line.say(f"built {built.folder / engine.path}: {engine_text(engine, built.folder)}")


@app.command()
def verify(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="A runtime's name; may be repeated.", show_default="every one that can run here"
        ),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    json: JSONOption = False,
) -> None:
    """Run an artifact's reference inputs here, compare them with PyTorch's outputs, and write the verdict down."""
    from motivnet.artifact import open_artifact
    from motivnet.errors import ParityError
    from motivnet_engines.diagnostics.tables import print_verification
    from motivnet_engines.verification.verify import verify_on_device

    found = verify_on_device(
        open_artifact(artifact), runtimes=runtime or (), trust_engines=trust_engines
    )
    command_line.print_json(found) if json else print_verification(found)
    if not found.passed:
        failures = [
            f"{row.backend}: {'; '.join(row.failures)}" for row in found.comparisons if row.failures
        ]
        raise ParityError(
            f"{artifact} is not close enough to PyTorch here: {'; '.join([*failures, *found.refusals])}"
        )


@app.command()
def info(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    footprint: Annotated[
        bool,
        typer.Option(
            "--footprint", help="Print disk, memory and the time to a first prediction instead."
        ),
    ] = False,
    runtime: Annotated[
        str | None,
        typer.Option(
            help="With --footprint: a runtime's name.", show_default="the first verified one"
        ),
    ] = None,
    trust_engines: TrustEnginesOption = False,
    json: JSONOption = False,
) -> None:
    """Print what an artifact is, how close it is to PyTorch, and which runtimes can open it here."""
    if footprint:
        _show_footprint(artifact, runtime, trust_engines=trust_engines, json=json)
        return
    from motivnet_engines.diagnostics.info import artifact_info
    from motivnet_engines.diagnostics.tables import print_info

    found = artifact_info(artifact, trust_engines=trust_engines)
    command_line.print_json(found) if json else print_info(found)


@app.command()
def doctor(json: JSONOption = False) -> None:
    """Print what this machine has and lacks for running artifacts; exit 1 if nothing can run here."""
    from motivnet_engines.diagnostics.doctor import diagnose
    from motivnet_engines.diagnostics.tables import print_diagnosis

    found = diagnose()
    command_line.print_json(found) if json else print_diagnosis(found)
    if not found.healthy:
        raise typer.Exit(1)


def _show_footprint(
    artifact: Path, runtime: str | None, *, trust_engines: bool, json: bool
) -> None:
    from motivnet_engines.diagnostics.footprint import footprint
    from motivnet_engines.diagnostics.footprint_text import print_footprint

    found = footprint(artifact, runtime, trust_engines=trust_engines)
    command_line.print_json(found) if json else print_footprint(found)


def main() -> None:
    """Runs the command."""
    command_line.run(app)
