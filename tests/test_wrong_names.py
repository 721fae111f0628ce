"""A name of nothing is told before a command imports what takes seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

import motivnet_bench.cli
import motivnet_engines.cli
import motivnet_export.cli
import motivnet_training.cli
from motivnet.path_kind import check_exist


@pytest.mark.parametrize(
    ("main", "words", "heavy"),
    [
        (motivnet_engines.cli.main, "predict no", "motivnet_engines.inference.classifier"),
        (motivnet_engines.cli.main, "adapt . no", "motivnet_engines.adaptation.adapt"),
        (motivnet_engines.cli.main, "adapt . . --val no", "motivnet_engines.adaptation.adapt"),
        (motivnet_export.cli.main, "build --checkpoint no", "motivnet_export.build"),
        (motivnet_export.cli.main, "build --model tiny --images no", "motivnet_export.build"),
        (motivnet_export.cli.main, "onnx --checkpoint no", "motivnet_export.single_file"),
        (motivnet_training.cli.main, "fit --data no", "motivnet_training.fit"),
        (motivnet_training.cli.main, "fit --data . --encoder no", "motivnet_training.fit"),
        (
            motivnet_training.cli.main,
            "cache --data no --encoder . --out o",
            "motivnet_training.token_cache",
        ),
        (motivnet_bench.cli.main, "accuracy . no", "motivnet_bench.accuracy"),
        (motivnet_bench.cli.main, "viability no", "motivnet_bench.viability.measure"),
    ],
)
def test_a_name_of_nothing_is_told_first(
    main: Callable[[], None],
    words: str,
    heavy: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, heavy, None)  # its import fails
    monkeypatch.setattr(sys, "argv", ["command", *words.split()])
    with pytest.raises(SystemExit) as raised:
        main()
    assert raised.value.code == 1
    assert capfd.readouterr().err == "error: no does not exist; check its name\n"


def test_what_was_left_out_and_a_dangling_link_are_not_names_of_nothing(tmp_path) -> None:
    (tmp_path / "link").symlink_to("nowhere")  # whoever opens it says so
    check_exist(None, tmp_path, tmp_path / "link")
