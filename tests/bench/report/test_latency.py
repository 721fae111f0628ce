from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from motivnet import schema
from motivnet.printable import one_line, printable
from motivnet.terminal import show
from motivnet_bench.latency.result import Speedup
from motivnet_bench.latency.statistics import summarise_candidates
from motivnet_bench.report.document import DASH, duration, rate
from motivnet_bench.report.headline import latency_summary
from motivnet_bench.report.html import html_from_report
from motivnet_bench.report.latency import latency_report
from motivnet_bench.report.markdown import escape, markdown_from_report
from motivnet_bench.report.plots import TIMES, speedup_plot
from motivnet_bench.report.terminal import terminal_from_report

HOSTILE = (
    '<script>alert("1")</script> & | `x` **y** $title$ '
    "\x1b]52;c;aGk=\x07\x9b2J\u202e\u200b\nsecond line"
)
SHOWN = printable(HOSTILE)


@pytest.fixture(scope="module")
def hostile(plant_result, change):
    """The planted result with a hostile text in every place where text can come from outside."""
    result = plant_result(command_line=HOSTILE)
    row = change(result.candidates[0], name=HOSTILE)
    failed = change(result.candidates[3], name=HOSTILE, error=HOSTILE)
    return change(
        result,
        target=change(result.target, name=HOSTILE, weights=HOSTILE),
        settings=change(result.settings, image=HOSTILE),
        environment=change(result.environment, processor=HOSTILE, versions={HOSTILE: HOSTILE}),
        candidates=(row, *result.candidates[1:3], failed),
        parity=change(result.parity, image_source=HOSTILE, warnings=(HOSTILE,)),
        warnings=(HOSTILE,),
    )


def test_hostile_texts_are_shown_and_not_run(hostile, page_of):
    page = page_of(html_from_report(latency_report(hostile)))
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(SHOWN) >= 10


def test_no_report_has_what_a_terminal_obeys(hostile, capsys):
    show(terminal_from_report(latency_report(hostile)))
    page = html_from_report(latency_report(hostile))
    for text in (
        page,
        markdown_from_report(latency_report(hostile)),
        schema.encode(hostile).decode(),
        capsys.readouterr().out,
    ):
        assert text.replace("\n", "").isprintable()


def test_a_page_asks_for_nothing_outside_itself(hostile, page_of):
    text = html_from_report(latency_report(hostile))
    addresses = page_of(text).addresses
    assert len(addresses) == 2
    for address in addresses:
        kind, _, image = address.partition(",")
        assert kind == "data:image/svg+xml;base64"
        assert ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg")
    assert "url(" not in text


@pytest.fixture
def plant_row(plant_measurement):
    def plant(*values, **options):
        return summarise_candidates([plant_measurement(*values, **options)], batch_size=1)[0]

    return plant


def test_a_result_without_any_metrics_still_gives_a_report(plant_result, plant_row):
    row = plant_row("pytorch-fp32", error="died")
    result = plant_result(candidates=(row,))
    assert "died" in html_from_report(latency_report(result))
    assert "no default runtime" in markdown_from_report(latency_report(result))


def test_markdown_keeps_a_hostile_text_in_its_cell(hostile):
    text = markdown_from_report(latency_report(hostile))
    assert "<script>" not in text.replace(r"\<script\>", "").replace(
        f"```\n{one_line(HOSTILE)}\n```", ""
    )
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = {len(re.split(r"(?<!\\)\|", line)) for line in rows[:6]}
    assert len(cells) == 1


def test_an_escaped_text_is_one_line():
    assert escape("a|b\n<c>") == r"a\|b \<c\>"


def test_the_summary_compares_with_the_fastest_baseline_that_ran(plant_result, plant_measurement):
    assert latency_summary(plant_result(2.0)) == (
        "openvino is 2.0x PyTorch BF16, the fastest of 2 baselines, and 4.0x PyTorch FP32, "
        "2.00 s per image."
    )
    measurements = [
        plant_measurement("pytorch-fp32", ((4.0,), (4.0,))),
        plant_measurement("pytorch-bf16", ((8.0,), (8.0,))),
        plant_measurement("pytorch-compile-bf16", ((3.0,), (3.0,)), compilation=60.0),
        plant_measurement("openvino", ((2.0,), (2.0,)), default=True),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    assert latency_summary(plant_result(candidates=rows)) == (
        "openvino is 1.5x compiled PyTorch BF16, the fastest of 3 baselines, "
        "and 2.0x PyTorch FP32, 2.00 s per image."
    )
    rows = summarise_candidates([measurements[0], measurements[3]], batch_size=1)
    expected = "openvino is 2.0x PyTorch FP32, 2.00 s per image."
    assert latency_summary(plant_result(candidates=rows)) == expected


def test_the_tables_have_the_ratio_to_every_baseline_and_the_compilation(
    plant_result, plant_measurement
):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,), (8.0,))),
        plant_measurement("pytorch-compile-bf16", ((4.0,), (4.0,)), compilation=61.0),
        plant_measurement("torch-tensorrt-fp16", error="not installed"),
        plant_measurement("openvino", ((2.0,), (2.0,)), default=True),
    ]
    result = plant_result(candidates=summarise_candidates(measurements, batch_size=1))
    text = markdown_from_report(latency_report(result))
    assert f"| {TIMES} FP32 | {TIMES} compiled BF16 |" in text
    assert f"| 4.00 (4.00{DASH}4.00) | 2.00 (2.00{DASH}2.00) |" in text
    assert "| compilation |" in text
    assert "pytorch-compile-bf16: compiled in 61.0 s, beside its latency" in text
    assert "compilation" not in markdown_from_report(latency_report(plant_result()))


@pytest.mark.parametrize(("seconds", "named"), [(1.0, True), (1.96, False)])
def test_the_summary_names_a_runtime_that_is_clearly_faster(
    plant_result, plant_row, seconds, named
):
    row = plant_row("onnxruntime", ((seconds,), (seconds,)))
    result = plant_result(candidates=(*plant_result(2.0).candidates, row))
    said = f"onnxruntime was faster still: {seconds:.2f} s."
    assert (said in latency_summary(result)) is named


def test_the_summary_gives_no_single_number_where_the_rounds_do_not_support_it(
    plant_result, plant_measurement
):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,), (40.0,), (8.0,))),
        plant_measurement("openvino", ((2.0,), (2.0,), (2.1,)), default=True),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    assert latency_summary(plant_result(candidates=rows)) == (
        "Measured under load: openvino is between 3.8x and 20.0x PyTorch FP32, 2.00 s per image. "
        "The rounds of pytorch-fp32 were disturbed too much to say more; run again on an idle "
        "machine."
    )


def test_a_single_disturbed_round_has_no_range(plant_result, plant_measurement):
    measurements = [
        plant_measurement("pytorch-fp32", ((8.0,),), waiting=(0.5,)),
        plant_measurement("openvino", ((2.0,),), default=True),
    ]
    rows = summarise_candidates(measurements, batch_size=1)
    assert latency_summary(plant_result(candidates=rows)) == (
        "Measured under load: openvino is about 4.0x PyTorch FP32, 2.00 s per image. The only "
        "round of pytorch-fp32 was disturbed, so that the ratio may be far off; raise --rounds, or "
        "run again on an idle machine."
    )


def test_the_summary_says_that_the_machine_was_busy(plant_result, change):
    busy = change(plant_result().environment, load_average=3.0)
    assert latency_summary(plant_result(environment=busy)).endswith(
        " Other processes were busy (load average 3 on 2 cores)."
    )


def test_a_report_of_an_interrupted_run_says_so(plant_result):
    result = plant_result(interrupted_after=1)
    assert latency_summary(result).endswith(" Interrupted after 1 of 2 rounds.")
    page = html_from_report(latency_report(result))
    assert page.count("nterrupted after 1 of 2") == 2  # the headline and the list of settings


def test_a_report_names_the_baselines_that_were_left_out(plant_result, capsys):
    result = plant_result(left_out=("PyTorch BF16 is left out",))
    show(terminal_from_report(latency_report(result)))
    assert "\nPyTorch BF16 is left out\n" in capsys.readouterr().out
    assert "PyTorch BF16 is left out" in html_from_report(latency_report(result))


def test_a_range_that_a_plot_cuts_is_marked_with_its_end():
    def plot(largest):
        ratio = Speedup(median=2.0, smallest=1.9, largest=largest, lower_bound=1.0, upper_bound=3.0)
        return speedup_plot([("openvino", "accent", ratio)], baseline="PyTorch FP32").decode()

    # The text of a drawing is in its comments.
    assert f"<!-- 2.00{TIMES} (to 12.3{TIMES}) -->" in plot(12.3)
    assert f"<!-- 2.00{TIMES} -->" in plot(2.4)
    assert len(re.findall("<use", plot(12.3))) > len(re.findall("<use", plot(2.4)))


def test_the_summary_says_why_the_default_runtime_has_no_metrics(plant_result, plant_row):
    row = plant_row("openvino", default=True, error="no answer within 5 s")
    assert "could not be measured: no answer" in latency_summary(plant_result(candidates=(row,)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (21.52, "21.5 s"),
        (1.0, "1.00 s"),
        (0.9999, "1.00 s"),
        (0.1234, "123 ms"),
        (0.0041, "4.10 ms"),
        (7.3e-5, "73.0 µs"),
    ],
)
def test_durations_have_three_significant_digits(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.0465, "0.046"), (1.234, "1.23"), (45.67, "45.7"), (1234.5, "1234")]
)
def test_rates_keep_their_digits_below_one(value, text):
    assert rate(value) == text
