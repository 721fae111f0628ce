"""A command line of the kind that the project's four are, run as a program by its tests."""

from __future__ import annotations

import errno
import logging
import os
import sys
import time
import warnings

import typer

from motivnet.command_line import JSONOption, interruptible, make_app, print_json, run, say, warn
from motivnet.errors import FileError

app = make_app(
    "Commands for the tests.", default="first" if sys.argv.pop(1) == "with-default" else None
)


@app.command()
def first(count: int = 1, json: JSONOption = False) -> None:
    """Prints what it was given."""
    if json:
        print_json({"count": count})
    else:
        typer.echo(f"first {count}")


@app.command()
def long(rows: int = 100_000) -> None:
    """Prints more than a pipe holds."""
    print_json({"rows": list(range(rows))})


@app.command()
def scan(path: str) -> None:
    """Prints a grey level of a TIFF image."""
    from pathlib import Path

    from motivnet.images import read_image

    typer.echo(read_image(Path(path))[0, 0, 0])


@app.command()
def wait() -> None:
    """Waits for an interruption."""
    typer.echo("ready")
    time.sleep(60)


@app.command()
def mistake() -> None:
    """Fails as a user's mistake does."""
    raise FileError("a.png\ndoes not\texist;\n\n \x1b[31mchoose\u202e another")


@app.command()
def bug() -> None:
    """Fails as a bug of ours does."""
    raise ZeroDivisionError("a bug of ours")


@app.command()
def unseen(number: str) -> None:
    """Looks at a path that the system does not give."""
    raise OSError(getattr(errno, number), "it is gone", "mnt/photos")


@app.command()
def foreign(text: str) -> None:
    """Says a foreign text in every way that there is."""
    from motivnet.terminal import details, show, table

    text = text.encode().decode("unicode_escape")
    text = text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
    logging.getLogger("library").warning("read %s", text)
    warnings.warn(text, stacklevel=1)
    warn(text)
    say(text)
    typer.echo(text)
    print_json({text: text})
    show(table(text), details({text: text}))
    sys.stdout.write(text)
    raise ValueError(text)


@app.command()
def stage() -> None:
    """Works on a stage that counts as long from its beginning on."""
    from motivnet import terminal

    terminal.ANNOUNCED_AFTER = 0.0
    with terminal.progress("reading a\x1b"):
        time.sleep(0.3)
    with interruptible("nothing was written"), terminal.progress("writing"):
        time.sleep(0.3)
        raise KeyboardInterrupt


@app.command()
def native(out: str) -> None:
    """Warns, and writes a file while a native library prints."""
    warn("a line before the work")
    with open(out, "w") as file:
        for number in (1, 2):
            os.write(number, b"printed by a native library\n")
        file.write("results")


@app.command()
def accents(text: str) -> None:
    """Says a text in every way but click's, which writes UTF-8 whatever a terminal takes."""
    from motivnet.terminal import show, table

    text = text.encode().decode("unicode_escape")
    warn(text)
    say(text)
    show(table(text))
    print_json({text: text})


@app.command()
def exhausted(kind: str) -> None:
    """Runs out of memory or of Python's stack."""
    raise {"memory": MemoryError, "stack": RecursionError}[kind]("a\nb")


if __name__ == "__main__":
    run(app)
