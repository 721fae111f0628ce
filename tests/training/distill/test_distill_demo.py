"""The demonstration teaches a student with a fifteenth of its FLOP, from faces without labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from motivnet.config import DecoderConfig, EncoderConfig, ModelConfig
from motivnet.labels import EMOTIONS
from motivnet.synthetic import iterate_faces
from motivnet_training.demo import train_on_drawn_faces
from motivnet_training.devices import Devices
from motivnet_training.distill import DistillRequest, distill
from motivnet_training.distill.request import distillation_recipe
from motivnet_training.recipe import RECIPES, change_recipe

STUDENT = ModelConfig(
    encoder=EncoderConfig(embed_dim=48, depth=3, num_heads=3, image_size=(64, 48)),
    decoder=DecoderConfig(embed_dim=48, num_heads=2, mlp_dim=96),
)
FACES = 1_400


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_teaches_a_student_that_agrees_with_it(tmp_path: Path) -> None:
    demo = change_recipe(RECIPES["scratch"], epochs=10, batch_size=32, augmentations="mirror")
    teacher = tmp_path / "demo.safetensors"
    train_on_drawn_faces(ModelConfig.named("tiny"), teacher, count=3_500, recipe=demo)
    data = tmp_path / "faces"
    data.mkdir()
    faces = iterate_faces(FACES, seed=77, size=(128, 96), labels=EMOTIONS[:7])
    for number, face in enumerate(faces):
        cv2.imwrite(str(data / f"{number:04d}.png"), np.ascontiguousarray(face[:, :, ::-1]))
    summary = distill(
        DistillRequest(
            teacher=teacher,
            data=data,
            out=tmp_path / "student",
            config=STUDENT,
            recipe=distillation_recipe(epochs=30, batch_size=32),
            views=8,
            devices=Devices(device="cpu"),
        )
    )
    assert 15 * summary.student_flop < summary.teacher_flop
    assert summary.fidelity.images == FACES // 10
    assert summary.fidelity.agreement >= 0.85
