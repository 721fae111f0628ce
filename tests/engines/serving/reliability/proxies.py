"""nginx and Caddy with the configurations of docs/serving.md, as processes of their own."""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

NAME = "emotions.example"
DOCUMENT = (Path(__file__).resolve().parents[4] / "docs" / "serving.md").read_text()
Changes = tuple[tuple[str, str], ...]


def program_of(proxy: str) -> str | None:
    return shutil.which(proxy, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


def free_port() -> int:
    """A port below those that the system gives to outgoing connections, of which there are many."""
    while True:
        port = random.SystemRandom().randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextlib.contextmanager
def proxy_before(
    service: int,
    *,
    proxy: str,
    port: int,
    folder: Path,
    certificate: Path | None = None,
    changes: Changes = (),
) -> Iterator[None]:
    """A proxy on a port, in front of the service on another.

    Args:
        certificate: Of emotions.example, with its key beside it as ``.key``; without, the proxy
            speaks HTTP and answers to every name.
        changes: Of the documented configuration, as text and what replaces it.
    """
    program = program_of(proxy)
    assert program is not None, f"install {proxy}"
    write = {"nginx": _nginx, "caddy": _caddy}[proxy]
    command = [program, *write(folder, port, service, certificate, changes)]
    log = folder / "proxy.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, cwd=folder, env={"HOME": str(folder)}, stdout=output, stderr=output
        ) as process,
    ):
        try:
            while not _listens(port):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
            yield
        finally:
            process.terminate()


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return False
    return True


def _documented(heading: str, language: str, *changes: tuple[str, str]) -> str:
    found = re.search(rf"### {heading}\n+```{language}\n(.*?)```", DOCUMENT, re.DOTALL)
    assert found is not None, heading
    text = found[1]
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def _nginx(
    folder: Path, port: int, service: int, certificate: Path | None, changes: Changes
) -> list[str]:
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    tls: Changes = (
        ("listen 443 ssl", f"listen 127.0.0.1:{port}"),
        (f"ssl_certificate /etc/ssl/{NAME}.pem;", ""),
        (f"ssl_certificate_key /etc/ssl/{NAME}.key;", ""),
    )
    if certificate is not None:
        tls = (
            ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
            (f"/etc/ssl/{NAME}.pem", str(certificate)),
            (f"/etc/ssl/{NAME}.key", str(certificate.with_suffix(".key"))),
        )
    text = _documented(
        "nginx",
        "nginx",
        ("http {", f"http {{\naccess_log off;\n{paths}"),
        ("127.0.0.1:8000", f"127.0.0.1:{service}"),
        *tls,
        *changes,
    )
    file = folder / "nginx.conf"
    file.write_text(f"master_process off;\ndaemon off;\npid {folder}/pid;\n{text}")
    return ["-p", str(folder), "-c", str(file), "-e", str(folder / "errors")]


def _caddy(
    folder: Path, port: int, service: int, certificate: Path | None, changes: Changes
) -> list[str]:
    site = f"http://:{port} {{\n\tbind 127.0.0.1"
    if certificate is not None:
        key = certificate.with_suffix(".key")
        site = f"https://{NAME}:{port} {{\n\tbind 127.0.0.1\n\ttls {certificate} {key}"
    text = _documented(
        "Caddy",
        "text",
        ("{\n\tservers", "{\n\tadmin off\n\tauto_https disable_redirects\n\tservers"),
        (f"{NAME} {{", site),
        ("127.0.0.1:8000", f"127.0.0.1:{service}"),
        *changes,
    )
    (folder / "Caddyfile").write_text(text)
    return ["run", "--config", str(folder / "Caddyfile")]
