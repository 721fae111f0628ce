"""Pages of the documentation site that are made when it is built (a hook of MkDocs).

README.md is the home page. A file or folder of the repository that a page links to becomes a page
under ``repository/``, and the link leads there. ``commands.md`` is what ``--help`` prints.
"""

from __future__ import annotations

import importlib
import os
import posixpath
import re
from pathlib import Path

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = {
    "motivnet": "motivnet_engines.cli",
    "motivnet-export": "motivnet_export.cli",
    "motivnet-train": "motivnet_training.cli",
    "motivnet-bench": "motivnet_bench.cli",
}
_HANDED_OVER = {
    (
        "motivnet-export",
        "optimise",
    ): "Becomes [`motivnet-bench optimise`](#motivnet-bench-optimise).\n",
    ("motivnet", "card"): "Becomes [`motivnet-bench card`](#motivnet-bench-card).\n",
}
"""What is printed in another process, which this one would become."""

_LINK = re.compile(r"(?<=\]\()(?!https?://|mailto:|#)([^)#\s]+)(#[^)\s]*)?(?=\))")
_LANGUAGES = {".cpp": "cpp", ".h": "cpp", ".py": "python", ".txt": "text", ".cff": "yaml"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages, and point the links of all pages into the site."""
    pages = {"index.md": (ROOT / "README.md", (ROOT / "README.md").read_text())}
    for file in files.documentation_pages():
        path = Path(file.abs_src_path or "")
        pages[file.src_uri] = (path, path.read_text())
    linked: dict[str, tuple[Path, str]] = {}
    for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"):
        linked[_place(ROOT / name)] = (ROOT / name, (ROOT / name).read_text())
    made: dict[str, str] = {}
    waiting = pages | linked
    while waiting:
        uri, (path, text) = waiting.popitem()
        made[uri], more = _with_links(text, path.parent, uri)
        for target in more:
            place = _place(target)
            if place not in made and place not in pages:
                waiting.setdefault(place, (target, _page_of(target)))
    made["commands.md"] = commands_page()
    for uri, text in made.items():
        if (old := files.get_file_from_path(uri)) is not None:
            files.remove(old)
        files.append(File.generated(config, uri, content=text))
    return files


def _with_links(text: str, folder: Path, uri: str) -> tuple[str, list[Path]]:
    """The text with its links as seen from the page, and what of the repository they lead to."""
    found: list[Path] = []

    def moved(link: re.Match[str]) -> str:
        target = Path(os.path.normpath(folder / link[1]))
        if not target.exists():
            return link[0]  # MkDocs says so
        if target.is_relative_to(ROOT / "docs"):
            place = target.relative_to(ROOT / "docs").as_posix()
        else:
            place = _place(target)
            found.append(target)
        return posixpath.relpath(place, posixpath.dirname(uri) or ".") + (link[2] or "")

    return _LINK.sub(moved, text), found


def _place(target: Path) -> str:
    if target == ROOT / "README.md":
        return "index.md"
    name = target.relative_to(ROOT).as_posix()
    return f"repository/{name}" if target.suffix == ".md" else f"repository/{name}.md"


def _page_of(target: Path) -> str:
    """A Markdown file as it is; another file, or each file of a folder, as a block of code."""
    if target.suffix == ".md":
        return target.read_text()
    name = target.relative_to(ROOT).as_posix()
    if target.is_file():
        return f"# {name}\n\n{_block(target)}"
    parts = [f"## {file.name}\n\n{_block(file)}" for file in sorted(target.iterdir())]
    return "\n".join([f"# {name}\n", *parts])


def _block(file: Path) -> str:
    return f"````{_LANGUAGES.get(file.suffix, 'text')}\n{file.read_text().rstrip()}\n````\n"


def commands_page() -> str:
    """What each command prints with ``--help``."""
    parts = ["# Commands\n\nWhat `--help` prints. `motivnet-bench` alone is its `latency`.\n"]
    for name, module in COMMANDS.items():
        app = importlib.import_module(module).app
        group = typer.main.get_command(app)
        assert isinstance(group, typer.core.TyperGroup)
        parts.append(f"## {name}\n\n{_help(app, name)}")
        for sub in group.commands:
            text = _HANDED_OVER.get((name, sub)) or _help(app, name, sub)
            parts.append(f"### {name} {sub}\n\n{text}")
    return "\n".join(parts)


def _help(app: typer.Typer, *words: str) -> str:
    settings = {"COLUMNS": "80", "TERMINAL_WIDTH": "80", "NO_COLOR": "1"}
    done = CliRunner().invoke(app, [*words[1:], "--help"], prog_name=words[0], env=settings)
    if done.exit_code:
        raise RuntimeError(f"{' '.join(words)} --help: {done.output}")
    return f"```text\n$ {' '.join(words)} --help\n{done.stdout.strip()}\n```\n"
