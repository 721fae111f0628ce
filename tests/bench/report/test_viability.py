from __future__ import annotations

import base64
import re
import xml.etree.ElementTree as ElementTree

import pytest

from motivnet.printable import printable
from motivnet.terminal import show
from motivnet_bench.report.html import html_from_report
from motivnet_bench.report.terminal import terminal_from_report
from motivnet_bench.report.viability import viability_report, viability_summary

HOSTILE = '<script>alert("1")</script> & $title$ [red] [/x] \x1b[2J\x9b2J\u202e\nsecond line'


@pytest.fixture(scope="module")
def page(viability_result) -> str:
    return html_from_report(viability_report(viability_result))


@pytest.fixture(scope="module")
def hostile(viability_result, change):
    """The result with a hostile text in every place where text can come from outside."""
    texts = {"unreadable": {HOSTILE: HOSTILE}, "left_out": HOSTILE}
    performance = change(
        viability_result.performance[0], dataset=HOSTILE, skipped={HOSTILE: 1}, **texts
    )
    images = change(viability_result.data.data, folder=HOSTILE, **texts)
    return change(
        viability_result,
        checkpoint=HOSTILE,
        command_line=HOSTILE,
        performance=(performance,),
        data=change(viability_result.data, data=images),
        model=change(viability_result.model, encoder=HOSTILE),
    )


def test_there_is_a_sentence_for_each_criterion(viability_result, faces):
    first, second, third = viability_summary(viability_result)
    accuracy = viability_result.performance[0].metrics.accuracy
    assert first.startswith(f"Accuracy {accuracy:.2%} on {faces.name}: below the published")
    assert "of the parameters" in second
    assert "Frechet distance" in third


def test_hostile_texts_are_shown_and_not_run(hostile, page_of):
    text = html_from_report(viability_report(hostile))
    page = page_of(text)
    assert "script" not in {tag for tag, _ in page.tags}
    assert page.text.count(printable(HOSTILE)) >= 10
    assert text.replace("\n", "").isprintable()
    assert page.addresses
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert "url(" not in text


def test_a_terminal_shows_hostile_texts_as_they_are(hostile, capsys):
    show(terminal_from_report(viability_report(hostile)))
    shown = capsys.readouterr().out
    assert printable(HOSTILE) in shown
    assert shown.replace("\n", "").isprintable()


def test_the_plots_are_svg_and_the_same_result_gives_the_same_page(viability_result, page):
    images = re.findall(r"base64,([^\"]+)", page)
    assert len(images) == 2
    for image in images:
        assert ElementTree.fromstring(base64.b64decode(image)).tag.endswith("svg")
    assert html_from_report(viability_report(viability_result)) == page


def test_a_criterion_that_was_not_asked_for_has_no_section(viability_result, change):
    report = viability_report(change(viability_result, model=None, performance=()))
    titles = [section.title for section in report.sections]
    assert titles == ["3. Data similarity", "Target", "Environment", "Command line"]


def test_a_page_has_the_confusion_the_differences_and_the_largest_changes(page):
    for text in ("true class (rows) and predicted class", "Differences", "Weights that moved most"):
        assert text in page


def test_what_was_left_out_is_one_line_of_the_page_and_not_repeated_at_a_terminal(
    viability_result, change, capsys
):
    line = "2 x unreadable image (a.jpg, b.jpg each is empty, not an image)"
    performance = change(viability_result.performance[0], left_out=line)
    images = change(viability_result.data.data, folder="theirs", left_out=line)
    report = viability_report(
        change(
            viability_result,
            performance=(performance,),
            data=change(viability_result.data, data=images),
        )
    )
    page = html_from_report(report)
    for folder in (performance.dataset, images.folder):
        assert page.count(f"{folder}: left out {line}") == 1
    show(terminal_from_report(report))
    assert "left out" not in capsys.readouterr().out
