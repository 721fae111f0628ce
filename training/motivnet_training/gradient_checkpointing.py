"""Training a large model in less memory: activations that are computed again, and not kept."""

from __future__ import annotations

import functools

from torch.utils.checkpoint import checkpoint

from motivnet.model import SapiensEncoder


def checkpoint_activations(encoder: SapiensEncoder) -> None:
    """Lets every block keep only its input for the backward pass and run its forward again (Chen et
    al. 2016).

    The weights keep their names. About a third more time, for the activations of one block in place
    of all.
    """
    for block in encoder.blocks:
        block.forward = functools.partial(checkpoint, block.forward, use_reentrant=False)
