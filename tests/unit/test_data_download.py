"""The download against a server on the loopback interface: the right file, or no file and one clear line."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from memristor_plugins.datamodules.download import download
from memristor_plugins.errors import ConfigError

BODY = bytes(range(256)) * 9_000
DIGEST = hashlib.sha256(BODY).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers /NAME in the way that NAME says."""

    seen: ClassVar[list[str]] = []
    folder: ClassVar[Path]
    during: ClassVar[list[list[str]]] = []

    def do_GET(self) -> None:
        Handler.seen.append(self.path)
        Handler.during.append([path.name for path in Handler.folder.iterdir()])
        if self.path == "/missing":
            self.send_error(404)
            return
        body = {"/wrong": BODY[::-1], "/long": BODY + b"!" * 10}.get(self.path, BODY)
        self.send_response(200)
        if self.path != "/unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 3] if self.path == "/truncated" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("no_proxy", "*")
    Handler.seen, Handler.during, Handler.folder = [], [], tmp_path
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def attempt(url: str, target: Path, timeout: float = 5.0) -> str:
    """The one line that a failed download raises."""
    with pytest.raises(ConfigError) as raised:
        download(url, target, size=len(BODY), sha256=DIGEST, option="data.root", timeout=timeout)
    message = str(raised.value)
    assert message.startswith("data.root: ")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("path", ["/right", "/unsized"])
def test_the_right_file_arrives_whole(server: str, tmp_path: Path, path: str) -> None:
    target = tmp_path / "file.tar.gz"
    download(server + path, target, size=len(BODY), sha256=DIGEST, option="data.root")
    assert target.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [target]
    # while the server was answering, there was one file, and not under the target's name
    assert [len(names) for names in Handler.during] == [1]
    assert target.name not in Handler.during[0]


def test_missing_folders_are_made(server: str, tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "file"
    download(server + "/right", target, size=len(BODY), sha256=DIGEST, option="data.root")
    assert target.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/truncated", "sent 768,000 of 2,304,000 bytes; try again"),
        ("/wrong", f"has SHA-256 {hashlib.sha256(BODY[::-1]).hexdigest()}, expected {DIGEST}; try again"),
        ("/long", "sent 2,304,001 of 2,304,000 bytes; try again"),
        ("/missing", "(HTTP 404 Not Found); try again"),
    ],
)
def test_a_broken_download_leaves_nothing(server: str, tmp_path: Path, path: str, expected: str) -> None:
    message = attempt(server + path, tmp_path / "file")
    assert expected in message
    assert server + path in message
    assert list(tmp_path.iterdir()) == []


def test_a_broken_download_leaves_an_older_file_alone(server: str, tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_bytes(b"older")
    attempt(server + "/truncated", target)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_an_interrupted_download_leaves_nothing(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        assert len(list(tmp_path.iterdir())) == 1
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        download(server + "/right", tmp_path / "file", size=len(BODY), sha256=DIGEST, option="data.root")
    assert list(tmp_path.iterdir()) == []


def test_a_dead_server_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        message = attempt(f"http://127.0.0.1:{unused.getsockname()[1]}/right", tmp_path / "file")
    assert "cannot download" in message
    assert list(tmp_path.iterdir()) == []


def test_a_silent_server_does_not_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        message = attempt(f"http://127.0.0.1:{silent.getsockname()[1]}/right", tmp_path / "file", timeout=0.2)
    assert "timed out" in message
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    message = attempt("http://127.0.0.1:9/right", tmp_path / "file" / "target")
    assert f"cannot write to {tmp_path / 'file'}" in message
