"""Damaged and hostile weights files: refused in one line, run nothing, change no weight."""

from __future__ import annotations

import functools
import importlib
import io
import json
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from motivnet.checkpoints import Checkpoint, key_maps, load_checkpoint, load_model, save_model
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import CheckpointError, FileError, MotivNetError
from motivnet.labels import labels_for
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
FLIPS = 300
State = dict[str, Any]


@pytest.fixture(scope="module")
def state() -> State:
    return dict(key_maps.published_from_model(build_model(CONFIG, seed=1).state_dict()))


@pytest.fixture(scope="module")
def files(state: State, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("intact")
    torch.save(state, folder / "model.pth")
    save_model(
        build_model(CONFIG, seed=1),
        folder / "model.safetensors",
        config=CONFIG,
        labels=labels_for(7),
        preprocessing=None,
    )
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_a_flipped_bit_is_refused_or_changes_nothing(
    kind: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "flipped"
    intact = _loaded_bytes(_load(files[kind], path))
    refused = 0
    for bit in random.Random(1).sample(range(8 * len(files[kind])), FLIPS):
        data = bytearray(files[kind])
        data[bit // 8] ^= 1 << bit % 8
        try:
            checkpoint = _load(bytes(data), path)
        except (CheckpointError, FileError):
            refused += 1
        else:
            assert _loaded_bytes(checkpoint) == intact, f"bit {bit} went unnoticed"
    assert refused > FLIPS / 2


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
def test_every_flipped_bit_of_a_weight_is_refused(
    kind: str, files: dict[str, bytes], tmp_path: Path
) -> None:
    weight = build_model(CONFIG, seed=1).encoder.blocks[0].mlp.fc1.weight.detach().numpy().tobytes()
    start = files[kind].index(weight)
    for bit in random.Random(2).sample(range(8 * len(weight)), 50):
        data = bytearray(files[kind])
        data[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError, match="checksum"):
            _load(bytes(data), tmp_path / "flipped")


def test_our_file_with_another_name_of_its_description_is_refused(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    """Whatever bit of the name flips, the file is not taken for one of another maker."""
    start = files[".safetensors"].index(b'"motivnet"') + 1
    for bit in range(8 * len("motivnet")):
        data = bytearray(files[".safetensors"])
        data[start + bit // 8] ^= 1 << bit % 8
        with pytest.raises(CheckpointError):
            _load(bytes(data), tmp_path / "flipped")


def test_a_member_marked_as_a_folder_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    """PyTorch takes such a member for empty and leaves its tensor uninitialised."""
    data = bytearray(files[".pth"])
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 400)
    data[entry + 38] |= 0x10
    with pytest.raises(CheckpointError, match="folders"):
        _load(bytes(data), tmp_path / "folder.pth")


@pytest.mark.parametrize("kind", [".pth", ".safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.0005, 0.001, 0.01, 0.3, 0.5, 0.9, 0.99, 0.9999])
def test_a_truncated_file_is_refused(
    kind: str, part: float, files: dict[str, bytes], tmp_path: Path
) -> None:
    data = files[kind][: int(part * len(files[kind]))]
    with pytest.raises(CheckpointError, match=r"is (empty|truncated|damaged|not a weights file)"):
        _load(data, tmp_path / "short")


def test_bytes_after_the_end_of_our_file_are_refused(
    files: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match="damaged"):
        _load(files[".safetensors"] + b"\0", tmp_path / "long")


class _Gadget:
    """Pickles as a call that would make a file."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self.call


def _gadgets(canary: Path) -> dict[str, _Gadget]:
    return {
        "os.system": _Gadget(os.system, f"touch {canary}"),
        "eval": _Gadget(eval, f"open({str(canary)!r}, 'w')"),
        "exec": _Gadget(exec, f"open({str(canary)!r}, 'w')"),
        "open": _Gadget(open, str(canary), "w"),
        "os.mkdir": _Gadget(os.mkdir, str(canary)),
        "numpy.save": _Gadget(np.save, str(canary), 1),
        "getattr": _Gadget(getattr, _Gadget(os.mkdir, str(canary)), "x"),
        "map": _Gadget(list, _Gadget(map, os.mkdir, [str(canary)])),
        "partial": _Gadget(functools.partial(os.mkdir, str(canary))),
        "import": _Gadget(importlib.import_module, "this"),
        "subprocess": _Gadget(subprocess.run, ["touch", str(canary)]),
    }


GADGETS = tuple(_gadgets(Path()))


@pytest.mark.parametrize("place", ["weight", "whole"])
@pytest.mark.parametrize("name", GADGETS)
def test_an_object_in_the_place_of_a_weight_is_named_and_never_run(
    place: str, name: str, state: State, tmp_path: Path
) -> None:
    gadget = _gadgets(tmp_path / "canary")[name]
    content = state | {"pose_encoder.pos_embed": gadget} if place == "weight" else gadget
    torch.save(content, tmp_path / "model.pth")
    message = {
        "weight": r"pose_encoder\.pos_embed is a pickled object \(",
        "whole": "holds no state dict but a pickled",
    }
    with pytest.raises(CheckpointError, match=message[place]):
        load_model(tmp_path / "model.pth", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.parametrize("name", GADGETS)
def test_an_object_beside_the_weights_is_left_out_and_never_run(
    name: str, state: State, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = {"state_dict": state, "hyper_parameters": {"x": _gadgets(tmp_path / "canary")[name]}}
    torch.save(content, tmp_path / "model.pth")
    loaded = load_model(tmp_path / "model.pth", CONFIG).state_dict()
    assert torch.equal(loaded["encoder.norm.bias"], state["pose_encoder.ln1.bias"])
    assert "objects beside its tensors, which were left out and not run" in caplog.text
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]
    assert "this" not in sys.modules


def test_what_a_trainer_wrote_beside_the_weights_is_not_used(state: State, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    hyper_parameters = {
        "_instantiator": "os.mkdir",
        "__class__": "os.mkdir",
        "path": str(canary),
        "num_classes": 99,
    }
    torch.save({"state_dict": state, "hyper_parameters": hyper_parameters}, tmp_path / "model.ckpt")
    assert load_checkpoint(tmp_path / "model.ckpt", CONFIG).config == CONFIG
    assert not canary.exists()


def test_the_switch_that_makes_pytorch_run_code_changes_nothing(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    gadget = _Gadget(os.mkdir, str(tmp_path / "canary"))
    torch.save({"state_dict": state, "x": gadget}, tmp_path / "model.pth")
    load_model(tmp_path / "model.pth", CONFIG)
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.filterwarnings("ignore:.*quantized tensor creation functions")
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: torch.ones(1).expand(1, 2_000_000_000, 8), "claims more than the 4 bytes"),
        (
            lambda: torch.sparse_coo_tensor([[0], [0], [0]], [1.0], (1, 10**9, 8)),
            "is a sparse tensor; save it dense",
        ),
        (lambda: torch.ones(1, 2, 8, device="meta"), "has no values"),
        (
            lambda: torch.quantize_per_tensor(torch.ones(1, 2, 8), 0.1, 0, torch.qint8),
            "is quantised; give the weights before quantisation",
        ),
        (lambda: torch.ones(1, 2, 8, dtype=torch.complex64).conj(), "is a pickled object"),
        (lambda: torch.ones(1, 2, 8, dtype=torch.int8), "is of torch.int8"),
        (lambda: torch.ones(1, 2, 8, dtype=torch.float8_e4m3fn), "is of torch.float8_e4m3fn"),
        (lambda: torch.ones(1, 2, 8, dtype=torch.complex64), "is of torch.complex64"),
        (lambda: [1.0, 2.0], "is a list"),
        (lambda: torch.full((1, 2, 8), torch.nan), "NaN or infinite"),
        (lambda: torch.full((1, 2, 8), 1e300, dtype=torch.float64), "NaN or infinite"),
    ],
    ids=[
        "expanded",
        "sparse",
        "meta",
        "quantised",
        "conjugate",
        "int8",
        "float8",
        "complex",
        "list",
        "nan",
        "beyond-float32",
    ],
)
def test_a_value_that_is_no_plain_weight_is_named(
    make: Callable[[], object], message: str, state: State, tmp_path: Path
) -> None:
    torch.save(state | {"pose_encoder.pos_embed": make()}, tmp_path / "model.pth")
    with pytest.raises(
        CheckpointError,
        match=f"pose_encoder.pos_embed.*{message}|{message}.*pose_encoder.pos_embed",
    ):
        load_model(tmp_path / "model.pth", CONFIG)


def test_weights_over_the_same_memory_are_refused(state: State, tmp_path: Path) -> None:
    bias = state["pose_encoder.ln1.bias"]
    torch.save(state | {"pose_encoder.ln1.weight": bias}, tmp_path / "model.pth")
    with pytest.raises(
        CheckpointError, match=r"pose_encoder\.ln1\.\w+ claims more than the 32 bytes"
    ):
        load_model(tmp_path / "model.pth", CONFIG)


def test_a_shape_beyond_its_bytes_is_refused(state: State, tmp_path: Path) -> None:
    torch.save(state | {"pose_encoder.pos_embed": torch.ones(1, 2, 77)}, tmp_path / "honest.pth")
    with (
        zipfile.ZipFile(tmp_path / "honest.pth") as honest,
        zipfile.ZipFile(tmp_path / "bomb.pth", "w") as bomb,
    ):
        for name in honest.namelist():
            data = honest.read(name)
            larger = data.replace(b"K\x01K\x02KM\x87", b"K\x01K\x02J\x00\x00\x00\x10\x87")
            assert (larger != data) == name.endswith("data.pkl")
            bomb.writestr(name, larger)
    with pytest.raises(CheckpointError, match="damaged"):
        load_model(tmp_path / "bomb.pth", CONFIG)


def _png(_: State) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def _saved(content: object, **options: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def _zip(names: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, data in names.items():
            archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda state: b"", "is empty"),
        (_png, "is not a weights file"),
        (lambda state: _saved([1, 2]), "holds no state dict but a list"),
        (lambda state: _saved({}), "holds no state dict"),
        (lambda state: _saved({1: torch.ones(1)}), "holds no state dict"),
        (lambda state: _saved({"conv1.weight": torch.ones(1)}), "no known layout: conv1.weight"),
        (lambda state: _saved({"conv\n1": torch.ones(1)}), r"no known layout: 'conv\\n1'"),
        (
            lambda state: _saved({"decoder.decoder.duplicate_pooling": torch.ones(7, 8, 1)}),
            "none of the blocks",
        ),
        (lambda state: _zip({"a/readme.txt": b"hello"}), "not one of torch.save"),
        (lambda state: _zip({"a/data.pkl": b"", "a/constants.pkl": b""}), "TorchScript"),
        (lambda state: _zip({"a/data.pkl": bytes(99)}, zipfile.ZIP_DEFLATED), "compressed"),
        (lambda state: _zip({"a/data.pkl": b"junk"}), "is damaged"),
    ],
)
def test_what_is_no_checkpoint_says_what_it_is(
    make: Callable[[State], bytes], message: str, state: State, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        _load(make(state), tmp_path / "model.pth")
    assert str(caught.value).startswith(f"{tmp_path / 'model.pth'} ")
    assert "\n" not in str(caught.value)


def _header(entry: dict[str, object], data: bytes = bytes(4), metadata: object = None) -> bytes:
    header: dict[str, object] = {"encoder.pos_embed": entry}
    if metadata is not None:
        header["__metadata__"] = metadata
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


@pytest.mark.parametrize(
    "data",
    [
        _header({"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}),
        _header({"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}, bytes(8)),
        _header({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4]}),
        _header({"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}),
        _header({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}, b""),
        _header({"dtype": "I32", "shape": [1], "data_offsets": [0, 4]}),
        _header({"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}),
        _header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, metadata={"config": "{}"}),
        _header({"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}, metadata={"format": 1}),
        (1 << 62).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"{{",
    ],
)
def test_a_header_that_does_not_describe_the_file_is_refused(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        _load(data, tmp_path / "model.safetensors")


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
def test_a_path_that_is_no_file_is_one_line(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pth"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    with pytest.raises(
        FileError, match=r"does not exist|is a directory|is not a regular file"
    ) as caught:
        load_model(path)
    assert isinstance(caught.value, MotivNetError)


def _load(data: bytes, path: Path) -> Checkpoint:
    path.write_bytes(data)
    return load_checkpoint(path, CONFIG)


def _loaded_bytes(checkpoint: Checkpoint) -> tuple[object, ...]:
    weights: dict[str, Tensor] = checkpoint.model.state_dict()
    values = [(name, weight.numpy().tobytes()) for name, weight in weights.items()]
    preprocessing = checkpoint.preprocessing
    return checkpoint.config, checkpoint.labels, preprocessing, checkpoint.metadata, values
