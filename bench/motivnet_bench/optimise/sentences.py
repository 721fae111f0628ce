"""What a run comes down to, in sentences."""

from __future__ import annotations

from motivnet_bench.intervals import Answers, images_for_interval
from motivnet_bench.optimise.result import Limits, Measured, OptimiseResult


def describe_point(each: Measured, full: Measured | None) -> str:
    """Return the savings and the loss of a point, beside the full model.

    Such as ``256x192 with 60% of the tokens: 3.4x fewer FLOP, 3.1x faster, -0.6 points (-1.7 to
    +0.3)``.
    """
    if full is None or each.point.kind == "full":
        return f"{each.point.title}: the full model, {change_text(each.answers)}"
    fewer = full.point.flop / each.point.flop
    return (
        f"{each.point.title}: {fewer:.1f}x fewer FLOP, {each.times_faster:.1f}x faster, "
        f"{change_text(each.answers)}"
    )


def change_text(answers: Answers) -> str:
    """Return the change of the accuracy with its interval: ``-0.6 points (-1.7 to +0.3)``."""
    drop = answers.drop
    return f"{_signed(-drop.value)} points ({_signed(-drop.high)} to {_signed(-drop.low)})"


def limits_text(limits: Limits) -> str:
    """Return the limits as options."""
    values = (
        ("--max-drop", limits.max_drop),
        ("--max-ms", limits.max_ms),
        ("--max-gflop", limits.max_gflop),
    )
    return " and ".join(f"{name} {value:g}" for name, value in values if value is not None)


def describe_outcome(result: OptimiseResult, pick: Measured | None, near: Measured | None) -> str:
    """Return what was picked, or what comes nearest to the limits."""
    full, asked = result.full, limits_text(result.limits)
    if pick is not None:
        why = f" ({asked})" if asked else " (the knee of the curve)"
        return f"{describe_point(pick, full)}{why}"
    assert near is not None
    cost = f", {1e3 * near.timing.seconds:.3g} ms, {near.point.flop / 1e9:.3g} GFLOP"
    return f"no point keeps {asked}; the nearest is {describe_point(near, full)}{cost}"


def describe_times(result: OptimiseResult) -> str:
    """Return the times of the pick and of the full model, in the pair and as built by default."""
    pick, full, pair = result.point(result.pick), result.full, result.pair
    if pick is None or full is None or pair is None:
        return ""
    times = {each.pair: each.timing.seconds for each in result.variants if each.timing}
    text = (
        f"In {pair.title} it takes {_milliseconds(pick.timing.seconds)} per image, the full model "
        f"{_milliseconds(times[pair])}"
    )
    plain = [each for each in result.variants if each.default and each.pair.precision == "fp32"]
    if plain and plain[0].pair != pair and plain[0].pair in times:
        text += f", and in {plain[0].pair.title} {_milliseconds(times[plain[0].pair])}"
    return f"{text}."


def doubts(result: OptimiseResult) -> list[str]:
    """Return what a reader should know before he trusts the pick."""
    texts = []
    pick, limits = result.point(result.pick), result.limits
    if pick is not None and limits.max_drop is not None:
        needed = images_for_interval(pick.answers, limits.max_drop)
        high = pick.answers.drop.high
        if high > limits.max_drop:
            enough = f"; about {needed:,} images would tell" if needed else ""
            texts.append(
                f"the interval of the pick reaches a loss of {high:.1f} points, more than "
                f"--max-drop {limits.max_drop:g}: {pick.answers.images:,} images do not exclude "
                f"it{enough}"
            )
    if not result.complete and not result.outcome:
        texts.append("the run was interrupted: the same command goes on from here")
    disturbed = [each.point.title for each in result.measured if each.timing.disturbed]
    if disturbed:
        texts.append(
            f"other processes disturbed the rounds of {', '.join(disturbed)}; the ratios are "
            "medians over the rounds, and are more certain on an idle machine"
        )
    if not result.data.labelled:
        texts.append(
            "the images have no labels: accuracy means agreement with the full model, whose "
            "mistakes count as right"
        )
    return texts


def _milliseconds(seconds: float) -> str:
    return f"{1e3 * seconds:.3g} ms"


def _signed(value: float) -> str:
    return f"{value:+.1f}" if round(value, 1) else "0.0"
