"""What the commands share: one-line errors, JSON output, short help."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from motivnet import __version__, schema
from motivnet.errors import BrokenDependencyError, MotivNetError
from motivnet.printable import OneLineFormatter, guard_output, one_line, replace_by_null_device
from motivnet.processors import limit_threads

JSONOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]

INTERRUPTED = 128 + 2
"""What a shell reports for a process ended by SIGINT."""

_USAGE_ERROR: Any = typer.BadParameter.__mro__[1]
"""click's ``UsageError``, of the click that this typer brings."""

_PATH_FAULTS = frozenset(
    getattr(errno, name)
    for name in (
        *("EACCES", "EHOSTDOWN", "EIO", "ELOOP", "ENAMETOOLONG", "ENOTCONN", "EPERM"),
        *("EREMOTEIO", "EROFS", "ESTALE", "ETIMEDOUT"),
    )
    if hasattr(errno, name)  # macOS has no EREMOTEIO
)
"""What the system answers for a path that it does not give: never a bug of ours."""


def make_app(help_text: str, *, default: str | None = None) -> typer.Typer:
    """Return a typer application with ``-h``, ``--version``, completion and plain tracebacks.

    Args:
        default: The command that runs if none is named, so that ``motivnet-bench --rounds 3`` means
            ``motivnet-bench latency --rounds 3``. Without it, no arguments print the help.
    """
    app = typer.Typer(
        cls=_group(default),
        help=help_text,
        no_args_is_help=default is None,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,  # importing rich takes as long as all the rest of --help
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_common)
    return app


def run(app: typer.Typer) -> None:
    """Run an application and exit.

    A user's mistake becomes one line on standard error and the error's exit status, usually 1; so
    do a full disk and too little memory. A usage error exits with 2, an interruption with 130. If
    the reader closes the pipe early (``| head``) it exits with 1 and prints nothing. Any other
    exception keeps its traceback. Everything that is printed, logged or warned passes through
    ``motivnet.printable``.
    """
    guard_output()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("motivnet.terminal").setLevel(logging.INFO)  # stages that last long
    logging.captureWarnings(True)
    # What Pillow warns of is no fault of a picture that it reads; the other is an error here.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    logging.getLogger("PIL").setLevel(logging.CRITICAL)
    if sys.platform == "win32":
        _fail("Windows is not supported; run this in WSL 2, or on Linux or macOS")
    limit_threads()
    with _quiet_pipe():
        try:
            app()
        except MotivNetError as error:
            # What was raised for a missing package may hide a broken one.
            cause = _import_problem(error.__cause__)
            broken = cause if isinstance(cause, BrokenDependencyError) else None
            _fail(broken or error, status=error.exit_status)
        except MemoryError:
            _fail("there is not enough memory; give a smaller input, or run on a larger machine")
        except RecursionError:
            _fail("the input is nested too deeply to be read; check where it comes from")
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except Exception as error:
            if (problem := _import_problem(error)) is None:
                raise
            _fail(problem)


def print_json(value: object) -> None:
    """Write a mapping, a ``Schema`` or a dataclass as JSON to standard output."""
    sys.stdout.write(schema.encode(value, errors="replace").decode())


def say(text: str, *, err: bool = False) -> None:
    """Write one line to standard output, or to standard error."""
    (sys.stderr if err else sys.stdout).write(f"{one_line(text)}\n")


def warn(text: str) -> None:
    """Write a warning as one line to standard error."""
    say(f"warning: {text}", err=True)


@contextlib.contextmanager
def interruptible(consequence: str) -> Iterator[None]:
    """Say in a line what Ctrl-C in this block means; without it an interruption prints nothing."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"error: stopped by Ctrl-C; {consequence}", err=True)
        raise


def _fail(reason: object, *, status: int = 1) -> NoReturn:
    say(f"error: {reason}", err=True)
    sys.exit(status)


def _import_problem(error: BaseException | None) -> MotivNetError | None:
    from motivnet.dependencies import import_problem

    return import_problem(error)


def _group(default: str | None) -> type[TyperGroup]:
    """Return a group of commands, one of which may be the default.

    Overriding its parsing is the only way in click to insert a command's name, and to reach the
    text of a usage error, which quotes the user's input, before it is printed.
    """

    class Group(TyperGroup):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            # Completion must still offer the commands.
            if default and not ctx.resilient_parsing and _names_no_command(self, ctx, args):
                args = [default, *args]
            with _one_line_usage_errors():
                return super().parse_args(ctx, args)

        def invoke(self, ctx: Any) -> Any:
            with _one_line_usage_errors():
                return super().invoke(ctx)

    return Group


def _names_no_command(group: TyperGroup, ctx: Any, args: list[str]) -> bool:
    if not args:
        return True
    first = args[0]
    if first.startswith("-"):
        own = {name for parameter in group.get_params(ctx) for name in parameter.opts}
        return first.split("=")[0] not in own
    if first in group.commands:  # also if a file of that name is here
        return False
    # A path, or what is meant as one, and not a mistyped command.
    return os.sep in first or os.path.exists(first)  # noqa: PTH110 - pathlib costs the help 10 ms


@contextlib.contextmanager
def _one_line_usage_errors() -> Iterator[None]:
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = one_line(error.message)
        raise


@contextlib.contextmanager
def _quiet_pipe() -> Iterator[None]:
    """Flush standard output while a failure can be handled; the interpreter would print it."""
    try:
        yield
    except SystemExit:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            _abandon_output()
            sys.exit(1)  # as typer does for output that does not fit the buffer
        except OSError as error:
            _fail_on_full_disk(error)
        raise
    except OSError as error:
        if error.errno in _PATH_FAULTS and error.filename is not None:
            _fail(f"{error.filename} cannot be opened: {error.strerror}")
        _fail_on_full_disk(error)


def _fail_on_full_disk(error: OSError) -> NoReturn:
    """Fail if standard output is a file on a full disk; our own files raise their own errors."""
    if error.errno != errno.ENOSPC:
        raise error
    _abandon_output()
    _fail(f"the output cannot be written: {error.strerror}")


def _abandon_output() -> None:
    """Drop what is still buffered; the interpreter would try to write it again at its end."""
    replace_by_null_device(sys.stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


def _common(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    del version
