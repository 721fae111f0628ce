"""The command ``optimise``, which ``motivnet-export`` offers too."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet.command_line import JSONOption, print_json, say
from motivnet.errors import GateError, TrainingStoppedError
from motivnet.path_kind import check_exist, is_file
from motivnet_engines.cli.options import PATH

if TYPE_CHECKING:
    from motivnet_bench.optimise.request import OptimiseRequest
    from motivnet_bench.optimise.result import OptimiseResult

PROGRAM = "motivnet-export optimise"


def optimise(
    *,
    checkpoint: Annotated[
        Path, typer.Option(help="Weights of the full model.", show_default=False, **PATH)
    ],
    dataset: Annotated[
        Path,
        typer.Option(
            help="Images of the task: a dataset, or a folder of images without labels, on which "
            "the agreement with the full model is measured.",
            show_default=False,
            **PATH,
        ),
    ],
    max_drop: Annotated[
        float | None,
        typer.Option(
            metavar="POINTS",
            help="Percentage points of accuracy that may be lost.",
            show_default="no limit: the knee of the curve is picked",
        ),
    ] = None,
    max_ms: Annotated[
        float | None,
        typer.Option(
            metavar="MS",
            help="Milliseconds per image at most, on this machine.",
            show_default=False,
        ),
    ] = None,
    max_gflop: Annotated[
        float | None,
        typer.Option(
            metavar="G",
            help="Billions of floating-point operations per image at most.",
            show_default=False,
        ),
    ] = None,
    refit: Annotated[
        bool,
        typer.Option(
            "--refit", help="Train the head again for each point: minutes, and a smaller loss."
        ),
    ] = False,
    student: Annotated[
        bool,
        typer.Option(
            "--student", help="Train smaller models from the full one's answers too: hours."
        ),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder of the result; one that an interrupted run left is gone on with.",
            show_default="artifacts/optimise-NAME",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the costs of the points; measure nothing.")
    ] = False,
    json: JSONOption = False,
) -> None:
    """Find the cheapest model that still answers as needed, prove it, and build it.

    Image sizes, shares of the tokens, precisions and runtimes are measured on this machine: the
    accuracy with its interval, the time beside the full model in alternating rounds, FLOP and
    memory. The folder gets optimise.html with the curve, optimise.json, and the pick as artifact/.

    Ctrl-C, SIGTERM or a crash lose the point that is being measured; the same command goes on from
    the others. Exit status 1 if no point keeps the limits.
    """
    from motivnet.artifact import ARTIFACTS
    from motivnet_bench.optimise.request import OptimiseRequest

    check_exist(checkpoint, dataset)
    folder = checkpoint.resolve()
    name = folder.parent.name if folder.stem in ("best", "last") else folder.stem
    request = OptimiseRequest(
        checkpoint=checkpoint,
        dataset=dataset,
        max_drop=max_drop,
        max_ms=max_ms,
        max_gflop=max_gflop,
        refit=refit,
        student=student,
        out=out or ARTIFACTS / f"optimise-{name}",
    )
    if dry_run:
        _print_plan(request, json=json)
        return
    result = _run(request)
    _show(result, request.out, json=json)
    if result.pick is None:
        raise GateError(result.outcome)


def _run(request: OptimiseRequest) -> OptimiseResult:
    from motivnet_bench.optimise.run import optimise as run

    with _page_of_interrupted(request.out):
        return run(
            request,
            command_line=_command_line(request),
            on_message=lambda text: say(text, err=True),
        )


@contextmanager
def _page_of_interrupted(folder: Path) -> Iterator[None]:
    """Write the page of what was measured, and say that it is kept."""
    from motivnet_bench.optimise.result import FILE_NAME, read_result
    from motivnet_bench.report.files import write_optimise_page

    try:
        yield
    except (KeyboardInterrupt, TrainingStoppedError) as error:
        if is_file(folder / FILE_NAME):
            result = read_result(folder / FILE_NAME)
            write_optimise_page(result, folder)
            number = len(result.measured)
            kept = f"the measurements of {number} point{'s' * (number != 1)} are in {folder}"
        else:
            kept = "nothing was measured yet"
        say(f"error: interrupted; {kept}, and the same command goes on from there", err=True)
        if isinstance(error, TrainingStoppedError):  # its advice is for motivnet-train
            raise typer.Exit(error.exit_status) from error
        raise


def _show(result: OptimiseResult, folder: Path, *, json: bool) -> None:
    from motivnet.terminal import show
    from motivnet_bench.optimise.run import ARTIFACT
    from motivnet_bench.report.files import write_optimise_page
    from motivnet_bench.report.optimise import optimise_report
    from motivnet_bench.report.terminal import terminal_from_report

    page = write_optimise_page(result, folder)
    if json:
        print_json(result)
        return
    show(terminal_from_report(optimise_report(result)))
    say(f"page: {page}")
    if result.pick is not None and result.pair is not None:
        say(
            f"built: {folder / ARTIFACT}; motivnet predict --artifact {folder / ARTIFACT} "
            f"--runtime {result.pair.runtime} PHOTO"
        )


def _print_plan(request: OptimiseRequest, *, json: bool) -> None:
    """Print what each point costs; of a checkpoint of ours only the first bytes are read."""
    from motivnet.terminal import TextTable, show
    from motivnet_bench.optimise.header import config_in_header
    from motivnet_bench.optimise.plan import plan_points

    config = config_in_header(request.checkpoint)
    if config is None:
        from motivnet_export.source import model_source

        config = model_source(request.checkpoint, model=None, preprocess=None).config
    points = plan_points(config, student=request.student)
    if json:
        print_json({"points": points})
        return
    most = request.max_gflop
    table = TextTable(titles=("point", ">tokens", ">GFLOP", ">fewer FLOP", ""))
    for point in sorted(points, key=lambda point: -point.flop):
        table.add_row(
            point.title,
            str(point.tokens),
            f"{point.flop / 1e9:.3g}",
            f"{points[0].flop / point.flop:.1f}x",
            "" if most is None or point.flop <= most * 1e9 else "above --max-gflop",
        )
    show(table)


def _command_line(request: OptimiseRequest) -> str:
    """Return the command that repeats the run; its files are named without their folders."""
    import shlex

    words = [*PROGRAM.split(), "--checkpoint", request.checkpoint.name]
    words += ["--dataset", request.dataset.resolve().name]
    for name in ("max_drop", "max_ms", "max_gflop"):
        value = getattr(request, name)
        words += [] if value is None else [f"--{name.replace('_', '-')}", f"{value:g}"]
    words += [f"--{name}" for name in ("refit", "student") if getattr(request, name)]
    return shlex.join(words)
