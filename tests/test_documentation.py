"""The commands of README and docs: run as they stand, in a folder that has the files they name."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import av
import cv2
import pytest
import torch
import typer
import typer.core

from motivnet.checkpoints import load_model
from motivnet.checkpoints.key_maps import published_from_model
from motivnet.config import ModelConfig
from motivnet.labels import labels_for
from motivnet.synthetic import draw_face
from motivnet_export.build import build_artifact
from motivnet_export.request import BuildRequest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
RUN = [README, *(ROOT / "docs" / f"{name}.md" for name in ("export", "predict"))]
RUN += [ROOT / "docs" / f"{name}.md" for name in ("unknown-and-new-classes", "benchmarks")]
RUN += [ROOT / "docs" / f"tutorial-{name}.md" for name in ("demo", "photos", "checkpoint")]
COMMANDS = {
    "motivnet": "motivnet_engines.cli",
    "motivnet-export": "motivnet_export.cli",
    "motivnet-train": "motivnet_training.cli",
    "motivnet-bench": "motivnet_bench.cli",
}
NOT_RUN = {
    "make demo": "trains for a minute; its parts are run here",
    "make test": "runs this test",
    "pip install": "is tested on the wheel",
    "motivnet-bench --model sapiens-0.3b": "takes ten minutes; tests/bench runs the tiny size",
    "motivnet-export build --target web": "fetches npm's package; tests/export/test_web.py runs it",
    "motivnet-export optimise": "measures hundreds of images; tests/bench/optimise runs it",
    "motivnet-train fit": "needs the weights of a published encoder; tests/training runs it",
    "motivnet predict --camera": "needs a camera",
    "motivnet serve --artifact": "serves until it is stopped; tests/engines/serving runs it",
}
OTHER_PROGRAMS = {"--model-repository", "--model-control-mode", "--http-address", "--http-host"}
OTHER_PROGRAMS |= {"--onnx", "--stronglyTyped", "--saveEngine", "--minShapes", "--optShapes"}
OTHER_PROGRAMS |= {"--memPoolSize", "--noTF32", "--skipInference", "--loadEngine", "--shapes"}
OTHER_PROGRAMS |= {"--loadInputs", "--exportOutput", "--verbose", "--minutes"}
OTHER_PROGRAMS |= {
    "--profilingVerbosity",
    "--maxShapes",
    "--data-binary",
    "--system-site-packages",
    "--build",
}
OTHER_PROGRAMS |= {"--backend-config", "--editable", "--strict", "--quick", "--sizes", "--blocks"}
OTHER_PROGRAMS |= {"--rm", "--build-arg", "--gpus", "--from", "--directory"}
"""Options that the pages mention of other programs, such as trtexec, Triton, curl and docker."""


def fences(language: str, *pages: Path) -> list[str]:
    text = "\n".join(page.read_text() for page in pages)
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def commands(*pages: Path) -> list[str]:
    lines = [
        line.split("  #")[0].split(" # ")[0].strip()
        for f in fences("sh", *pages)
        for line in f.splitlines()
    ]
    return list(dict.fromkeys(line for line in lines if line))


def skipped(command: str) -> bool:
    return any(command.startswith(start) for start in NOT_RUN)


def command_of(words: list[str]) -> typer.core.TyperCommand | typer.core.TyperGroup:
    """The command that a line runs, or the program if the line names none."""
    if words[:2] == ["motivnet-export", "optimise"]:  # handed over
        words = ["motivnet-bench", *words[1:]]
    program = typer.main.get_command(importlib.import_module(COMMANDS[words[0]]).app)
    assert isinstance(program, typer.core.TyperGroup)
    return program.commands.get(next((w for w in words[1:] if not w.startswith("-")), ""), program)


def options_of(command: typer.core.TyperCommand | typer.core.TyperGroup) -> set[str]:
    own = {name for p in command.params for name in (*p.opts, *p.secondary_opts)} | {"--help", "-h"}
    if isinstance(command, typer.core.TyperGroup):
        return own.union(*map(options_of, command.commands.values()))
    return own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A folder with every file that the README's commands name."""
    root = tmp_path_factory.mktemp("readme")
    (root / "checkpoints").mkdir()
    shutil.copy(tiny_checkpoint, root / "checkpoints" / "demo.safetensors")
    build_artifact(
        BuildRequest(
            checkpoint=root / "checkpoints" / "demo.safetensors",
            out=root / "artifacts" / "demo",
            precision="fp16",
            num_images=1,
        )
    )
    torch.save(
        published_from_model(load_model(tiny_checkpoint).state_dict()), root / "MotivNet.pth"
    )
    (root / "faces").mkdir()
    for label in labels_for(7):
        save_face(root / "faces" / f"{label}.png", label)
        (root / "FOLDER" / label).mkdir(parents=True)
        for seed in range(20):
            save_face(root / "FOLDER" / label / f"{seed}.png", label, seed=seed)
    people = (
        f"{label}/{seed}.png,{('female', 'male')[seed % 2]}\n"
        for label in labels_for(7)
        for seed in range(20)
    )
    (root / "people.csv").write_text("file,gender\n" + "".join(people))
    save_face(root / "photo.jpg", "happiness")
    (root / "photos").mkdir()
    save_face(root / "photos" / "face.jpg", "sadness")
    save_clip(root / "clip.mp4")
    return root


def save_face(path: Path, label: str, *, seed: int = 5) -> None:
    cv2.imwrite(str(path), draw_face(label, seed=seed, size=(256, 192))[:, :, ::-1])


def save_clip(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 192, 256
        for seed in range(11):
            pixels = draw_face("surprise", seed=seed, size=(256, 192))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    return subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=250, check=False
    )


def test_every_reason_for_not_running_a_command_is_still_needed() -> None:
    for start in NOT_RUN:
        assert any(command.startswith(start) for command in commands(*RUN)), start


@pytest.mark.process
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", RUN, ids=lambda page: page.stem)
def test_the_commands_of_a_page_run_one_after_the_other(page: Path, folder: Path) -> None:
    for command in commands(page):
        if skipped(command):
            continue
        words = shlex.split(command)
        if words[0] == "motivnet-bench" and not set(words) & {
            *("accuracy", "viability", "groups", "robustness")
        }:
            words += ["--rounds", "1", "--seconds", "0.05"]
        if words[:2] == ["motivnet-export", "build"]:
            words += ["--num-images", "2"]
        if "robustness" in words:
            words += ["--limit", "2"]
        if "gate" in words:  # random weights of a tiny size promise no speed-up and no accuracy
            words[words.index("--min-speedup") + 1] = "0.001"
            words[words.index("--max-drop") + 1] = "100"
        done = run(words, folder)
        expected = {0, 1} if command == "motivnet doctor" else {0}
        assert done.returncode in expected, f"{command}: {done.stderr}"
        assert "Traceback" not in done.stderr, command


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_option_exists(page: Path) -> None:
    lines = [line.removeprefix("$ ") for f in fences("sh|text", page) for line in f.splitlines()]
    for line in lines:
        words = line.split("  #")[0].split(" # ")[0].replace("&&", " ").split()
        if not words or words[0] not in COMMANDS or "──" in line:
            continue
        options = {word.split("=")[0] for word in words if word.startswith("--")}
        assert options <= options_of(command_of(words)) | OTHER_PROGRAMS, line


def test_every_option_in_the_text_exists() -> None:
    known = OTHER_PROGRAMS.union(*(options_of(command_of([name])) for name in COMMANDS))
    for page in PAGES:
        prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`([^`]+)`", prose):
            assert set(re.findall(r"(?<![\w-])--[a-z][\w-]+", code)) <= known, (
                f"{page.name}: {code}"
            )


@pytest.mark.process
def test_the_site_is_built_with_every_page_in_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pages = {page.with_suffix(".html").name for page in (ROOT / "docs").glob("*.md")}
    assert pages | {"index.html", "commands.html"} <= {page.name for page in tmp_path.iterdir()}
    assert "motivnet-bench optimise --help" in (tmp_path / "commands.html").read_text()


@pytest.mark.process
@pytest.mark.parametrize("code", list(dict.fromkeys(fences("python", *RUN))))
def test_python_runs_as_printed(code: str, folder: Path) -> None:
    done = run([sys.executable, "-c", code], folder)
    assert done.returncode == 0, done.stderr
    if "predict" in code:
        assert done.stdout.split()[0] in labels_for(7)


def test_configuration_is_a_configuration(tmp_path: Path) -> None:
    (text,) = fences("json", *PAGES)
    (tmp_path / "config.json").write_text(text)
    assert ModelConfig.from_json(tmp_path / "config.json") == ModelConfig.named("tiny")


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 200


def anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.stem)
def test_every_link_leads_to_a_file_and_a_section(page: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        if not target.startswith("https://"):
            path, _, section = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), target
            assert not section or section in anchors(file), target
