"""Videos over HTTP and RTSP, from servers that answer, lie, refuse and fall silent."""

from __future__ import annotations

import contextlib
import re
import socket
import socketserver
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import av
import pytest
from av.video.stream import VideoStream

from motivnet.errors import VideoError
from motivnet_engines.inference.classifier import EmotionClassifier
from motivnet_engines.video import FrameResult, VideoSummary, video_source
from motivnet_engines.video.run import predict_video

from .conftest import moving, write_video
from .servers import Answer, http_server, sends


def silent(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.settimeout(20)  # hangs up on a client that does not give up
    handler.rfile.read(1)


def silent_after(body: bytes, handler: BaseHTTPRequestHandler) -> None:
    sends(body, declared=10 * len(body))(handler)
    handler.wfile.flush()
    silent(handler)


def watch(url: str, classifier: EmotionClassifier) -> tuple[list[FrameResult], VideoSummary]:
    with predict_video(classifier, video_source(url)) as run:
        return list(run), run.summary


@pytest.fixture
def short_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motivnet_engines.video.opening.OPEN_SECONDS", 0.5)


@pytest.fixture
def short_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("motivnet_engines.video.opening.READ_SECONDS", 0.5)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "clip.webm"])
def test_a_video_over_http_is_read_as_a_file_is(
    name: str, tmp_path: Path, classifier: EmotionClassifier
) -> None:
    path = write_video(
        tmp_path / name, moving(20), codec="libvpx" if name.endswith("webm") else "libx264"
    )
    with http_server(sends(path.read_bytes())) as port:
        results, summary = watch(f"http://127.0.0.1:{port}/{name}", classifier)
    assert (len(results), summary.complete) == (20, True)


def test_a_playlist_over_http_is_read(tmp_path: Path, classifier: EmotionClassifier) -> None:
    segment = write_video(tmp_path / "clip.ts", moving(20)).read_bytes()
    text = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\nclip.ts\n#EXT-X-ENDLIST\n"

    def answer(handler: BaseHTTPRequestHandler) -> None:
        sends(text if handler.path.endswith("m3u8") else segment)(handler)

    with http_server(answer) as port:
        results, _ = watch(f"http://127.0.0.1:{port}/live.m3u8", classifier)
    assert len(results) == 20


def test_a_playlist_over_http_opens_no_file(tmp_path: Path, classifier: EmotionClassifier) -> None:
    path = write_video(tmp_path / "clip.ts", moving(20))
    text = (
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.8,\nfile://{path}\n#EXT-X-ENDLIST\n".encode()
    )
    with http_server(sends(text)) as port, pytest.raises(VideoError):
        watch(f"http://127.0.0.1:{port}/live.m3u8", classifier)


def test_a_server_that_stops_sending_is_an_error_with_the_results_so_far(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    data = write_video(tmp_path / "clip.mkv", moving(40)).read_bytes()
    with (
        http_server(sends(data[: len(data) // 2], declared=len(data))) as port,
        predict_video(classifier, video_source(f"http://127.0.0.1:{port}/clip.mkv")) as run,
        pytest.raises(VideoError),
    ):
        list(run)
    assert 5 < run.summary.classified < 40
    assert not run.summary.complete


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (sends(b"", status=404), "404"),
        (sends(b"", status=401), "401"),
        (sends(b"", status=500), "Server returned 5XX"),
        (sends(b"<html>Hello</html>" * 100), "what it sends is not a video"),
        (sends(b""), "cannot be opened"),
    ],
)
def test_an_answer_that_is_no_video_is_an_error_of_one_line_without_the_password(
    answer: Answer, message: str, classifier: EmotionClassifier
) -> None:
    with http_server(answer) as port, pytest.raises(VideoError, match=message) as raised:
        watch(f"http://me:secret@127.0.0.1:{port}/x?token=secret", classifier)
    assert str(raised.value).startswith(f"http://127.0.0.1:{port}/x cannot be opened: ")
    assert "secret" not in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("short_open", "short_reads")
def test_a_server_that_never_answers_is_given_up(classifier: EmotionClassifier) -> None:
    with http_server(silent) as port, pytest.raises(VideoError, match="does not answer in time"):
        watch(f"http://127.0.0.1:{port}/x", classifier)


@pytest.mark.timeout(30)
@pytest.mark.usefixtures("short_reads")
def test_a_server_that_falls_silent_is_given_up_with_the_results_so_far(
    tmp_path: Path, classifier: EmotionClassifier
) -> None:
    data = write_video(tmp_path / "clip.mkv", moving(80)).read_bytes()
    with (
        http_server(partial(silent_after, data[: len(data) // 2])) as port,
        predict_video(classifier, video_source(f"http://127.0.0.1:{port}/clip.mkv")) as run,
        pytest.raises(VideoError, match=r"cannot be read after .*: it does not answer in time"),
    ):
        list(run)
    assert run.summary.classified > 5


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["http", "rtsp"])
def test_a_refused_stream_is_an_error_of_one_line(
    scheme: str, classifier: EmotionClassifier
) -> None:
    address = f"{scheme}://127.0.0.1:{closed_port()}/live"
    with pytest.raises(
        VideoError, match=f"{re.escape(address)} cannot be opened: Connection refused; check the"
    ):
        watch(address, classifier)


class RtspCamera(socketserver.StreamRequestHandler):
    """A camera that plays H.264 over the connection of the commands (RFC 2326, 10.12)."""

    frames = 2000

    def handle(self) -> None:
        while (request := self._request()) is not None:
            method = request.split(" ", 1)[0]
            number = re.search(r"CSeq: *(\d+)", request)
            assert number is not None
            body, headers = "", ""
            if method == "OPTIONS":
                headers = "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
            elif method == "DESCRIBE":
                body = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
                body += "a=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
                body += "a=control:streamid=0\r\n"
                headers = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            elif method == "SETUP":
                headers = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            answer = f"RTSP/1.0 200 OK\r\nCSeq: {number[1]}\r\n{headers}\r\n{body}"
            self.wfile.write(answer.encode())
            if method == "PLAY":
                with contextlib.suppress(OSError):
                    self._play()
                return

    def _request(self) -> str | None:
        lines = b""
        while not lines.endswith(b"\r\n\r\n"):
            if not (line := self.rfile.readline()):
                return None
            lines += line
        return lines.decode()

    def _play(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as packets:
            packets.bind(("127.0.0.1", 0))
            packets.settimeout(0.02)
            address = f"rtp://127.0.0.1:{packets.getsockname()[1]}"
            options = {"g": "5", "tune": "zerolatency", "bf": "0"}
            with av.open(address, "w", format="rtp", options={"payload_type": "96"}) as container:
                stream = container.add_stream("libx264", rate=25, options=options)
                assert isinstance(stream, VideoStream)
                stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
                for picture in moving(self.frames):
                    container.mux(
                        stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
                    )
                    self._forward(packets)
                    time.sleep(0.01)

    def _forward(self, packets: socket.socket) -> None:
        with contextlib.suppress(TimeoutError):
            while True:
                packet = packets.recv(65_536)
                self.wfile.write(b"$\x00" + len(packet).to_bytes(2, "big") + packet)


def test_an_rtsp_camera_is_watched_live(classifier: EmotionClassifier) -> None:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), RtspCamera) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            address = f"rtsp://127.0.0.1:{server.server_address[1]}/live"
            with predict_video(classifier, video_source(address)) as run:
                results = [next(run) for _ in range(10)]
        finally:
            server.shutdown()
            thread.join()
    assert [len(result.faces) for result in results] == [1] * 10
    assert [result.time for result in results] == sorted(result.time for result in results)
    assert results[0].time == pytest.approx(0, abs=0.5)
    summary = run.summary
    assert summary.decoded == summary.classified + summary.dropped
    assert (summary.complete, summary.error) == (True, None)
