"""``motivnet predict`` that fails or is interrupted: what is reported first, and what is kept."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
import textwrap
from pathlib import Path

import av
import numpy as np
import pytest

from motivnet.errors import ArtifactError
from motivnet.images import read_image
from motivnet_engines.cli import predict_run
from motivnet_engines.cli.predict_run import PredictRun
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video.results import FrameResult
from motivnet_engines.video.run import VideoRun


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def run_without(
    package: str, *arguments: str, folder: Path, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run ``motivnet predict`` in a process of its own, in which a package cannot be imported."""
    words = ["motivnet", "predict", *arguments, "--no-detect", "--artifact", str(folder)]
    program = f"""
        import sys
        sys.modules["{package}"] = None
        from motivnet_engines.inference import classifier
        from motivnet_engines import cli
        {before}
        sys.argv = {words!r}
        cli.main()
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
    )


@pytest.mark.parametrize(
    ("package", "option"), [("av", ["--every", "2"]), ("matplotlib", ["--timeline", "x.png"])]
)
def test_a_missing_package_is_told_before_the_work(
    package: str, option: list[str], folder: Path, clip: Path
) -> None:
    before = "classifier.EmotionClassifier.open = None  # is not called"
    done = run_without(package, str(clip), *option, folder=folder, before=before)
    extra = f"error: {package} is not installed; install it with: pip install 'motivnet[video]'\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", extra)


def test_a_video_without_its_package_costs_no_photo(folder: Path, faces: Path, clip: Path) -> None:
    done = run_without("av", str(clip), str(faces), "--threads", "1", folder=folder)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {clip} is not read: av is not installed; install it with: "
        "pip install 'motivnet[video]'\n",
    )
    assert done.stdout.count("face ") == 3


@pytest.mark.parametrize("option", ["--montage", "--timeline"])
def test_a_picture_that_fails_at_the_end_costs_no_result(
    option: str, predict, clip: Path, tmp_path: Path, file_growth
) -> None:
    with file_growth(10_000):
        result = predict(clip, "--out", tmp_path / "r.jsonl", option, tmp_path / "x.png")
    assert result.status == 1
    assert result.err.splitlines()[1:] == [
        f"error: {tmp_path / 'x.png'} was not written: File too large"
    ]
    documents = lines_of((tmp_path / "r.jsonl").read_text())
    assert (len(documents), documents[-1]["video"]["complete"]) == (9, True)


def test_an_error_of_the_runtime_costs_no_result(
    predict, faces: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    classify = EmotionClassifier.classify

    def failing(self: EmotionClassifier, inputs: list[np.ndarray]) -> list[object]:
        if clip.exists():
            return list(classify(self, inputs))
        raise ArtifactError("the model gives logits that are not finite")

    monkeypatch.setattr(EmotionClassifier, "classify", failing)
    monkeypatch.setattr(
        "motivnet_engines.cli.predict_run._frame_counts", lambda _: clip.unlink() or "seen"
    )
    result = predict(clip, faces, "--out", tmp_path / "r.csv")
    assert (result.status, result.err) == (
        1,
        "seen\nerror: the model gives logits that are not finite\n",
    )
    rows = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["label"] != "" for row in rows] == [True] * 8 + [False]
    assert (rows[-1]["file"], rows[-1]["error"]) == (
        str(faces / "face 0.png"),
        "the model gives logits that are not finite",
    )


def test_a_video_without_a_frame_says_why_and_not_that_nothing_was_drawn(
    predict, clip: Path, tmp_path: Path
) -> None:
    data = clip.read_bytes()
    start = data.index(b"mdat") + 4
    end = data.index(b"moov") - 4
    clip.write_bytes(data[:start] + bytes(end - start) + data[end:])
    result = predict(
        clip,
        "--format",
        "jsonl",
        "--annotate",
        tmp_path / "drawn.mp4",
        "--timeline",
        tmp_path / "t.png",
    )
    assert result.status == 1
    assert "holds nothing that can be decoded" in result.err
    assert "was not written" not in result.err
    assert lines_of(result.out)[-1]["video"]["complete"] is False
    assert not (tmp_path / "drawn.mp4").exists()


@pytest.fixture
def interrupted_after_two(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after the second source."""
    finish, finished = PredictRun._finish, []

    def interrupting(run: PredictRun) -> None:
        finish(run)
        finished.append(run)
        if len(finished) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(PredictRun, "_finish", interrupting)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_ctrl_c_keeps_the_results_and_says_what_is_missing(
    form: str, predict, interrupted_after_two: None, faces: Path, tmp_path: Path
) -> None:
    out, drawn, sheet = tmp_path / f"r.{form}", tmp_path / "drawn", tmp_path / "sheet.png"
    done = predict(faces, "--out", out, "--annotate", drawn, "--montage", sheet)
    said = "stopped by Ctrl-C; 1 of 3 images and videos were not read"
    assert (done.status, done.out) == (130, "")
    assert done.err == f"error: {said}; {out} holds the results so far\n"
    text = out.read_text()
    found = lines_of(text) if form == "jsonl" else list(csv.DictReader(io.StringIO(text)))
    assert [Path(each["file"]).name for each in found] == ["face 0.png", "face 1.png", "face 2.png"]
    assert [each["error"] or None for each in found] == [None, None, said]
    assert (drawn / "face 0.png").is_file()
    assert read_image(sheet).shape[1] > 160


def test_ctrl_c_before_the_first_result_leaves_an_older_file(
    predict, faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "r.csv"
    out.write_text("older")
    monkeypatch.setattr(predict_run, "predict_files", interrupted)
    done = predict(faces, "--out", out)
    assert (done.status, out.read_text()) == (130, "older")
    assert done.err == "error: stopped by Ctrl-C before the first result; nothing is written\n"


def test_ctrl_c_keeps_what_was_seen_of_a_video(
    predict, faces: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, drawn, timeline = tmp_path / "r.jsonl", tmp_path / "drawn", tmp_path / "timeline.png"
    next_result = VideoRun.__next__

    def interrupting(run: VideoRun) -> FrameResult:
        found = next_result(run)
        if found.index == 4:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(VideoRun, "__next__", interrupting)
    done = predict(clip, faces, "--out", out, "--annotate", drawn, "--timeline", timeline)
    assert done.status == 130
    counts, line = done.err.splitlines()
    assert counts.startswith(f"{clip}: ")
    assert counts.endswith(f"; {drawn / 'clip.mp4'} holds them")
    assert line.endswith(f"3 of 4 images and videos were not read; {out} holds the results so far")
    documents = lines_of(out.read_text())
    assert [document.get("frame") for document in documents[:-2]] == [0, 1, 2, 3]
    assert "was stopped after" in documents[-2]["error"]
    assert documents[-1]["error"].startswith("stopped by Ctrl-C")
    with av.open(str(drawn / "clip.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 5
    assert read_image(timeline).ndim == 3
