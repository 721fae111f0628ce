"""Images, a video and an artifact to run ``motivnet predict`` with, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from motivnet.artifact import Artifact
from motivnet.synthetic import draw_face
from motivnet_engines import cli


@pytest.fixture
def faces(tmp_path: Path, pixels: Callable[[int], list[NDArray[np.uint8]]]) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    for index, image in enumerate(pixels(3)):
        Image.fromarray(image).save(folder / f"face {index}.png")
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight frames of a drawn face, a fifth of a second each."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, options={"g": "1"})
        stream.width, stream.height, stream.pix_fmt = 96, 128, "yuv420p"
        for _ in range(8):
            picture = draw_face("happiness", seed=1, size=(128, 96))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture
def folder(copied_artifact: Callable[..., Artifact]) -> Path:
    return copied_artifact(verified=("onnxruntime",)).folder


@pytest.fixture
def predict(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], folder: Path
) -> Callable[..., SimpleNamespace]:
    """A function that runs ``motivnet predict`` and gives its exit status and both streams."""

    def run(*arguments: object, detect: bool = False) -> SimpleNamespace:
        words = ["motivnet", "predict", "--threads", 1, "--artifact", folder]
        words += [] if detect else ["--no-detect"]
        monkeypatch.setattr(sys, "argv", [str(word) for word in (*words, *arguments)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        out, err = capfd.readouterr()
        return SimpleNamespace(status=raised.value.code or 0, out=out, err=err)

    return run
