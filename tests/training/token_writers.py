"""Writers of a cache of tokens that are killed before their k-th step, every k; prints one JSON
object a kill.

A separate program, because it forks: the process of the tests has threads.

    token_writers.py FOLDER
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import torch

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.datasets.sample import RawPixels, Sample
from motivnet.model import build_model
from motivnet.preprocess import Preprocessing
from motivnet_training.feature_cache import TokenStore, cache_tokens, token_key

STEPS = ("os.", "open", "fcntl.", "shutil.")
SHARD_BYTES = 2 * 4 * 32 * 2
CONFIG = ModelConfig(
    encoder=EncoderConfig(embed_dim=32, depth=2, num_heads=2, image_size=(32, 32)),
    decoder=DecoderConfig(embed_dim=16, num_heads=2, mlp_dim=16),
)
PREPROCESSING = Preprocessing.named("stretch", size=(32, 32))
SAMPLES = [
    Sample(name=str(number), image=RawPixels(data=bytes([number] * 63 + [0]), size=(8, 8)), label=0)
    for number in range(5)
]
DIGESTS = [sample.digest() for sample in SAMPLES]
ENCODER = build_model(CONFIG, seed=1).encoder
COMPUTED: list[int] = []
ENCODER.patch_embed.register_forward_hook(lambda _, inputs, output: COMPUTED.append(len(inputs[0])))


def write(folder: Path) -> TokenStore:
    """Three shards: two, two and one image."""
    return cache_tokens(ENCODER, SAMPLES, folder, preprocess=PREPROCESSING, shard_bytes=SHARD_BYTES)


def kill_before_step(folder: Path, step: int) -> bool:
    """Whether the writer was killed before its ``step``-th call that touches files."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        return os.WIFSIGNALED(status)
    try:
        remaining = step

        def count(event: str, _: tuple[object, ...]) -> None:
            nonlocal remaining
            if event.startswith(STEPS):
                remaining -= 1
                if remaining == 0:
                    os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(count)
        write(folder)
    finally:
        os._exit(0)


def files(folder: Path) -> dict[str, int]:
    """Every file that is not a lock, with the number that tells a rewritten one from an old one."""
    paths = (
        path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-lock")
    )
    return {str(path.relative_to(folder)): path.stat().st_ino for path in paths}


def main(root: Path) -> None:
    torch.set_num_threads(1)
    key = token_key(ENCODER, preprocess=PREPROCESSING)
    expected = write(root / "whole").tokens(DIGESTS)
    step, killed = 0, True
    while killed:
        step += 1
        folder = root / str(step)
        folder.mkdir()
        killed = kill_before_step(folder, step)
        left = TokenStore(folder, key)
        kept = {name: number for name, number in files(folder).items() if ".partial" not in name}
        COMPUTED.clear()
        store = write(folder)
        facts = {
            "killed": killed,
            "left": len(left),
            "computed": sum(COMPUTED),
            "equal": bool(np.array_equal(store.tokens(DIGESTS), expected)),
            "untouched": kept.items() <= files(folder).items(),
            "files": sorted(Path(name).name for name in files(folder)),
        }
        sys.stdout.write(json.dumps(facts) + "\n")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
