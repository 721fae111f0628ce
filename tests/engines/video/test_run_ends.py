"""How a run ends: an exception in any thread, its caller, Ctrl-C; no thread is left behind."""

from __future__ import annotations

import itertools
import os
import signal
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ArtifactError, FileError, VideoError
from motivnet_engines.inference import classifier as classifier_module
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import FrameResult, pipeline, video_source
from motivnet_engines.video.decoding import Frame, VideoReader
from motivnet_engines.video.run import VideoRun, predict_video

from .conftest import FastClock, moving, our_threads, write_video


@pytest.mark.parametrize("stage", ["prepare", "classify", "image_result"])
def test_an_exception_in_any_thread_is_raised_in_the_caller(
    stage: str, clip: Path, classifier: EmotionClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = itertools.count()
    owner = classifier_module if stage == "image_result" else classifier
    whole = getattr(owner, stage)

    def fails(*args: Any, **options: Any) -> Any:
        if next(calls) == 3:
            raise ArtifactError("the model gives logits that are not finite")
        return whole(*args, **options)

    monkeypatch.setattr(owner, stage, fails)
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
        workers, frames = run._pipeline._workers, run._pipeline._frames
        with workers.changed:
            assert workers.wait_for(lambda: not frames.has_room(), timeout=60)
        assert run.summary.decoded < 40


def test_a_source_that_gives_neither_frame_nor_error_is_an_error(
    clip: Path, classifier: EmotionClassifier, clock: FastClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(pipeline, "_POLL_SECONDS", 0.01)
    monkeypatch.setattr(pipeline, "_JOIN_SECONDS", 0.01)
    monkeypatch.setattr(VideoReader, "_packets", lambda _: iter(release.wait, True))
    monkeypatch.setattr(clock, "now", partial(next, itertools.count(step=10)))
    with predict_video(classifier, video_source(clip)) as run:
        with pytest.raises(VideoError, match="gave no frame for 30 seconds"):
            next(run)
        release.set()


def test_ctrl_c_ends_a_run_at_once(
    clip: Path, classifier: EmotionClassifier, clock: FastClock
) -> None:
    """The decoding thread waits for the second frame, and the main thread for its result."""
    write_video(clip, moving(3), times=[0.0, 10.0, 11.0])
    waiting = threading.Event()

    def interrupt(seconds: float) -> None:
        if seconds > 0:
            waiting.wait(20)
            os.kill(os.getpid(), signal.SIGINT)

    def wait_for_the_second(run: VideoRun) -> None:
        waiting.set()
        next(run)

    clock.before_sleep = interrupt
    clock.is_due = lambda: not waiting.is_set()
    with predict_video(classifier, video_source(clip), realtime=True) as run:
        assert next(run).index == 0
        with pytest.raises(KeyboardInterrupt):
            wait_for_the_second(run)
    assert "was stopped after" in str(run.summary.error)
