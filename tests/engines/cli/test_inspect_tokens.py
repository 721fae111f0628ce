"""What ``motivnet inspect`` says of the computation, and of models that keep some tokens."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import msgspec
import pytest

from motivnet.config import EncoderConfig, ModelConfig
from motivnet_engines import cli
from motivnet_engines.diagnostics.tables import flop_text, rows_of_tokens

TINY = ModelConfig.named("tiny")
MIDDLE = tuple(position for position in range(48) if 8 <= position < 40 and position % 6 in (2, 3))


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """A function that runs the command here and returns its lines, each space once."""

    def run(folder: Path) -> list[str]:
        monkeypatch.setattr(sys, "argv", ["motivnet", "inspect", str(folder)])
        with pytest.raises(SystemExit) as raised:
            cli.main()
        assert not raised.value.code
        return [" ".join(line.split()) for line in capfd.readouterr().out.splitlines()]

    return run


def test_inspect_draws_the_tokens_that_are_kept(inspect, copied_artifact) -> None:
    folder = copied_artifact(verified=("onnxruntime",)).folder
    document = json.loads((folder / "manifest.json").read_bytes())
    document["source"]["config"]["encoder"]["kept_tokens"] = MIDDLE
    (folder / "manifest.json").write_text(json.dumps(document))
    lines = inspect(folder)
    whole, kept = (flop_text(model.flop) for model in (TINY, TINY.keeping(MIDDLE)))
    assert f"computation {kept} per image" in lines
    assert f"tokens keeps 12 of 48 tokens ({whole} with all of them)" in lines
    start = lines.index("......")
    assert lines[start : start + 8] == ["......", *["..##.."] * 6, "......"]


def test_inspect_of_all_tokens_says_the_computation_and_draws_nothing(
    inspect, copied_artifact
) -> None:
    lines = inspect(copied_artifact(verified=("onnxruntime",)).folder)
    assert f"computation {flop_text(TINY.flop)} per image" in lines
    assert not [line for line in lines if line.startswith("tokens") or "##" in line]


def test_a_wide_grid_is_drawn_in_64_columns() -> None:
    encoder = EncoderConfig(embed_dim=8, depth=1, num_heads=2, image_size=(64, 2064))  # 4 x 129
    kept = (0, 1, 2, 129, 130, 131, 258, 259, 260, *range(129 * 3, 129 * 4))
    rows = rows_of_tokens(msgspec.structs.replace(encoder, kept_tokens=kept))
    assert rows == ["#" + "." * 42, "#" * 43]
    partly = rows_of_tokens(msgspec.structs.replace(encoder, kept_tokens=(0, 1)))
    assert partly == ["+" + "." * 42, "." * 43]


@pytest.mark.parametrize(
    ("flop", "said"),
    [(9_280_000_000_000, "9.28 TFLOP"), (44_200_000_000, "44.2 GFLOP"), (51_000_000, "51 MFLOP")],
)
def test_operations_have_three_digits(flop: int, said: str) -> None:
    assert flop_text(flop) == said
