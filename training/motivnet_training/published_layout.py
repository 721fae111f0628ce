"""A model under the names, and with the packed tensors, of the published ``MotivNet.pth``."""

from __future__ import annotations

from pathlib import Path

from motivnet.checkpoints.key_maps import published_from_model
from motivnet.checkpoints.torch_files import write_archive
from motivnet.files import atomic_path
from motivnet.model import MotivNet


def write_published(model: MotivNet, path: Path) -> None:
    """Writes the weights as a flat state dict of torch's, whole or not at all.

    Raises:
        FileError: If it cannot be written.
    """
    weights = {
        name: tensor.contiguous()
        for name, tensor in published_from_model(model.state_dict()).items()
    }
    with atomic_path(path) as temporary:
        write_archive(weights, temporary)
