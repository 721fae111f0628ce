from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motivnet.box import Box
from motivnet.errors import ArtifactError, ConfigError
from motivnet_engines.faces.detector import Face
from motivnet_engines.serving.launch import LargestFaces, listening_service
from motivnet_engines.serving.server import listening_socket, url_of
from motivnet_engines.serving.settings import ServeSettings


class Crowd:
    """Finds a hundred faces in everything."""

    def detect(self, pixels: Any) -> tuple[Face, ...]:
        return tuple(Face(box=Box(x=0, y=0, width=100 - size, height=10), score=0.9) for size in range(100))


def test_of_a_crowd_the_largest_faces_are_kept() -> None:
    faces = LargestFaces(detector=Crowd(), limit=3).detect(np.zeros((9, 9, 3), np.uint8))
    assert [face.box.width for face in faces] == [100, 99, 98]


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        listening_socket(ServeSettings(host="192.0.2.1", token="0123456789abcdef"))
    with pytest.raises(ConfigError, match="not an address"):
        listening_socket(ServeSettings(host="no.such.host.invalid", token="0123456789abcdef"))


def test_a_free_port_is_found_and_told() -> None:
    with listening_socket(ServeSettings(port=0)) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_artifact_that_cannot_be_opened_leaves_the_port_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for _ in range(2):
        with pytest.raises(ArtifactError):
            listening_service(tmp_path, ServeSettings(port=port))
