from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from motivnet.errors import ArtifactError, ConfigError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.launch import listening_service
from motivnet_engines.serving.server import bound_socket, start_listening, url_of
from motivnet_engines.serving.settings import ServeSettings


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1"):
        bound_socket(ServeSettings(host="192.0.2.1", token="0123456789abcdef"))
    with pytest.raises(ConfigError, match="not an address"):
        bound_socket(ServeSettings(host="no.such.host.invalid", token="0123456789abcdef"))


def test_a_free_port_is_found_and_told() -> None:
    with bound_socket(ServeSettings(port=0)) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"


def test_an_artifact_that_cannot_be_opened_leaves_the_port_free(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    for _ in range(2):
        with pytest.raises(ArtifactError):
            listening_service(tmp_path, ServeSettings(port=port))


def test_nobody_is_let_in_before_the_model_is_open(
    fp32_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    opened = EmotionClassifier.open

    def opening(*arguments: Any, **options: Any) -> EmotionClassifier:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        return opened(*arguments, **options)

    monkeypatch.setattr(EmotionClassifier, "open", opening)
    service = listening_service(fp32_artifact, ServeSettings(port=port))
    with service.listener, service.classifier, socket.create_connection(("127.0.0.1", port)):
        assert service.app.state.service.close(timeout=5)


def test_a_port_that_another_took_meanwhile_is_told() -> None:
    first = bound_socket(ServeSettings(port=0))
    with first, bound_socket(ServeSettings(port=first.getsockname()[1])) as second:
        start_listening(first)
        with pytest.raises(ConfigError, match=r"cannot listen on 127\.0\.0\.1 port"):
            start_listening(second)
