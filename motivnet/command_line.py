"""What the four commands share: one-line errors, JSON output, short help."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from motivnet import __version__, strict_json
from motivnet.errors import MotivNetError

JSONOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]


def make_app(help_text: str) -> typer.Typer:
    """A typer application with ``-h``, ``--version``, shell completion and plain tracebacks."""
    app = typer.Typer(
        help=help_text,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    return app


def run(app: typer.Typer) -> None:
    """Runs an application: a user's mistake becomes one line on standard error and exit status 1."""
    logging.basicConfig(format="%(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    try:
        app()
    except MotivNetError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        sys.exit(1)


def print_json(value: Mapping[str, Any] | object) -> None:
    """Writes a mapping or a dataclass as JSON to standard output."""
    sys.stdout.write(strict_json.dumps(value).decode())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    del version
