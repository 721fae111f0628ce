"""The Dockerfiles' commands, options, extras and files exist, and the health check checks."""

from __future__ import annotations

import fnmatch
import http.server
import json
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import tomllib
import typer

from motivnet_engines.cli import app
from motivnet_engines.serving.http.access import OPEN_PATHS

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
TEXTS = pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)


def instructions(file: Path) -> list[tuple[str, str]]:
    """Each instruction and its arguments, with continued lines joined and comments left out."""
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    words = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(name, arguments) for name, arguments in words]


def arguments_of(file: Path, name: str) -> list[str]:
    return [arguments for found, arguments in instructions(file) if found == name]


def health_check(file: Path) -> list[str]:
    (check,) = arguments_of(file, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    assert command[:2] == ["python", "-c"]
    return [sys.executable, *command[1:]]


def test_there_is_one_for_each_kind_of_machine() -> None:
    assert [file.stem for file in DOCKERFILES] == ["cpu", "cuda", "jetson"]


@TEXTS
def test_the_command_and_its_options_exist(file: Path) -> None:
    (program,), (command,) = arguments_of(file, "ENTRYPOINT"), arguments_of(file, "CMD")
    assert json.loads(program) == ["motivnet"]
    name, *options = json.loads(command)
    group = typer.main.get_command(app)
    assert isinstance(group, typer.core.TyperGroup)
    known = {option for parameter in group.commands[name].params for option in parameter.opts}
    assert set(options[::2]) <= known
    assert options[options.index("--port") + 1] in arguments_of(file, "EXPOSE")


@TEXTS
def test_the_extras_exist_and_bring_no_torch(file: Path) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    (named,) = (text for text in arguments_of(file, "ARG") if text.startswith("EXTRAS="))
    for extra in named.removeprefix("EXTRAS=").split(","):
        assert not any(re.match(r"torch|motivnet\[", package) for package in extras[extra])


@TEXTS
def test_every_file_that_is_copied_is_in_the_build_context(file: Path) -> None:
    kept = [
        line[1:]
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    ]
    for arguments in arguments_of(file, "COPY"):
        if arguments.startswith("--from="):
            continue
        for source in shlex.split(arguments)[:-1]:
            assert (ROOT / source).exists(), source
            assert any(fnmatch.fnmatch(source, pattern) for pattern in kept), source


@TEXTS
def test_the_wheel_can_be_built_from_what_is_copied(file: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wanted = [path.split("/")[0] for path in project["project"]["license-files"]]
    wanted += [
        path.split("/")[0]
        for path in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    ]
    copied = " ".join(arguments_of(file, "COPY")).split()
    assert {*wanted, project["project"]["readme"]} <= set(copied)


@TEXTS
def test_the_base_is_pinned_and_the_service_is_not_root(file: Path) -> None:
    defaults = dict(text.split("=", 1) for text in arguments_of(file, "ARG") if "=" in text)
    stages = {text.split(" AS ")[1] for text in arguments_of(file, "FROM") if " AS " in text}
    for text in arguments_of(file, "FROM"):
        image = re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], text.split()[0])
        assert image in stages or re.search(r":r?\d+\.\d+\.\d+", image), image
    assert arguments_of(file, "USER") == ["10001"]
    assert any("--uid 10001" in text for text in arguments_of(file, "RUN"))


class Readiness(http.server.BaseHTTPRequestHandler):
    """Answers the path of the probe with the status of the server, and others with 404."""

    def do_GET(self) -> None:
        assert isinstance(self.server, ReadinessServer)
        self.send_response(self.server.status if self.path == "/readyz" else 404)
        self.end_headers()

    def log_request(self, code: object = None, size: object = None) -> None:
        pass


class ReadinessServer(http.server.ThreadingHTTPServer):
    """A service that is ready or not, as ``status`` says."""

    status = 200


@pytest.fixture
def service() -> Iterator[ReadinessServer]:
    with ReadinessServer(("127.0.0.1", 0), Readiness) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.mark.process
@TEXTS
def test_the_health_check_asks_whether_the_service_is_ready(
    file: Path, service: ReadinessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "/readyz" in OPEN_PATHS  # needs no token
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # where nobody listens
    command = [word.replace("8000", str(service.server_port)) for word in health_check(file)]
    for status, expected in ((200, 0), (503, 1)):
        service.status = status
        assert subprocess.run(command, check=False, timeout=30).returncode == expected
