"""A small file takes no memory to speak of, ends no process, and comes to an end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LIMIT = 300
"""Megabytes of address space beyond the imports; the smallest bomb used to take 1.6 GB."""

LOADS = {
    "a byte array of 5 GB",
    "encodings that double",
    "a text encoded 4,000 times",
    "nested tuples as a key",
    "nested tuples",
    "nested lists",
    "nested dictionaries",
    "keys of one hash",
    "many dictionaries",
    "a memo of two thousand million places",
    "an array of numpy",
    "older: a byte array of 5 GB",
    "older: nested tuples as a key",
}
REFUSED = {
    "marks alone": "malformed",
    "more dictionaries": "too much beside its weights: its pickle has more than 1,000,000 values",
    "a text of 4 EB": "cut off",
    "bytes of 4 EB": "cut off",
    "a byte array of 4 EB with no bytes": "cut off",
    "an integer of 2 GB": "0x8b",
    "members that overlap": "its members overlap",
    "older: more dictionaries": "too much beside its weights: its pickle has more than 1,000,000",
    "older: a text of 4 EB": "truncated or damaged",
    "older: a storage of 4 EB": "truncated or damaged",
    "older: a storage of 4 GB": "truncated or damaged",
    "older: a storage of less than nothing": "refers to something that is no storage",
    "older: no end": "its pickle has more than 1,000,000 values",
    "modules that double": "a pickled module of more than 20,000 parts",
    "many modules": "holds more than 200,000 names",
    "a giant head": "describes more than it holds; give its sizes with --model",
    "a giant grid": "must be multiples of the patch size 4, at most 4096",
    "a larger grid": "describes more than it holds; give its sizes with --model",
    "a long header": "describes its tensors in 16,638,890 bytes",
}


PROGRAM = Path(__file__).with_name("checkpoint_bombs.py")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    command = [sys.executable, str(PROGRAM), str(tmp_path_factory.mktemp("bombs")), str(LIMIT)]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return {found["name"]: found for found in map(json.loads, run.stdout.splitlines())}


def test_every_bomb_has_its_outcome(outcomes: dict[str, dict[str, Any]]) -> None:
    assert LOADS | set(REFUSED) == set(outcomes)


@pytest.mark.parametrize("name", sorted(LOADS))
def test_what_is_beside_the_weights_is_left_out_whatever_it_would_take(
    name: str, outcomes: dict[str, dict[str, Any]]
) -> None:
    assert outcomes[name]["ended"] == "loaded, 38 weights"
    assert outcomes[name]["grown"] < LIMIT


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_a_bomb_is_refused_in_a_line(name: str, outcomes: dict[str, dict[str, Any]]) -> None:
    ended = str(outcomes[name]["ended"])
    assert ended.startswith("CheckpointError: ")
    assert REFUSED[name] in ended
    assert "\n" not in ended
    assert outcomes[name]["grown"] < LIMIT
