"""How a run ends: by an exception in any thread, by its caller, by Ctrl-C; never with a thread left behind."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ArtifactError, FileError, VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import FrameResult, video_source
from motivnet_engines.video.decoding import Frame
from motivnet_engines.video.run import predict_video

from .conftest import moving, our_threads, write_video


@pytest.mark.parametrize("stage", ["prepare", "classify", "result"])
def test_an_exception_in_any_thread_is_raised_in_the_caller(
    stage: str, clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    whole = getattr(classifier, stage)

    def fails(*args: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise ArtifactError("the model gives logits that are not finite")
        return whole(*args, **options)

    monkeypatch.setattr(classifier, stage, fails)
    with (
        predict_video(classifier, video_source(clip)) as run,
        pytest.raises(ArtifactError, match="not finite"),
    ):
        list(run)
    assert run.summary.complete is False
    assert run.summary.error == "the model gives logits that are not finite"
    assert run.summary.classified < 50


def test_an_exception_in_on_frame_ends_the_run(clip: Path, classifier: EmotionClassifier) -> None:
    def fails(frame: Frame, result: FrameResult | None) -> None:
        raise FileError("the disk is full")

    with (
        predict_video(classifier, video_source(clip), on_frame=fails) as run,
        pytest.raises(FileError),
    ):
        list(run)
    assert run.summary.error == "the disk is full"


@pytest.mark.parametrize("how", ["with", "close", "forgotten", "never begun"])
def test_a_run_that_is_left_early_stops_its_threads(
    how: str, clip: Path, classifier: EmotionClassifier
) -> None:
    run = predict_video(classifier, video_source(clip))
    if how != "never begun":
        assert next(run).index == 0
        assert our_threads()
    if how == "with":
        with run:
            pass
    elif how in ("close", "never begun"):
        run.close()
        run.close()
    if how != "forgotten":
        assert our_threads() == []
        summary = run.summary
        assert summary.decoded == summary.classified + summary.skipped + summary.dropped
        assert (summary.complete, summary.classified) == (False, 0 if how == "never begun" else 1)
        assert "was stopped after" in str(summary.error)
    del run


def test_the_reader_does_not_run_far_ahead_of_the_caller(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(tmp_path / "long.mp4", moving(100))
    with predict_video(classifier, video_source(path)) as run:
        next(run)
        time.sleep(0.3)
        assert run.summary.decoded < 40


def test_a_source_that_gives_neither_frame_nor_error_is_an_error(
    clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr("motivnet_engines.video.steps.STALL_SECONDS", 0.2)
    monkeypatch.setattr(
        "motivnet_engines.video.decoding.VideoReader._packets", lambda _: iter(release.wait, True)
    )
    threading.Timer(0.5, release.set).start()
    with (
        predict_video(classifier, video_source(clip)) as run,
        pytest.raises(VideoError, match="gave no frame for"),
    ):
        list(run)


def test_ctrl_c_ends_a_run_at_once(clip: Path) -> None:
    program = textwrap.dedent("""
        import sys
        from motivnet_engines.inference.classifier import EmotionClassifier
        from motivnet_engines.runtimes.fake import FakeRuntime, fake_manifest
        from motivnet_engines.video import video_source
        from motivnet_engines.video.run import predict_video
        manifest = fake_manifest()
        classifier = EmotionClassifier(FakeRuntime(manifest), manifest)
        run = predict_video(classifier, video_source(sys.argv[1]), realtime=True)
        try:
            with run:
                for result in run:
                    print(result.index, flush=True)
        except KeyboardInterrupt:
            print(run.summary.error, flush=True)
    """)
    write_video(clip, moving(30), times=[0.0, *(10.0 + index for index in range(29))])
    command = [sys.executable, "-c", program, str(clip)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ}
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.send_signal(signal.SIGINT)
        start = time.monotonic()
        rest = process.stdout.read()
        assert process.wait(20) == 0
    assert "was stopped after" in rest
    assert time.monotonic() - start < 8
