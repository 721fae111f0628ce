"""What is missing is named with the extra that brings it, and nothing heavy is imported too early."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("module", "package"),
    [
        ("video.run", "av"),
        ("video.decoding", "av"),
        ("writers.annotated_video", "av"),
        ("writers.timeline", "matplotlib"),
    ],
)
def test_a_missing_package_is_named_with_its_extra(module: str, package: str) -> None:
    said = run(f"""
        import sys
        sys.modules["{package}"] = None
        from motivnet.errors import MissingDependencyError
        try:
            import motivnet_engines.{module}
        except MissingDependencyError as error:
            print(error)
    """)
    assert said == f"{package} is not installed; install it with: pip install 'motivnet[video]'"


def test_sources_and_results_need_no_package() -> None:
    loaded = run("""
        import sys
        from motivnet_engines.video import camera, is_video, video_source
        print(sorted({"av", "matplotlib", "torch", "onnx"} & set(sys.modules)))
    """)
    assert loaded == "[]"


def test_watching_a_video_imports_no_torch_and_draws_nothing() -> None:
    loaded = run("""
        import sys
        import motivnet_engines.writers.annotated_video, motivnet_engines.video.run
        print(sorted({"matplotlib", "torch", "lightning", "onnx"} & set(sys.modules)))
    """)
    assert loaded == "[]"
