from pathlib import Path

import pytest

from motivnet.datasets.listing import csv_rows, word_lines
from motivnet.errors import DatasetError, FileError


def rows(path: Path, content: bytes) -> list[tuple[int, tuple[str, ...]]]:
    path.write_bytes(content)
    return list(csv_rows(path, columns=("name", "label")))


@pytest.mark.parametrize(
    "content",
    [
        b"name,label\na b,1\n",
        b"name,label\r\na b,1\r\n",
        b"name,label\ra b,1",
        b"\xef\xbb\xbfname,label\na b,1\n",
        b'"name","label"\n"a b","1"\n',
        b"label,other,name\n1,2,a b\n",
        b"Name, LABEL \na b , 1\n",
        b"name,label,label\na b,1,2\n",
        b'\xef\xbb\xbf"name",label\r\n"a b",1\r\n',
    ],
    ids=[
        "plain",
        "CRLF",
        "CR",
        "BOM",
        "quoted",
        "order",
        "blanks",
        "a column twice",
        "BOM, quotes and CRLF",
    ],
)
def test_a_csv_file_is_read_however_it_was_written(tmp_path: Path, content: bytes) -> None:
    assert rows(tmp_path / "list.csv", content) == [(2, ("a b", "1"))]


def test_quoted_cells_may_hold_commas_quotes_and_line_ends_and_lines_are_still_counted(
    tmp_path: Path,
) -> None:
    content = b'name,label\n"a,b",1\n\n"say ""c""\nd",2\ne,3\n'
    assert rows(tmp_path / "list.csv", content) == [
        (2, ("a,b", "1")),
        (5, ('say "c"\nd', "2")),
        (6, ("e", "3")),
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"",
            r"list.csv lacks the column name, label; its first line must name it, and has: none$",
        ),
        (b"name,labels\n", r"lacks the column label; .*has: name, labels$"),
        (b"name,label\na\n", r"line 2 of .*list.csv has 1 cells where at least 2 are expected$"),
        (b"name,label\na,\xff\n", r"is not a CSV file in UTF-8 \(near line .*$"),
        (
            b"name,label\n" + b"a" * 200_000 + b",1\n",
            r"is not a CSV file in UTF-8 \(near line 2: field larger.*$",
        ),
    ],
    ids=["empty", "column", "short row", "not UTF-8", "huge cell"],
)
def test_a_damaged_file_is_one_line_that_names_the_place(
    tmp_path: Path, content: bytes, message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        rows(tmp_path / "list.csv", content)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"list.csv does not exist"):
        list(csv_rows(tmp_path / "list.csv", columns=("name",)))


def test_lines_of_text_are_numbered_words(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa 1\r\n\r\nb\t2  c\r\n")
    assert list(word_lines(tmp_path / "list.txt")) == [(1, ["a", "1"]), (3, ["b", "2", "c"])]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DatasetError, match="is not a text file in UTF-8"):
        list(word_lines(tmp_path / "list.txt"))


def test_a_line_without_an_end_is_not_read_whole(tmp_path: Path) -> None:
    """A sparse file of many gigabytes costs nothing to make."""
    path = tmp_path / "list.csv"
    path.write_bytes(b"name,label\n")
    with path.open("r+b") as file:
        file.truncate(3 << 30)
    for read in (
        lambda: list(csv_rows(path, columns=("name", "label"))),
        lambda: list(word_lines(path)),
    ):
        with pytest.raises(
            DatasetError,
            match=r"line 2 of .*list\.csv is longer than the 1,048,576 characters allowed",
        ):
            read()


def test_a_cell_of_any_size_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="is not a CSV file in UTF-8"):
        rows(tmp_path / "list.csv", b'name,label\n"' + b"x\n" * 200_000 + b'",1\n')


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_cells_may_be_separated_by_what_spreadsheets_use(tmp_path: Path, separator: str) -> None:
    text = "name,label,points\r\na b,1,7\r\n".replace(",", separator)
    assert rows(tmp_path / "list.csv", text.encode()) == [(2, ("a b", "1"))]
