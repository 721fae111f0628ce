"""A file that holds no weights to read is called what it is, in one line that says what to do."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from motivnet.checkpoints import load_checkpoint
from motivnet.errors import CheckpointError


def zipped(names: tuple[str, ...], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name in names:
            archive.writestr(name, b"{}")
    return buffer.getvalue()


def tarred(*names: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


KINDS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty; copy or download it again"),
    "Git LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:1",
        "git lfs pull",
    ),
    "web page": (b"\n <!DOCTYPE html><html>", "is a web page"),
    "web page without a type": (b"<HTML><head>", "is a web page"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied', "is XML, as a refused download"),
    "JSON": (b'{"error": "Repository not found"}', "is JSON and holds no weights"),
    "ONNX": (b"\x08\x0a\x12\x07pytorch\x1a\x052.9.0", "is an ONNX model; give the state dict"),
    "HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(99), "is an HDF5 file, as Keras"),
    "GGUF": (b"GGUF\x03\0\0\0" + bytes(99), "is a GGUF file"),
    "TensorRT": (b"ftrt\0\0\0\0" + bytes(99), "is a TensorRT engine"),
    "TensorRT for RTX": (b"vtrt\0\0\0\0" + bytes(99), "is a TensorRT engine"),
    "TensorFlow Lite": (b"\x1c\0\0\0TFL3" + bytes(99), "is a TensorFlow Lite model"),
    "NumPy": (b"\x93NUMPY\x01\0" + bytes(99), "is an array of NumPy"),
    "gzip": (b"\x1f\x8b\x08" + bytes(20), "is a packed archive; unpack it"),
    "Zstandard": (b"\x28\xb5\x2f\xfd" + bytes(20), "is a packed archive; unpack it"),
    "tar": (tarred("MotivNet.pth"), "is a tar archive; unpack it"),
    "tar of PyTorch": (tarred("sys_info", "pickle", "tensors"), "PyTorch's tar format of 2017"),
    "pickle": (b"\x80\x04}\x94.", "is a pickle, but not one of torch.save, and is not run"),
    "TorchScript": (
        zipped(("m/data.pkl", "m/code/x.py", "m/constants.pkl")),
        "TorchScript program",
    ),
    "compressed TorchScript": (
        zipped(("m/data.pkl", "m/constants.pkl"), zipfile.ZIP_DEFLATED),
        "TorchScript program",
    ),
    "torch.export": (
        zipped(("serialized_exported_program.json", "serialized_state_dict.pt")),
        "program of torch.export",
    ),
    "Keras": (zipped(("metadata.json", "config.json", "model.weights.h5")), "is a model of Keras"),
    "npz": (zipped(("a.npy", "b.npy")), "is an archive of NumPy arrays"),
    "zip of weights": (
        zipped(("MotivNet/", "MotivNet/MotivNet.pth"), zipfile.ZIP_DEFLATED),
        "is a zip archive that holds a weights file; unpack it",
    ),
    "zip": (zipped(("readme.txt",)), "is a zip archive, but not one of torch.save"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(99), "is not a weights file; give a .pth"),
}


@pytest.mark.parametrize("name", KINDS)
def test_what_is_no_weights_file_is_called_what_it_is(name: str, tmp_path: Path) -> None:
    data, said = KINDS[name]
    path = tmp_path / "model.pth"
    path.write_bytes(data)
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path} is ")
    assert said in message
    assert "\n" not in message
    assert len(message) - len(str(path)) < 200


def _script(path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), path)


def _program(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.ones(1, 2),)), path)


@pytest.mark.filterwarnings("ignore")  # PyTorch's own, about these formats
@pytest.mark.parametrize(
    ("write", "said"),
    [(_script, "is a TorchScript program"), (_program, "is a program of torch.export")],
)
def test_programs_as_pytorch_writes_them_lead_to_the_right_file(
    write: Callable[[Path], None], said: str, tmp_path: Path
) -> None:
    write(tmp_path / "sapiens_0.3b_torchscript.pt2")
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(tmp_path / "sapiens_0.3b_torchscript.pt2")
    assert f"{said} and no checkpoint; give the state dict that it was made from" in str(
        caught.value
    )
    assert "for Sapiens-Lite: sapiens_*.pth of the same model" in str(caught.value)
