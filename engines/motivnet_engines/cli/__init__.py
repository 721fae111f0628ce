"""The ``motivnet`` command: run, serve, adapt, build, verify and inspect artifacts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer

from motivnet import command_line
from motivnet.command_line import JSONOption
from motivnet_engines.cli.adapt import adapt
from motivnet_engines.cli.calibrate import calibrate
from motivnet_engines.cli.options import TrustEnginesOption, check_apart
from motivnet_engines.cli.predict import predict
from motivnet_engines.cli.predict_dataset import predict_dataset
from motivnet_engines.cli.serve import serve

app = command_line.make_app(
    "Run MotivNet artifacts: emotions of faces, on this machine's first verified runtime."
)
app.command(short_help="Predict pictures, videos and cameras")(predict)
app.command(short_help="Predict a dataset on a Ray cluster")(predict_dataset)
app.command(short_help="Serve predictions over HTTP")(serve)
app.command(short_help="Fit confidence and a distance threshold")(calibrate)
app.command(short_help="Add classes without training")(adapt)


@app.command(short_help="Compile an artifact's graph to an engine")
def build_engine(
    artifacts: Annotated[
        list[Path],
        typer.Argument(
            help="The artifact's folder; with several, the first whose engine passes is kept.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="A folder for the engine alone.", show_default="added to the artifact"),
    ] = None,
    backend: Annotated[
        Literal["tensorrt", "tensorrt-rtx"] | None,
        typer.Option(
            help="The compiler.", show_default="tensorrt if there is a GPU, else tensorrt-rtx"
        ),
    ] = None,
    sm: Annotated[
        str | None,
        typer.Option(
            "--sm",
            help="tensorrt-rtx: compute capabilities, such as 86,89.",
            show_default="Ampere and later",
        ),
    ] = None,
    max_batch: Annotated[
        int | None, typer.Option(help="The largest batch size.", show_default="the artifact's")
    ] = None,
    opt_batch: Annotated[
        int, typer.Option(help="The batch size that the engine is fastest at.")
    ] = 1,
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
            help="tensorrt: a file of kernel timings to start from and to extend.",
            show_default="none",
        ),
    ] = None,
    optimisation_level: Annotated[
        int | None,
        typer.Option(help="0 (fast build) to 5 (fast engine).", show_default="the builder's"),
    ] = None,
    hardware_compatibility: Annotated[
        Literal["none", "ampere-plus", "same-compute-capability"],
        typer.Option(help="tensorrt: other GPUs that may run the engine."),
    ] = "none",
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
    """Compile an artifact's graph to an engine, check its precision, and verify it if it runs."""
    from motivnet.artifact import open_artifact
    from motivnet_engines.build.backend import choose_backend
    from motivnet_engines.build.engine_artifact import build_first_engine
    from motivnet_engines.build.options import (
        EngineOptions,
        bytes_from_gib,
        compute_capabilities_from_text,
        size_from_text,
    )
    from motivnet_engines.diagnostics.tables import engine_text

    outputs = {"--out": out, "--timing-cache": timing_cache}
    check_apart((option, path) for option, path in outputs.items() if path is not None)
    options = EngineOptions(
        backend=choose_backend(backend),
        opt_batch=opt_batch,
        max_batch=max_batch,
        max_size=size_from_text(max_image),
        workspace=bytes_from_gib(workspace),
        timing_cache=timing_cache,
        optimisation_level=optimisation_level,
        hardware_compatibility=hardware_compatibility,
        version_compatible=version_compatible,
        weight_streaming=weight_streaming,
        compute_capabilities=compute_capabilities_from_text(sm),
    )
    opened = [open_artifact(folder) for folder in artifacts]
    with command_line.interruptible("the artifact is as it was, and no engine was written"):
        built = build_first_engine(opened, options, out=out, on_message=command_line.warn)
    [engine] = [entry for entry in built.manifest.engines if entry.backend == options.backend]
    if json:
        command_line.print_json(
            {"folder": str(built.folder), "engine": msgspec.structs.asdict(engine)}
        )
    else:
        command_line.say(f"built {built.folder / engine.path}: {engine_text(engine, built.folder)}")


@app.command(short_help="Compare the runtimes here with PyTorch")
def verify(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="A runtime's name; may be repeated.", show_default="every one that can run here"
        ),
    ] = None,
    in_browser: Annotated[
        bool,
        typer.Option(
            "--in-browser",
            help="Compare what a headless Chromium computes with the library of the folder, built "
            "with --target web.",
        ),
    ] = False,
    trust_engines: TrustEnginesOption = False,
    json: JSONOption = False,
) -> None:
    """Compare the outputs of an artifact's runtimes here with PyTorch's, and record the result."""
    from motivnet.artifact import open_artifact
    from motivnet.errors import ConfigError, ParityError
    from motivnet_engines.diagnostics.tables import print_verification
    from motivnet_engines.runtimes.selection import warn_of_untrained
    from motivnet_engines.verification.parity_run import runtimes_in_browser, verify_on_device

    if in_browser and runtime:
        raise ConfigError("--in-browser is without --runtime: it takes what the browser has")
    opened = open_artifact(artifact)
    warn_of_untrained(opened)
    with command_line.interruptible("nothing was recorded"):
        names = runtimes_in_browser(opened) if in_browser else runtime or ()
        found = verify_on_device(opened, runtimes=names, trust_engines=trust_engines)
    command_line.print_json(found) if json else print_verification(found)
    if not found.passed:
        failures = [
            f"{row.backend}: {'; '.join(row.failures)}" for row in found.comparisons if row.failures
        ]
        reasons = "; ".join([*failures, *found.refusals])
        raise ParityError(f"{artifact} is not close enough to PyTorch here: {reasons}")


@app.command(short_help="Print what an artifact is and what runs it")
def inspect(
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
    """Print what an artifact is, how close it is to PyTorch, and which runtimes open it here."""
    from motivnet_engines.diagnostics.footprint import footprint as measure_footprint
    from motivnet_engines.diagnostics.inspect import inspect_artifact
    from motivnet_engines.diagnostics.tables import print_footprint, print_inspection

    if footprint:
        cost = measure_footprint(artifact, runtime, trust_engines=trust_engines)
        command_line.print_json(cost) if json else print_footprint(cost)
    else:
        found = inspect_artifact(artifact, trust_engines=trust_engines)
        command_line.print_json(found) if json else print_inspection(found)


@app.command(
    short_help="Write a model card from what was measured",
    context_settings={
        "allow_extra_args": True,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def card(context: typer.Context) -> None:
    """Hand over to the benchmark's command of this name, whose reports a card is written from.

    The benchmark imports this package, and not the other way round. So the process becomes that
    command, as in a shell; options, ``--help``, signals and exit status are its own.
    """
    from motivnet.child_process import isolated_module

    command = isolated_module("motivnet_bench", "card", *context.args)
    os.execv(sys.executable, command)  # noqa: S606 - this Python


@app.command(short_help="Print what this machine can build and run")
def doctor(json: JSONOption = False) -> None:
    """Print what this machine has and lacks for running artifacts; exit 1 if nothing can run."""
    from motivnet_engines.diagnostics.diagnosis_tables import print_diagnosis
    from motivnet_engines.diagnostics.doctor import diagnose

    found = diagnose()
    command_line.print_json(found) if json else print_diagnosis(found)
    if not found.healthy:
        raise typer.Exit(1)


def main() -> None:
    """Run the command."""
    command_line.run(app)
