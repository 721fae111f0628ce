"""Weights in several files are one checkpoint, and each doubt about them is one line."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from motivnet.checkpoints import key_maps, load_checkpoint, name_of
from motivnet.checkpoints.shards import find_weights_file, sha256_of_weights
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError, FileError
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
FIRST, SECOND = (f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
STATE = key_maps.published_from_model(build_model(CONFIG, seed=1).state_dict())
KEYS = sorted(STATE)


def parts() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    half = len(KEYS) // 2
    return {k: STATE[k].clone() for k in KEYS[:half]}, {k: STATE[k].clone() for k in KEYS[half:]}


def write(folder: Path, kind: str = "safetensors") -> Path:
    """Write the two shards of a model and their index, which is returned."""
    folder.mkdir(exist_ok=True)
    stem = "model" if kind == "safetensors" else "pytorch_model"
    names = [f"{stem}-0000{number}-of-00002.{kind}" for number in (1, 2)]
    for name, part in zip(names, parts(), strict=True):
        if kind == "safetensors":
            save_file(part, folder / name, metadata={"format": "pt"})
        else:
            torch.save(part, folder / name)
    weight_map = {key: name for name, part in zip(names, parts(), strict=True) for key in part}
    index = folder / f"{stem}.{kind}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1.5e9}, "weight_map": weight_map}))
    return index


@pytest.mark.parametrize("kind", ["safetensors", "bin"])
@pytest.mark.parametrize("given", ["index", "folder"])
def test_shards_load_by_their_index_or_folder(kind: str, given: str, tmp_path: Path) -> None:
    index = write(tmp_path / "sapiens", kind)
    loaded = load_checkpoint(index if given == "index" else index.parent, CONFIG)
    wanted = build_model(CONFIG, seed=1).state_dict()
    found = loaded.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in wanted.items())
    assert loaded.has_checksum == (kind == "bin")
    assert name_of(index) == name_of(index.parent) == "sapiens"


def test_a_folder_with_one_weights_file_is_that_file(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    assert load_checkpoint(tmp_path, CONFIG).layout == "published"
    save_file(dict(STATE), tmp_path / "model.safetensors")
    assert find_weights_file(tmp_path) == tmp_path / "model.safetensors"


def _map(index: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(index.read_text())
    change(content["weight_map"])
    index.write_text(json.dumps(content))


def _without_second(weight_map: dict[str, Any]) -> None:
    for key in parts()[1]:
        del weight_map[key]


def _twice(index: Path) -> None:
    first, second = parts()
    save_file(second | {KEYS[0]: first[KEYS[0]]}, index.parent / SECOND)


def _fewer(index: Path) -> None:
    second = parts()[1]
    del second[KEYS[-1]]
    save_file(second, index.parent / SECOND)


def _cut(index: Path) -> None:
    path = index.parent / SECOND
    path.write_bytes(path.read_bytes()[:-1])


DOUBTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing shard": (
        lambda index: (index.parent / SECOND).unlink(),
        rf"{SECOND} does not exist \(model\.safetensors\.index\.json names it\)",
    ),
    "shard that is cut": (_cut, rf"a shard that cannot be used: {SECOND} is truncated or damaged"),
    "shard that is a page": (
        lambda index: (index.parent / SECOND).write_bytes(b"<html>"),
        "a shard that cannot be used: .* is a web page",
    ),
    "shard that is no state dict": (
        lambda index: torch.save([1], index.parent / SECOND),
        "a shard that holds no state dict",
    ),
    "key in two shards": (_twice, rf"keys in two shards, one of them {SECOND}: {KEYS[0]}"),
    "key in no shard": (_fewer, rf"keys that are not in their shard, {SECOND}: {KEYS[-1]}"),
    "key of another shard": (
        lambda index: _map(index, lambda weights: weights.update({KEYS[0]: SECOND})),
        rf"does not say that {FIRST} holds {KEYS[0]}",
    ),
    "shard not in the map": (
        lambda index: _map(index, _without_second),
        rf"does not name all shards; {SECOND} is in no entry",
    ),
    "no shard": (lambda index: _map(index, lambda weights: weights.clear()), "names 0 shards"),
    "very many shards": (
        lambda index: _map(
            index, lambda weights: weights.update({f"k{i}": f"s{i}" for i in range(1_001)})
        ),
        "names 1,003 shards",
    ),
    "number of shards": (
        lambda index: _map(
            index, lambda weights: weights.update({"k": "m-00001-of-99999.safetensors"})
        ),
        "a shard of 99,999",
    ),
    "no index": (lambda index: index.write_text('{"weight_map": [1]}'), "is no index of sharded"),
    "index that is cut": (lambda index: index.write_text('{"weight_map": {"a'), "is no index of"),
    "index that is too long": (
        lambda index: index.write_bytes(b" " * ((8 << 20) + 1)),
        "more than the 8,388,608 allowed",
    ),
    "link to a device": (
        lambda index: (
            (index.parent / SECOND).unlink(),
            (index.parent / SECOND).symlink_to("/dev/zero"),
        ),
        "is not a regular file",
    ),
    **{
        f"path {path!r}": (
            lambda index, path=path: _map(index, lambda weights: weights.update({KEYS[0]: path})),
            "names a shard outside its folder",
        )
        for path in ("../../etc/passwd", "/etc/passwd", "a/b.safetensors", "..\\x", "..", "", "a\0")
    },
}


@pytest.mark.parametrize("name", DOUBTS)
def test_each_doubt_about_shards_is_one_line(name: str, tmp_path: Path) -> None:
    change, said = DOUBTS[name]
    index = write(tmp_path)
    change(index)
    with pytest.raises((CheckpointError, FileError), match=said) as caught:
        load_checkpoint(index, CONFIG)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def test_a_shard_alone_leads_to_the_index(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.raises(
        CheckpointError, match=r"is one of several shards; give their \.index\.json"
    ):
        load_checkpoint(tmp_path / FIRST, CONFIG)


def test_a_folder_without_weights_says_what_it_would_hold(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"is a directory with no model\.safetensors"):
        load_checkpoint(tmp_path, CONFIG)


def test_shards_that_claim_the_same_bytes_count_apart(tmp_path: Path) -> None:
    """A storage is one of its file: the first of each shard has the same name."""
    index = write(tmp_path, "bin")
    assert load_checkpoint(index, CONFIG).layout == "published"


def test_the_hash_of_shards_covers_the_index_and_each_of_them(tmp_path: Path) -> None:
    index = write(tmp_path)
    names = sorted(path.name for path in tmp_path.iterdir())
    listed = subprocess.run(
        ["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True
    ).stdout
    digest = sha256_of_weights(index)
    assert digest == sha256_of_weights(tmp_path) == hashlib.sha256(listed).hexdigest()
    for name in names:
        path = tmp_path / name
        before = path.read_bytes()
        path.write_bytes(before + (b"\n" if name.endswith("json") else b"\0"))
        assert sha256_of_weights(index) != digest
        path.write_bytes(before)
    (tmp_path / SECOND).unlink()
    with pytest.raises(FileError, match=rf"{SECOND} does not exist \(model\.safetensors\.index"):
        sha256_of_weights(index)
    index.write_text("{}")
    with pytest.raises(CheckpointError, match=r"index\.json is no index of sharded weights"):
        sha256_of_weights(index)
    single = tmp_path / FIRST
    assert sha256_of_weights(single) == hashlib.sha256(single.read_bytes()).hexdigest()
