"""Which group each image of a dataset is of: by a column of a table, or by folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from motivnet.datasets import csv_list, rafdb
from motivnet.datasets.image_folders import subfolders
from motivnet.datasets.listing import csv_columns, csv_rows
from motivnet.datasets.read import CSV_LIST, recognise
from motivnet.datasets.sample import Sample
from motivnet.errors import ConfigError, DatasetError
from motivnet.path_kind import is_folder

FOLDER = "folder"
"""``--by folder``: each folder in the dataset's is a dataset of its own, and a group."""


def groups_of(
    dataset: Path, samples: tuple[Sample, ...], column: str, *, table: Path | None = None
) -> dict[str, str]:
    """Return the group by the name of each sample that has one.

    Args:
        column: Of the table; without a table, of the dataset's own list, or one of RAF-DB's
            annotations: gender, race or age.
        table: A CSV file with a column of images, by their name in the dataset or of their file.

    Raises:
        ConfigError: If there is no such column.
        DatasetError: If a table is damaged, or names no image of the dataset.
    """
    if table is None and (found := rafdb.attributes(dataset, samples, column)) is not None:
        return found
    source = table or _own_table(dataset)
    if source is None:
        raise ConfigError(
            f"{dataset} has no table with a column {column}; give a CSV file with the columns file "
            f"and {column} by --table, or --by {FOLDER} for a folder of each group"
        )
    columns = csv_columns(source)
    if column.casefold() not in columns:
        names = sorted(name for name in columns if name and not set(name) & set(",;\t"))
        known = ", ".join(names) or "none"
        raise ConfigError(f"{source} has no column {column}; it has {known}")
    image = csv_list.column_named(source, csv_list.FILE_COLUMNS)
    if image is None:
        raise DatasetError(
            f"{source} has no column that names the images: "
            f"call it one of {', '.join(csv_list.FILE_COLUMNS)}"
        )
    rows = {cells[0]: cells[1] for _, cells in csv_rows(source, columns=(image, column))}
    groups = _by_sample(rows, samples)
    if not groups:
        raise DatasetError(
            f"{source} names no image of {dataset}, such as {samples[0].name}, with a {column}"
        )
    return groups


def _own_table(dataset: Path) -> Path | None:
    found, root = recognise(dataset)
    return csv_list.list_of(root) if found == CSV_LIST else None


def _by_sample(rows: Mapping[str, str], samples: tuple[Sample, ...]) -> dict[str, str]:
    """Return the groups by sample; a row may name a file alone if no other has that name."""
    names = [PurePosixPath(sample.name).name for sample in samples]
    alone = {name for name, times in Counter(names).items() if times == 1}
    groups = {}
    for sample, name in zip(samples, names, strict=True):
        group = rows.get(sample.name) or (rows.get(name) if name in alone else None)
        if group:
            groups[sample.name] = group
    return groups


def folders_of(dataset: Path) -> dict[str, Path]:
    """Return the folder of each group, for ``--by folder``.

    Raises:
        ConfigError: If there are fewer than two.
    """
    folders = {each.name: each for each in subfolders(dataset)} if is_folder(dataset) else {}
    if len(folders) < 2:
        raise ConfigError(
            f"{dataset} has {len(folders)} folder{'s' * (len(folders) != 1)}; --by {FOLDER} needs "
            "one of each group, and in each the folders of the classes"
        )
    return folders
