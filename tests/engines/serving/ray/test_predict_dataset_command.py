"""What the command says, where no Ray has to be started for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from motivnet.errors import FileError
from motivnet_engines.cli import app
from motivnet_engines.serving.ray.dataset import ShardWorker
from motivnet_engines.serving.ray.reading import ReadingOptions
from motivnet_engines.serving.ray.shards import keep_plan, list_images, make_plan

pytestmark = [
    # Ray's own code meets its own deprecations when it is imported.
    pytest.mark.filterwarnings("ignore:.*use_push_based_shuffle.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*use_polars.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*use_arrow_tensor_v2.*:DeprecationWarning"),
]


@pytest.fixture
def invoked(fp32_artifact: Path) -> Callable[..., Result]:
    """A function that runs the command over a source, by default without detection."""

    def run(source: Path, out: Path | str, *words: str) -> Result:
        command = [
            "predict-dataset",
            str(source),
            "--out",
            str(out),
            "--artifact",
            str(fp32_artifact),
        ]
        return CliRunner().invoke(app, [*command, "--allow-outside", *(words or ("--no-detect",))])

    return run


@pytest.fixture
def finished(fp32_artifact: Path, photos: Path, tmp_path: Path) -> Callable[[list[str]], Path]:
    """A function that returns the output folder of a run over these files, in one shard."""

    def made(names: list[str]) -> Path:
        source, out = tmp_path / "list.txt", tmp_path / "out"
        source.write_text("\n\n".join(str(photos / name) for name in names))
        options = ReadingOptions(artifact=str(fp32_artifact), no_detect=True).for_workers(cpus=1)
        paths = list_images(source, allow_outside=True)
        keep_plan(out, make_plan(paths, options, shard_size=1_000))
        shard = {"shard": 0, "first": 0, "paths": paths}
        assert ShardWorker(options, str(out))(shard)["failure"] == ""
        return out

    return made


def test_images_that_could_not_be_read_are_named_and_the_exit_status_is_1(
    finished, invoked, tmp_path: Path
) -> None:
    out = finished(["0000.png", "0007_text.png", *(f"absent{index}.png" for index in range(6))])
    done = invoked(tmp_path / "list.txt", out)
    assert done.exit_code == 1
    assert (
        done.stdout == f"{out}: 8 images in 1 file, 7 could not be read (1 file existed before)\n"
    )
    *errors, more = done.stderr.splitlines()
    names = ["0007_text.png", *(f"absent{index}.png" for index in range(4))]
    for error, name in zip(errors, names, strict=True):
        assert error.startswith("error: ")
        assert error.count(name) == 1
    assert "is not a JPEG, PNG, WebP, BMP, TIFF, AVIF or HEIC image" in errors[0]
    assert more == "... and 2 more"


def test_where_every_image_was_read_the_exit_status_is_0(finished, invoked, tmp_path: Path) -> None:
    out = finished(["0000.png"])
    done = invoked(tmp_path / "list.txt", out)
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout == f"{out}: 1 image in 1 file, 0 could not be read (1 file existed before)\n"


def test_an_output_that_is_a_file_is_refused(photos: Path, invoked) -> None:
    error = invoked(photos, photos / "0000.png").exception
    assert isinstance(error, FileError)
    assert str(error) == f"{photos / '0000.png'} is a file; give a folder for --out"


@pytest.mark.parametrize("out", ["/proc/absent", "/dev/null/out"])
def test_an_output_that_cannot_be_written_is_refused(out: str, photos: Path, invoked) -> None:
    error = invoked(photos, out).exception
    assert isinstance(error, FileError)
    assert str(error).startswith(f"{out} cannot be written: ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--detector", "{text}"], "is not face_detection_yunet"),
        (["--no-detect", "--runtime", "quantum"], "no runtime is called 'quantum'"),
        (
            ["--no-detect", "--runtime", "tensorrt"],
            "not installed|needs an NVIDIA GPU",
        ),
    ],
)
def test_a_detector_or_a_runtime_that_cannot_be_had_leaves_no_folder(
    words: list[str], message: str, photos: Path, invoked, tmp_path: Path
) -> None:
    filled = [word.format(text=photos / "0007_text.png") for word in words]
    with pytest.raises(Exception, match=message):
        raise invoked(photos, tmp_path / "out", *filled).exception
    assert not (tmp_path / "out").exists()
