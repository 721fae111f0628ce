"""Small weights files that ask for much: each by its name, written by hand where no library would
write it.

Run as a program it writes each into a folder, loads it in a process of its own with little memory,
and tells how that ended, by how many megabytes the process grew and how long it took: ``python
checkpoint_bombs.py FOLDER MEGABYTES``.
"""

from __future__ import annotations

import functools
import io
import json
import os
import resource
import struct
import sys
import time
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from msgspec.structs import force_setattr

from motivnet.checkpoints import key_maps, load_checkpoint
from motivnet.checkpoints.safetensors_files import Description, write_safetensors
from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.errors import MotivNetError
from motivnet.labels import labels_for
from motivnet.model import build_model

CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(8, 4)),
    decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8),
)
MANY = 120_000


def archive(pickle: bytes, members: dict[str, bytes] | None = None) -> bytes:
    """An archive as ``torch.save`` makes it, of this pickle."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name, data in {"data.pkl": pickle, "byteorder": b"little", **(members or {})}.items():
            written.writestr(f"archive/{name}", data)
    return buffer.getvalue()


def beside_weights(pickle: bytes) -> bytes:
    """The archive of a whole model with one more entry: what this pickle leaves on the stack."""
    buffer = io.BytesIO()
    torch.save({"state_dict": published()}, buffer)
    with zipfile.ZipFile(buffer) as archive_:
        folder = archive_.namelist()[0].partition("/")[0]
        members = {
            name.removeprefix(f"{folder}/"): archive_.read(name) for name in archive_.namelist()
        }
    whole = members.pop("data.pkl")
    return archive(whole[:-1] + b"X\x05\x00\x00\x00extra" + pickle + b"s.", members)


def beside_older_weights(pickle: bytes) -> bytes:
    """The same in the format before the archive, in which pickles follow one another."""
    buffer = io.BytesIO()
    torch.save({"state_dict": published()}, buffer, _use_new_zipfile_serialization=False)
    head, tail = _parts_of_older(buffer.getvalue())
    return head[:-1] + b"X\x05\x00\x00\x00extra" + pickle + b"s." + tail


def _parts_of_older(data: bytes) -> tuple[bytes, bytes]:
    """Return everything up to the end of the content's pickle, and the rest."""
    end = data.rindex(b".\x80\x02]") + 1
    return data[:end], data[end:]


def older(pickle: bytes, keys: bytes = b"\x80\x02]") -> bytes:
    """A file of the older format with this content and these keys of storages, and no storage."""
    buffer = io.BytesIO()
    torch.save({}, buffer, _use_new_zipfile_serialization=False)
    head = buffer.getvalue()
    start = head.rindex(b"\x80\x02}q\x00.")
    return head[:start] + b"\x80\x02" + pickle + b"." + keys + b"."


def older_storage(count: int) -> bytes:
    """A state dict of one tensor over a storage of so many floats."""
    storage = b"(" + text(b"storage") + b"ctorch\nFloatStorage\n" + text(b"0") + text(b"cpu")
    sizes = b"K\x00" + number(count) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)R"
    tensor_ = (
        b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(count) + b"NtQ" + sizes + b"tR"
    )
    return older(
        b"}" + text(b"pose_encoder.pos_embed") + tensor_ + b"s", b"\x80\x02]" + text(b"0") + b"a"
    )


def doubled_modules(times: int) -> bytes:
    """A module that holds another one twice, which does the same, and so on."""
    start = b"cx\nM\n)\x81}(" + text(b"_parameters") + b"}" + text(b"_modules") + b"}"
    data = start + b"ubq\x00"
    for _ in range(times):
        data += b"0" + start + b"(" + text(b"a") + b"h\x00" + text(b"b") + b"h\x00uubq\x00"
    return data


def published() -> dict[str, Any]:
    return dict(key_maps.published_from_model(build_model(CONFIG, seed=1).state_dict()))


def number(value: int) -> bytes:
    data = value.to_bytes(8, "little", signed=True)
    return b"\x8a\x08" + data


def text(value: bytes) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value


def nested_encode(times: int) -> bytes:
    """Hexadecimal digits of hexadecimal digits: each call doubles the length."""
    data = b"c_codecs\nencode\n" + text(b"a" * 100) + text(b"latin1") + b"\x86R"
    for _ in range(times):
        data = b"c_codecs\nencode\n" + data + text(b"hex_codec") + b"\x86R"
    return data


def repeated_encode(times: int) -> bytes:
    """One text of 120,000 letters, turned into bytes again and again."""
    arguments = text(b"a" * MANY) + text(b"latin1") + b"\x86q\x00"
    return b"(" + arguments + b"c_codecs\nencode\nq\x01" + b"h\x01h\x00R" * times + b"t"


def tensor(key: bytes, size: int) -> bytes:
    """A tensor of bytes over a whole storage."""
    storage = (
        b"("
        + text(b"storage")
        + b"ctorch\nByteStorage\n"
        + text(key)
        + text(b"cpu")
        + number(size)
        + b"tQ"
    )
    sizes = b"K\x00" + number(size) + b"\x85K\x01\x85\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + sizes + b"tR"


def overlapping(count: int, size: int) -> bytes:
    """Members that begin one inside the other, so that each of them is the rest of the file."""
    names = [f"archive/data/{key}".encode() for key in range(count)]
    body, found = bytes(size), []
    for name in reversed(names):
        found.append((name, len(body), zlib.crc32(body)))
        body = _local(*found[-1]) + body
    found.reverse()
    entries = b"".join(
        text(b"w%d" % key) + tensor(b"%d" % key, size) for key, (_, size, _) in enumerate(found)
    )
    pickle = b"\x80\x02}(" + entries + b"u."
    whole = directory = b""
    for name, data in ((b"archive/data.pkl", pickle), (b"archive/version", b"3\n")):
        directory += _central(name, len(data), zlib.crc32(data), len(whole))
        whole += _local(name, len(data), zlib.crc32(data)) + data
    for member in found:
        directory += _central(*member, len(whole))
        whole += _local(*member)
    whole += bytes(size)
    end = struct.pack(
        "<4s4H2IH", b"PK\x05\x06", 0, 0, count + 2, count + 2, len(directory), len(whole), 0
    )
    return whole + directory + end


def _local(name: bytes, size: int, checksum: int) -> bytes:
    return (
        struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0, 0, 0, 33, checksum, size, size, len(name), 0)
        + name
    )


def _central(name: bytes, size: int, checksum: int, offset: int) -> bytes:
    fields = (
        b"PK\x01\x02",
        20,
        20,
        0,
        0,
        0,
        33,
        checksum,
        size,
        size,
        len(name),
        0,
        0,
        0,
        0,
        0,
        offset,
    )
    return struct.pack("<4s6H3I5H2I", *fields) + name


def giant_head(path: Path) -> None:
    """An encoder of 2 MB, whole and with its checksum, and a description of a head of 60 GB."""
    encoder = EncoderConfig(embed_dim=128, depth=2, num_heads=2, patch_size=4, image_size=(8, 4))
    decoder = DecoderConfig(embed_dim=45_056, num_heads=2, depth=1, mlp_dim=65_536)
    small = ModelConfig(
        encoder=encoder, decoder=DecoderConfig(embed_dim=8, num_heads=2, depth=1, mlp_dim=8)
    )
    weights = {
        name: value
        for name, value in build_model(small, seed=1).state_dict().items()
        if "decoder" not in name
    }
    config = ModelConfig(encoder=encoder, decoder=decoder)
    description = Description(config=config, labels=labels_for(7), preprocessing=None)
    write_safetensors(path, weights, description)


def giant_grid(path: Path, sides: tuple[int, int] = (65_536, 65_536)) -> None:
    """A pretraining encoder whose positions are to be resized to a grid of 268 million patches."""
    encoder = EncoderConfig(embed_dim=8, depth=1, num_heads=2, patch_size=4, image_size=(16, 16))
    force_setattr(encoder, "image_size", sides)  # which no configuration of ours may have
    config = ModelConfig(encoder=encoder, decoder=CONFIG.decoder)
    weights = {
        key.removeprefix("pose_encoder."): value
        for key, value in published().items()
        if key.startswith("pose_encoder.")
    }
    weights = {
        f"patch_embed.{key}" if key.startswith("projection") else key: value
        for key, value in weights.items()
    }
    weights |= {"cls_token": torch.zeros(1, 1, 8), "pos_embed": torch.zeros(1, 17, 8)}
    description = Description(config=config, labels=labels_for(7), preprocessing=None)
    write_safetensors(path, weights, description)


def long_header(path: Path) -> None:
    """A safetensors file of 250,000 empty tensors, described in 16 MB."""
    entries = {
        f"t{key}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for key in range(250_000)
    }
    header = json.dumps(entries).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header)


def _minus_ones(bits: int) -> bytes:
    """A key, a tuple of -1 and -2, which have one hash, and its value."""
    parts = (
        b"J\xff\xff\xff\xff" if bits >> place & 1 else b"J\xfe\xff\xff\xff" for place in range(15)
    )
    return b"(" + b"".join(parts) + b"tN"


_GIANT_ARRAY = b"cbuiltins\nbytearray\n" + number(5_000_000_000) + b"\x85R"

PICKLES: dict[str, bytes] = {
    "a byte array of 5 GB": _GIANT_ARRAY,
    "encodings that double": nested_encode(26),
    "a text encoded 4,000 times": repeated_encode(4_000),
    "nested tuples as a key": b"}N" + b"\x85" * (3 * MANY) + b"Ns",
    "nested tuples": b"N" + b"\x85" * MANY,
    "nested lists": b"]" * MANY + b"a" * (MANY - 1),
    "nested dictionaries": b"}K\x01" * MANY + b"N" + b"s" * MANY,
    "keys of one hash": b"}(" + b"".join(map(_minus_ones, range(2**15))) + b"u",
    "marks alone": b"(" * MANY,
    "many dictionaries": b"](" + b"}" * MANY + b"e",
    "more dictionaries": b"](" + b"}" * (9 * MANY) + b"e",
    "a memo of two thousand million places": b"Nr\xff\xff\xff\x7f",
    "a text of 4 EB": b"\x8d" + (2**62).to_bytes(8, "little"),
    "bytes of 4 EB": b"\x8e" + (2**62).to_bytes(8, "little"),
    "a byte array of 4 EB with no bytes": b"\x96" + (2**62).to_bytes(8, "little"),
    "an integer of 2 GB": b"\x8b" + (2**31 - 1).to_bytes(4, "little"),
    "an array of numpy": b"cnumpy\nzeros\n" + number(5_000_000_000) + b"\x85R",
}


OLDER: dict[str, Callable[[], bytes]] = {
    **{
        f"older: {name}": functools.partial(beside_older_weights, PICKLES[name])
        for name in ("a byte array of 5 GB", "nested tuples as a key", "more dictionaries")
    },
    "older: a text of 4 EB": lambda: older(PICKLES["a text of 4 EB"]),
    "older: a storage of 4 EB": lambda: older_storage(2**60),
    "older: a storage of 4 GB": lambda: older_storage(2**30),
    "older: a storage of less than nothing": lambda: older_storage(-4),
    "older: no end": lambda: older(b"N" + b"]" * (1 << 20)) + bytes(1 << 22),
}


def write_made(make: Callable[[], bytes], path: Path) -> None:
    path.write_bytes(make())


FILES: dict[str, Callable[[Path], object]] = {
    **{name: functools.partial(write_made, make) for name, make in OLDER.items()},
    "modules that double": lambda path: path.write_bytes(
        archive(b"\x80\x02}" + text(b"model") + doubled_modules(60) + b"s.")
    ),
    "many modules": lambda path: path.write_bytes(
        archive(
            b"\x80\x02}("
            + b"".join(text(b"m%d" % i) + doubled_modules(0) for i in range(20_000))
            + b"u."
        )
    ),
    "members that overlap": lambda path: path.write_bytes(overlapping(2_000, 1 << 20)),
    "a giant head": giant_head,
    "a giant grid": giant_grid,
    "a larger grid": lambda path: giant_grid(path, (512, 256)),
    "a long header": long_header,
}


def write(name: str, folder: Path) -> Path:
    """Writes the bomb of this name, of ``PICKLES`` beside the weights of a whole model."""
    is_archive = name in PICKLES or name in OLDER or name.endswith(("overlap", "double", "modules"))
    path = folder / f"{name}.{'pth' if is_archive else 'safetensors'}"
    if name in FILES:
        FILES[name](path)
    else:
        path.write_bytes(beside_weights(PICKLES[name]))
    return path


def outcome(path: Path, megabytes: int) -> dict[str, object]:
    """Loads a file in a process with so much more memory than this one has."""
    source, sink = os.pipe()
    child = os.fork()
    if child == 0:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + (megabytes << 20)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        before = _peak()
        try:
            loaded = load_checkpoint(
                path, None if path.suffix == ".safetensors" else CONFIG, quiet=True
            )
            ended = f"loaded, {len(loaded.model.state_dict())} weights"
        except MotivNetError as error:
            ended = f"{type(error).__name__}: {error}"
        os.write(sink, json.dumps({"ended": ended, "grown": _peak() - before}).encode())
        os._exit(0)
    os.close(sink)
    with os.fdopen(source) as pipe:
        told = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return json.loads(told) if status == 0 else {"ended": f"exit status {status}", "grown": 0}


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10


def main(folder: Path, megabytes: int) -> None:
    torch.set_num_threads(1)
    for name in (*PICKLES, *FILES):
        path = write(name, folder)
        start = time.perf_counter()
        found = outcome(path, megabytes)
        print(
            json.dumps(
                {
                    "name": name,
                    "bytes": path.stat().st_size,
                    **found,
                    "seconds": time.perf_counter() - start,
                }
            )
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
