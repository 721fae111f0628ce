"""``motivnet calibrate``: measure the confidence of an artifact on labelled faces."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption, interruptible
from motivnet.errors import ConfigError
from motivnet_engines.cli.options import (
    PATH,
    DetectOption,
    DetectorOption,
    MaxPixelsOption,
    RuntimeOption,
    ThreadsOption,
    TrustEnginesOption,
    ValOption,
    open_requested_detector,
    user_limits,
)

if TYPE_CHECKING:
    from motivnet_engines.inference.calibration import CalibrationMetadata


def calibrate(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    folder: Annotated[
        Path,
        typer.Argument(
            help="Faces that the model was not trained on (unless --val is given), a folder per "
            "class; with --escalate any folder of faces.",
            show_default=False,
        ),
    ],
    escalate: Annotated[
        Path | None,
        typer.Option(
            "--escalate",
            help="Choose instead when to ask the larger model of this artifact, without labels.",
            show_default="none",
            **PATH,
        ),
    ] = None,
    max_changed: Annotated[
        float | None,
        typer.Option(
            "--max-changed",
            help="With --escalate: percent of all answers that may differ from the larger model's.",
            show_default="2",
        ),
    ] = None,
    val: ValOption = None,
    runtime: RuntimeOption = None,
    trust_engines: TrustEnginesOption = False,
    threads: ThreadsOption = None,
    detect: DetectOption = False,
    detector: DetectorOption = None,
    max_pixels: MaxPixelsOption = 250_000_000,
    json: JSONOption = False,
) -> None:
    """Fit a temperature and a threshold for unknown faces, and write them into the artifact.

    With --escalate, choose the confidence below which a larger model is asked.
    """
    share = _check_escalation(escalate, max_changed, val)
    if escalate is not None:
        _calibrate_escalation(
            artifact,
            folder,
            escalate,
            share,
            json=json,
            options={
                "runtime": runtime,
                "trust_engines": trust_engines,
                "threads": threads,
                "detector": open_requested_detector(detector, detect=detect),
                "limits": user_limits(max_pixels),
            },
        )
        return
    from motivnet.terminal import progress
    from motivnet_engines.calibration.calibrate import calibrate_artifact

    with (
        interruptible("the artifact is as it was"),
        progress("measuring", total=1) as advance,
    ):
        metadata, warnings = calibrate_artifact(
            artifact,
            folder,
            held_out=val,
            runtime=runtime,
            trust_engines=trust_engines,
            threads=threads,
            detector=open_requested_detector(detector, detect=detect),
            limits=user_limits(max_pixels),
            on_share=advance,
        )
    for warning in warnings:
        command_line.warn(warning)
    if json:
        command_line.print_json(metadata)
    else:
        _show(artifact, metadata)


def _check_escalation(escalate: Path | None, max_changed: float | None, val: Path | None) -> float:
    """Return the share of answers that may change; refuse an option that would be ignored."""
    if escalate is None and max_changed is not None:
        raise ConfigError("--max-changed is for --escalate alone; leave it out")
    if escalate is not None and val is not None:
        raise ConfigError("--escalate takes no --val, because it needs no labels; leave it out")
    percent = 2.0 if max_changed is None else max_changed
    if not 0 < percent < 100:  # nor NaN
        raise ConfigError(f"--max-changed is in percent, above 0 and below 100, not {percent}")
    return percent / 100


def _calibrate_escalation(
    artifact: Path,
    folder: Path,
    full: Path,
    max_changed: float,
    *,
    json: bool,
    options: dict[str, Any],
) -> None:
    from motivnet.terminal import details, progress, show
    from motivnet_engines.calibration.escalate import calibrate_escalation

    with (
        interruptible("the artifact is as it was"),
        progress("measuring both models", total=1) as advance,
    ):
        found, warnings = calibrate_escalation(
            artifact, folder, full, max_changed=max_changed, on_share=advance, **options
        )
    for warning in warnings:
        command_line.warn(warning)
    if json:
        command_line.print_json(found)
        return
    unknown = "" if found.calibration is None else f"; {found.unknown:,} taken for unknown are not"
    show(
        details(
            {
                "images": f"{found.images:,} of {found.folder}",
                "threshold": f"a confidence of {found.threshold:.3f}, below which {full} is asked",
                "answered by the student": f"{found.by_student:,} ({found.student_share:.1%})"
                + unknown,
                "changed answers": f"{found.changed:,}; at most {found.max_changed:.2%} of all, "
                f"with {found.confidence_level:.0%} confidence",
                "mean cost": f"{found.mean_flop / 1e6:,.1f} of {found.full_flop / 1e6:,.1f} MFLOP, "
                f"{found.mean_flop / found.full_flop:.0%} of the full model's "
                f"({found.mean_ms:.1f} of {found.full_ms:.1f} ms here)",
                "written into": f"{artifact} (measured with {found.runtime})",
            }
        )
    )


def _show(artifact: Path, found: CalibrationMetadata) -> None:
    from motivnet.terminal import details, show

    images, held_out = sum(found.images.values()), sum(found.held_out.values())
    if found.held_out_folder is None:
        evaluated = "threshold and temperature by cross-validation"
    else:
        evaluated = f"threshold and temperature on {held_out} of {found.held_out_folder}"
    show(
        details(
            {
                "images": f"{images} of {found.folder}; {evaluated}",
                "accuracy": f"{found.accuracy:.1%} of {held_out} held-out images",
                "temperature": f"{found.temperature:.3f}",
                "calibration error": f"{found.error_before:.3f} -> {found.error_after:.3f}",
                "distance threshold": f"{found.distance_threshold:.2f}",
                "known": f"{found.known_share:.1%} of the held-out images",
                "written into": f"{artifact} (measured with {found.runtime})",
            }
        )
    )
