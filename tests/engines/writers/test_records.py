"""JSON Lines, CSV and the table: images, frames, errors and the end of a video."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from motivnet.errors import ConfigError
from motivnet.labels import labels_for
from motivnet_engines.inference.image_files import FileResult
from motivnet_engines.inference.results import ImageResult, Timing
from motivnet_engines.video.results import FrameResult, TrackedFace, VideoSummary
from motivnet_engines.writers.formats import choose_format
from motivnet_engines.writers.records import (
    Record,
    record_from_file,
    record_from_frame,
    record_from_summary,
)
from motivnet_engines.writers.text import (
    Format,
    ResultTable,
    csv_header,
    csv_rows,
    jsonl_line,
    open_writer,
)

LABELS = labels_for(7)
TIMING = Timing(prepare_ms=1.0, classify_ms=2.0)
BOX = (10.0, 20.5, 30.0, 40.0)


def rows_of(*records: Record) -> list[dict[str, str]]:
    text = csv_header(LABELS) + "".join(csv_rows(record, LABELS) for record in records)
    return list(csv.DictReader(io.StringIO(text)))


def summary(error: str | None = None) -> VideoSummary:
    return VideoSummary(
        name="clip.mp4",
        decoded=4,
        classified=2,
        skipped=2,
        dropped=0,
        damaged=0,
        duration=0.16,
        complete=error is None,
        error=error,
    )


@pytest.fixture
def image(face) -> Record:
    result = ImageResult(
        name="x", width=64, height=48, faces=(face(box=BOX), face("anger", box=BOX)), timing=TIMING
    )
    return record_from_file(FileResult(image=Path("a/photo.jpg"), result=result, error=None))


@pytest.fixture
def frame(face) -> Record:
    faces = (
        TrackedFace(track=3, prediction=face(box=BOX)),
        TrackedFace(track=1, prediction=face("fear", box=BOX)),
    )
    return record_from_frame(
        FrameResult(
            name="clip.mp4", index=7, time=0.28, width=64, height=48, faces=faces, timing=TIMING
        )
    )


def test_a_line_of_json_holds_the_image_and_its_faces(image: Record) -> None:
    line = jsonl_line(image)
    assert line.endswith("}\n")
    assert line.count("\n") == 1
    document = json.loads(line)
    assert {name: document[name] for name in ("file", "width", "height", "error")} == {
        "file": "a/photo.jpg",
        "width": 64,
        "height": 48,
        "error": None,
    }
    assert document["faces"] == [face.to_dict() for face in image.faces]
    assert document["timing"] == {"prepare_ms": 1.0, "classify_ms": 2.0}
    assert list(document) == ["file", "width", "height", "faces", "timing", "error"]


def test_an_embedding_is_written_where_it_is_asked_for(face) -> None:
    embedding = np.array([0.1, -1e-7, 3.0], np.float32)
    record = Record(file="x.jpg", faces=(face(embedding=embedding),))
    assert "embedding" not in json.loads(jsonl_line(record))["faces"][0]
    written = json.loads(jsonl_line(record, embeddings=True))["faces"][0]["embedding"]
    assert written == [0.1, -1e-7, 3.0]
    assert (np.array(written, np.float32) == embedding).all()


def test_a_line_of_a_frame_has_its_time_and_tracks(frame: Record) -> None:
    document = json.loads(jsonl_line(frame))
    assert (document["frame"], document["time"]) == (7, 0.28)
    assert document["timing"] == {"prepare_ms": 1.0, "classify_ms": 2.0}
    assert [face["track"] for face in document["faces"]] == [3, 1]


def test_the_last_line_of_a_video_says_whether_that_was_all() -> None:
    document = json.loads(jsonl_line(record_from_summary(summary("clip.mp4 ends too soon"))))
    assert document["error"] == "clip.mp4 ends too soon"
    assert (document["video"]["complete"], document["video"]["skipped"]) == (False, 2)


def test_an_image_that_cannot_be_read_is_a_line_with_the_reason() -> None:
    record = record_from_file(FileResult(image=Path("x.jpg"), result=None, error="x.jpg is empty"))
    assert json.loads(jsonl_line(record)) == {
        "file": "x.jpg",
        "width": None,
        "height": None,
        "faces": [],
        "timing": None,
        "error": "x.jpg is empty",
    }


def test_a_name_that_is_not_unicode_is_written_all_the_same() -> None:
    name = os.fsdecode(b"f\xff\n.jpg")
    line = jsonl_line(Record(file=name))
    assert line.count("\n") == 1
    assert json.loads(line)["file"] == name
    assert rows_of(Record(file=name))[0]["file"] == r"f\udcff\n.jpg"


def test_csv_has_a_row_per_face(image: Record) -> None:
    rows = rows_of(image)
    assert [
        (row["file"], row["face"], row["label"], row["x"], row["face_height"]) for row in rows
    ] == [
        ("a/photo.jpg", "1", "happiness", "10.0", "40.0"),
        ("a/photo.jpg", "2", "anger", "10.0", "40.0"),
    ]
    assert [float(rows[0][label]) for label in LABELS] == list(
        image.faces[0].probabilities.values()
    )
    assert {row["known"] for row in rows} == {""}


def test_csv_has_a_row_with_empty_fields_for_an_image_without_a_face() -> None:
    [row] = rows_of(Record(file="x.jpg", width=5, height=6))
    assert (row.pop("file"), row.pop("width"), row.pop("height")) == ("x.jpg", "5", "6")
    assert set(row.values()) == {""}


def test_csv_of_a_video_has_tracks_and_a_row_of_its_error_alone(frame: Record) -> None:
    assert [row["track"] for row in rows_of(frame)] == ["3", "1"]
    assert rows_of(record_from_summary(summary())) == []
    assert rows_of(record_from_summary(summary("cut off")))[0]["error"] == "cut off"


@pytest.mark.parametrize("name", ["=1+1.jpg", "+x.jpg", "-x.jpg", "@x.jpg", "\uff1d1.jpg"])
def test_a_spreadsheet_computes_nothing_of_a_name(name: str) -> None:
    assert rows_of(Record(file=name, error=f"{name} is empty"))[0]["file"] == f"'{name}"
    assert rows_of(Record(file=name, error=f"{name} is empty"))[0]["error"] == f"'{name} is empty"


@pytest.mark.parametrize(
    "name", ["\x1b[2J", "\x1b]52;c;aGk=\x07", "\x9b2J", "a\u202eb\u200b", "a\rb", "\x00"]
)
def test_no_record_has_what_a_terminal_obeys(name: str) -> None:
    record = Record(file=name, error=f"{name} is empty")
    for text in (csv_rows(record, LABELS), jsonl_line(record)):
        assert text.replace("\n", "").isprintable()
    assert json.loads(jsonl_line(record))["file"] == name


def test_a_name_with_commas_and_quotes_comes_back_and_is_on_one_line(image: Record) -> None:
    name = 'a, "b"\nc.jpg'
    record = Record(file=name, faces=image.faces)
    assert rows_of(record)[1]["file"] == r'a, "b"\nc.jpg'
    assert csv_rows(record, LABELS).count("\n") == 2


def test_negative_numbers_stay_numbers(image: Record) -> None:
    assert rows_of(image)[0]["energy"] == "-1.5"


def shown(capsys: pytest.CaptureFixture[str], *records: Record) -> list[str]:
    table = ResultTable()
    for record in records:
        table.add(record)
    table.print()
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_the_table_has_a_line_per_face_and_one_without(
    image: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(
        capsys, image, Record(file="b.jpg", width=2, height=2), Record(file="c.jpg", error="bad")
    ) == [
        "file emotion confidence face",
        "a/photo.jpg happiness 75.0% 30x40 at 10,20",
        "a/photo.jpg anger 75.0% 30x40 at 10,20",
        "b.jpg no face",
    ]


def test_the_table_has_a_line_per_face_of_a_video(
    frame: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys, frame, frame, record_from_summary(summary())) == [
        "file emotion confidence face",
        "clip.mp4 fear 75.0% #1, 0.28 to 0.28 s, 2 frames",
        "clip.mp4 happiness 75.0% #3, 0.28 to 0.28 s, 2 frames",
    ]


def test_the_table_gives_no_confidence_for_what_is_unknown(
    image: Record, frame: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    def hidden(record: Record) -> Record:
        faces = tuple(dataclasses.replace(face, label="unknown") for face in record.faces)
        return dataclasses.replace(record, faces=faces)

    lines = shown(
        capsys, hidden(image), hidden(frame), hidden(frame), frame, record_from_summary(summary())
    )[1:]
    assert all("unknown" in line and "%" not in line for line in lines if "emotion" not in line)


def test_a_table_of_nothing_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys, Record(file="c.jpg", error="bad")) == []


def test_markup_in_a_name_is_shown_as_it_is(face, capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(capsys, Record(file="[red]x[/red].jpg", faces=(face(),)))
    assert lines == ["file emotion confidence", "[red]x[/red].jpg happiness 75.0%"]


@pytest.mark.parametrize(
    ("named", "out", "expected"),
    [
        (None, None, "table"),
        ("csv", None, "csv"),
        (None, "r.csv", "csv"),
        (None, "r.JSONL", "jsonl"),
        ("jsonl", "r.txt", "jsonl"),
    ],
)
def test_the_format_is_the_one_named_or_that_of_the_file(
    named, out: str | None, expected: str
) -> None:
    assert choose_format(named, None if out is None else Path(out)) == expected


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (None, r"r\.txt has none of the suffixes \.csv, \.jsonl, \.ndjson; give --format as well"),
        ("table", r"r\.txt cannot hold a table; choose --format jsonl or csv"),
    ],
)
def test_a_table_is_no_file(named, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_format(named, Path("r.txt"))


@pytest.mark.parametrize("form", get_args(Format))
def test_every_format_writes_a_record(form: Format, image: Record, capsys) -> None:
    with open_writer(form, labels=LABELS) as write:
        write(image)
    assert "photo.jpg" in capsys.readouterr().out


def test_results_need_the_name_of_a_file(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"--out .* is a directory; give the name of a file, as .*results\.jsonl"
    ):
        choose_format("csv", tmp_path)


def test_a_file_appears_with_the_last_record_and_not_before(tmp_path: Path, image: Record) -> None:
    out = tmp_path / "r.jsonl"
    with open_writer("jsonl", labels=LABELS, out=out) as write:
        write(image)
        assert not out.exists()
    assert len(out.read_text().splitlines()) == 1


def test_after_an_error_an_older_file_is_untouched(tmp_path: Path, image: Record) -> None:
    out = tmp_path / "r.csv"
    out.write_text("older")

    def write_and_fail() -> None:
        with open_writer("csv", labels=LABELS, out=out) as write:
            write(image)
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        write_and_fail()
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]
    assert out.read_text() == "older"


def test_standard_output_has_each_record_at_once(
    image: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "stdout").open("w") as stream:
        monkeypatch.setattr("sys.stdout", stream)
        with open_writer("jsonl", labels=LABELS) as write:
            write(image)
            assert json.loads((tmp_path / "stdout").read_text())["file"] == "a/photo.jpg"


def test_what_was_found_before_an_interruption_is_shown(
    image: Record, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        with open_writer("table", labels=LABELS) as write:
            write(image)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert "a/photo.jpg" in capsys.readouterr().out
