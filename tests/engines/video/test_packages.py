"""A missing package is named with its extra, and nothing heavy is imported too early."""

from __future__ import annotations

import subprocess
import sys
import textwrap


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_a_missing_package_is_named_with_its_extra() -> None:
    said = run("""
        import importlib, sys
        from motivnet.errors import MissingDependencyError
        sys.modules["av"] = sys.modules["matplotlib"] = None
        for module in (
            "video.run", "video.decoding", "writers.annotated_video", "writers.timeline"
        ):
            try:
                importlib.import_module(f"motivnet_engines.{module}")
            except MissingDependencyError as error:
                print(error)
    """)
    assert said.splitlines() == [
        f"{package} is not installed; install it with: pip install 'motivnet[video]'"
        for package in ("av", "av", "av", "matplotlib")
    ]


def test_sources_need_no_package_and_watching_a_video_imports_no_torch_and_draws_nothing() -> None:
    loaded = run("""
        import sys
        from motivnet_engines.video import camera, is_video, video_source
        print(sorted({"av", "matplotlib", "torch", "onnx"} & set(sys.modules)))
        import motivnet_engines.writers.annotated_video, motivnet_engines.video.run
        print(sorted({"matplotlib", "torch", "lightning_fabric", "onnx"} & set(sys.modules)))
    """)
    assert loaded == "[]\n[]"
