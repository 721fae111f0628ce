"""``motivnet-bench criteria``, whose options are as many as those of all other commands."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from motivnet.command_line import JSONOption, print_json, say
from motivnet_bench.cli_options import DeviceOption, OutsideOption, ThreadsOption


def criteria(
    checkpoint: Annotated[
        Path, typer.Argument(help="The MotivNet's weights file.", show_default=False)
    ],
    *,
    test: Annotated[
        list[Path] | None,
        typer.Option(
            "--test",
            help="A folder of class folders to be right on; may be repeated.",
            show_default=False,
        ),
    ] = None,
    encoder: Annotated[
        Path | None,
        typer.Option(help="Weights file that the training started from.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A folder of any images, to compare with --reference.", show_default=False
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option(help="The folder of images that --data is compared with.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Named size or CONFIG.json, where the checkpoint does not tell its sizes.",
            show_default=False,
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            help="stretch or square-white-pad; the checkpoint's, else stretch, if left out.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="Images at most: a class of --test, in all of --data, --reference.",
            show_default=False,
        ),
    ] = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap samples for the intervals.")] = 500,
    seed: Annotated[int, typer.Option(max=2**63 - 1, help="Of the bootstrap.")] = 0,
    batch: Annotated[int, typer.Option(help="Images a call.")] = 8,
    threads: ThreadsOption = None,
    device: DeviceOption = "auto",
    allow_outside: OutsideOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the report; artifacts/criteria-NAME if left out.", show_default=False
        ),
    ] = None,
    json: JSONOption = False,
) -> None:
    """Judges a MotivNet by the paper's three criteria; leaves criteria.html and criteria.json.

    Benchmark performance with --test, model similarity with --encoder, data similarity with --data
    and --reference.
    """
    from motivnet.artifact import ARTIFACTS
    from motivnet.checkpoints import name_of
    from motivnet.terminal import show
    from motivnet_bench.repeat import repeat_command
    from motivnet_bench.viability.measure import CriteriaOptions, measure_criteria
    from motivnet_bench.viability.report import check_folder, write_criteria
    from motivnet_bench.viability.terminal import criteria_table
    from motivnet_export.source import model_source

    options = CriteriaOptions(
        tests=tuple(test or ()),
        encoder=encoder,
        data=data,
        reference=reference,
        limit=limit,
        resamples=resamples,
        seed=seed,
        batch=batch,
        threads=threads,
        device=device,
        allow_outside=allow_outside,
    )
    folder = out or ARTIFACTS / f"criteria-{name_of(checkpoint)}"
    check_folder(folder)
    source = model_source(checkpoint, model=model, preprocess=preprocess)
    target: list[str | Path] = [
        checkpoint,
        *(["--model", model] if model else []),
        *(["--preprocess", preprocess] if preprocess else []),
    ]
    result = measure_criteria(source, options, command=repeat_command("criteria", target, options))
    if json:
        print_json(result)
    else:
        show(criteria_table(result))
    paths = write_criteria(result, folder)
    if not json:
        say(f"report: {paths[-1]}")
