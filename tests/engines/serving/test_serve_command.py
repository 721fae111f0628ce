from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args, get_type_hints

import httpx
import pytest
from typer.testing import CliRunner

from motivnet_engines.cli import app
from motivnet_engines.cli.serve import serve
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.serving.settings import _RANGES

TOKEN = "0123456789abcdef0123456789abcdef"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "motivnet_engines.cli", "serve", *map(str, arguments)]


def refused(*arguments: str | Path) -> str:
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        check=False,
        env=ENVIRONMENT,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    [line] = done.stderr.splitlines()
    return line


@contextmanager
def serving(*arguments: str | Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running command and its address."""
    with subprocess.Popen(
        command("--port", "0", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"http://\S+?(?=;)", line)
        try:
            assert found, line + (
                process.stderr.read() if process.stderr and process.poll() is not None else ""
            )
            yield process, found[0]
        finally:
            process.kill()


@pytest.mark.parametrize(
    "words",
    [
        ("--deadline", "0"),
        ("--deadline", "nan"),
        ("--grace", "inf"),
        ("--max-body", "-1"),
        ("--port", "70000"),
        ("--export-triton", "models", "--max-delay-ms", "nan"),
    ],
)
def test_a_number_out_of_range_is_a_usage_error_that_names_its_option(
    words: tuple[str, ...],
) -> None:
    result = CliRunner().invoke(app, ["serve", *words])
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Invalid value for '{words[-2]}'" in result.stderr


def test_the_options_have_the_ranges_of_the_settings() -> None:
    hints = get_type_hints(serve, include_extras=True)
    options = {name: get_args(hint)[1] for name, hint in hints.items() if len(get_args(hint)) > 1}
    ranges = {name: (option.min, option.max) for name, option in options.items()}
    ranges["max_body_bytes"], ranges["grace_s"] = ranges["max_body"], ranges["grace"]
    ranges["deadline_ms"] = tuple(1e3 * seconds for seconds in ranges["deadline"])
    of_both = _RANGES.keys() & ranges
    assert len(of_both) == 10
    assert {name: ranges[name] for name in of_both} == {name: _RANGES[name] for name in of_both}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        *(
            ((option, "nofile"), f"error: {option}: nofile does not exist; check its name")
            for option in ("--token-file", "--detector", "--adapted-classes")
        ),
        (("--unknown", "--adapted-classes", "c.npz"), "--unknown does not go with --adapted-cl"),
    ],
)
def test_a_wrong_option_is_named(
    words: tuple[str, ...], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused("--artifact", "a", *words)


def test_curl_and_httpx_get_what_the_classifier_says(
    fp16_artifact: Path, photo: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "face.png"
    file.write_bytes(photo)
    with EmotionClassifier.open(fp16_artifact, runtime="onnxruntime", threads=1) as classifier:
        expected = classifier.predict(photo)[0].to_dict()
    with serving(
        "--artifact", fp16_artifact, "--runtime", "onnxruntime", "--threads", "1", "--no-detect"
    ) as (_, url):
        raw = httpx.post(f"{url}/v1/predict", content=photo, headers={"Content-Type": "image/png"})
        form = subprocess.run(
            ["curl", "-sS", "-F", f"image=@{file}", f"{url}/v1/predict"],
            capture_output=True,
            check=True,
        )
        assert httpx.get(f"{url}/v1/model").json()["name"] == fp16_artifact.name
    assert raw.json()["images"][0]["faces"] == [expected]
    answer = httpx.Response(200, content=form.stdout).json()["images"][0]
    assert (answer["name"], answer["faces"]) == ("face.png", [expected])


def test_sigterm_and_ctrl_c_end_it_with_status_0(fp32_artifact: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving("--artifact", fp32_artifact, "--no-detect") as (process, url):
            assert httpx.get(f"{url}/readyz").status_code == 200
            process.send_signal(number)
            assert process.wait(30) == 0


def test_each_line_of_the_log_is_json_and_holds_no_token(
    fp32_artifact: Path, tmp_path: Path
) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text(TOKEN)
    with serving(
        "--artifact", fp32_artifact, "--no-detect", "--token-file", tmp_path / "token"
    ) as (process, url):
        headers = {"Authorization": f"Bearer {TOKEN}"}
        assert httpx.get(f"{url}/v1/model", headers=headers).status_code == 200
        assert httpx.get(f"{url}/v1/model?token={TOKEN}").status_code == 401
        process.terminate()
        assert process.stderr is not None
        log = process.stderr.read()
    assert TOKEN not in log
    events = [httpx.Response(200, text=line).json()["event"] for line in log.splitlines()]
    # A request is logged after its answer was sent, and so perhaps after the signal that follows.
    assert sorted(events[:-1]) == ["draining", "request", "request"]
    assert events[-1] == "drained"


def test_a_batch_that_the_artifact_does_not_take_is_warned_of(fp32_artifact: Path) -> None:
    with serving("--artifact", fp32_artifact, "--no-detect", "--max-batch", "999") as (process, _):
        process.terminate()
        assert process.stderr is not None
        first, *_ = [httpx.Response(200, text=line).json() for line in process.stderr]
    assert first["level"] == "warning"
    assert first["event"].startswith("batches of 999 are asked for, but the artifact takes at most")


def test_a_port_in_use_is_one_line(fp32_artifact: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused("--artifact", fp32_artifact, "--no-detect", "--port", str(port))
    assert (
        line == f"error: cannot listen on 127.0.0.1 port {port}: Address already in use; "
        "choose another --port"
    )


def test_an_address_beyond_this_machine_without_a_token_is_one_line(fp32_artifact: Path) -> None:
    line = refused("--artifact", fp32_artifact, "--host", "0.0.0.0")
    assert line.startswith("error: 0.0.0.0 can be reached from other machines; give a token")


@pytest.mark.parametrize(
    ("option", "value", "told"),
    [
        (
            "--host",
            "127.0.0.1:8000",
            "is not an address alone, such as 127.0.0.1, ::1 or localhost",
        ),
        ("--root-path", "faces/", "is not a path such as /faces"),
        ("--allowed-origin", "https://faces.example/", "write https://faces.example"),
    ],
)
def test_an_option_that_cannot_be_right_is_one_line(
    tmp_path: Path, option: str, value: str, told: str
) -> None:
    line = refused("--artifact", tmp_path, option, value)
    assert line.startswith(f"error: {option} {value} is not ")
    assert told in line


def test_allowed_origins_and_a_root_path_reach_the_service(fp32_artifact: Path) -> None:
    origins = ("https://faces.example", "http://localhost:3000")
    options = [word for origin in origins for word in ("--allowed-origin", origin)]
    with serving("--artifact", fp32_artifact, "--no-detect", "--root-path", "/faces", *options) as (
        _,
        url,
    ):
        for origin in (*origins, "https://evil.example"):
            answer = httpx.get(f"{url}/faces/healthz", headers={"Origin": origin})
            allowed = answer.headers.get("access-control-allow-origin")
            assert (answer.status_code, allowed) == (200, origin if origin in origins else None)


def test_an_artifact_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    line = refused("--artifact", tmp_path / "nothing", "--no-detect", "--port", "0")
    assert line.startswith("error: ")
    assert "motivnet-export build" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_only_the_address_asked_for_is_listened_on(fp32_artifact: Path, host: str) -> None:
    with serving("--artifact", fp32_artifact, "--no-detect", "--host", host) as (_, url):
        assert httpx.get(f"{url}/healthz").status_code == 200
        other = {"127.0.0.1": "127.0.0.2", "[::1]": "127.0.0.1"}[host]
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"http://{other}:{httpx.URL(url).port}/healthz")


@pytest.mark.shared
def test_faces_are_found_in_a_photo_of_several_megapixels(
    fp32_artifact: Path, shared_dir: Path
) -> None:
    photo = next((shared_dir / "data" / "london").rglob("*.jpg"))
    with serving("--artifact", fp32_artifact) as (_, url):
        answer = httpx.post(
            f"{url}/v1/predict", content=photo.read_bytes(), headers={"Content-Type": "image/jpeg"}
        )
        assert httpx.get(f"{url}/v1/model").json()["detector"] == "yunet"
    [image] = answer.json()["images"]
    assert image["faces"][0]["box"]["width"] > 20
    assert image["faces"][0]["score"] > 0.5
