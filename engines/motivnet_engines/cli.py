"""The ``motivnet`` command: predict, info, doctor."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from motivnet import command_line
from motivnet.command_line import JSONOption

if TYPE_CHECKING:
    from motivnet_engines.image_files import FileResult

app = command_line.make_app("Run MotivNet artifacts: emotions of faces, on this machine's first verified runtime.")


@app.command()
def predict(
    images: Annotated[list[Path], typer.Argument(help="Image files, or folders of them.", show_default=False)],
    artifact: Annotated[
        Path | None, typer.Option(help="The artifact's folder.", show_default="the newest in artifacts/")
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(help="A runtime's name; 'motivnet info' lists them.", show_default="the first verified one"),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads on the CPU.", show_default="the runtime's choice")
    ] = None,
    json: JSONOption = False,
) -> None:
    """Print the emotion that each face shows; exit 1 if an image could not be read."""
    from motivnet.artifact import ARTIFACTS, newest_artifact
    from motivnet.progress import progress
    from motivnet_engines.classifier import EmotionClassifier
    from motivnet_engines.image_files import image_paths, predict_files

    paths = image_paths(images)
    folder = artifact or newest_artifact(ARTIFACTS)
    with progress("opening"):
        classifier = EmotionClassifier.open(folder, runtime=runtime, threads=threads)
    with classifier, progress("predicting", total=len(paths)) as advance:
        results = list(predict_files(classifier, paths, on_files=advance))
    _show_results(results, artifact=folder, runtime=classifier.runtime.name, json=json)
    if any(result.error for result in results):
        raise typer.Exit(1)


@app.command()
def info(
    artifact: Annotated[Path, typer.Argument(help="The artifact's folder.", show_default=False)],
    json: JSONOption = False,
) -> None:
    """Print what an artifact is, how close it is to PyTorch, and which runtimes can open it here."""
    from motivnet_engines.info import artifact_info
    from motivnet_engines.tables import print_info

    found = artifact_info(artifact)
    command_line.print_json(found) if json else print_info(found)


@app.command()
def doctor(json: JSONOption = False) -> None:
    """Print what this machine has and lacks for running artifacts; exit 1 if nothing can run here."""
    from motivnet_engines.doctor import diagnose
    from motivnet_engines.tables import print_diagnosis

    found = diagnose()
    command_line.print_json(found) if json else print_diagnosis(found)
    if not found.healthy:
        raise typer.Exit(1)


def _show_results(results: Sequence[FileResult], *, artifact: Path, runtime: str, json: bool) -> None:
    """Predictions on standard output, what could not be read on standard error."""
    failures = {str(result.path): " ".join(result.error.split()) for result in results if result.error}
    if json:
        predictions = [
            {"file": str(result.path), **result.prediction.to_dict()} for result in results if result.prediction
        ]
        errors = [{"file": file, "error": reason} for file, reason in failures.items()]
        command_line.print_json(
            {"artifact": str(artifact), "runtime": runtime, "predictions": predictions, "errors": errors}
        )
    else:
        from motivnet_engines.tables import print_predictions

        print_predictions(results)
    for reason in failures.values():
        sys.stderr.write(f"error: {reason}\n")


def main() -> None:
    """Runs the command."""
    command_line.run(app)


if __name__ == "__main__":
    main()
