from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moldiff.data.download import data_root, fetch, find_archive, verify

CONTENT = bytes(range(256)) * 4000
MD5 = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves CONTENT; can ignore ranges, and breaks off the first answers after `cut` bytes."""

    ranges = True
    cut = 0
    asked: list[str | None]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.server.ranges else 0
        if self.path != "/file":
            self.send_error(404)
            return
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        if self.server.cut:
            self.wfile.write(CONTENT[start : start + self.server.cut])
            self.server.cut = 0
            return
        self.wfile.write(CONTENT[start:])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def url(server: Server, path: str = "/file") -> str:
    return f"http://127.0.0.1:{server.server_port}{path}"


@pytest.mark.parametrize("checksum", [MD5, SHA256])
def test_fetch_once(server: Server, tmp_path: Path, checksum: str) -> None:
    target = tmp_path / "new" / "file.bin"
    assert fetch(url(server), target, checksum=checksum, progress=False) == target
    assert target.read_bytes() == CONTENT
    fetch(url(server), target, checksum=checksum, progress=False)
    assert server.asked == [None]
    assert [path.name for path in target.parent.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_interrupted_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.cut, server.ranges = 300_000, ranges
    target = tmp_path / "file.bin"
    with pytest.raises(ConnectionError, match=r"Try again later to go on, or download .*file\.bin"):
        fetch(url(server), target, checksum=MD5, progress=False)
    assert not target.exists()
    part = tmp_path / "file.bin.part"
    assert part.stat().st_size == 300_000
    fetch(url(server), target, checksum=MD5, progress=False)
    assert server.asked == [None, "bytes=300000-"]
    assert target.read_bytes() == CONTENT


def test_complete_part_is_only_verified(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.bin.part").write_bytes(CONTENT)
    fetch(url(server), tmp_path / "file.bin", checksum=MD5, progress=False)
    assert (tmp_path / "file.bin").read_bytes() == CONTENT


def test_wrong_checksum(server: Server, tmp_path: Path) -> None:
    target = tmp_path / "file.bin"
    with pytest.raises(ValueError, match=r"another checksum.*put it at .*file\.bin \(md5 0{32}\)"):
        fetch(url(server), target, checksum="0" * 32, progress=False)
    assert not list(tmp_path.iterdir())
    target.write_bytes(b"other")
    with pytest.raises(ValueError, match="delete it"):
        fetch(url(server), target, checksum=MD5, progress=False)
    assert target.read_bytes() == b"other"  # a file put there by hand is never removed
    with pytest.raises(ValueError, match="neither an MD5"):
        verify(target, checksum="123")


def test_no_network_says_what_to_put_where(server: Server, tmp_path: Path) -> None:
    for address in (url(server, "/none"), "http://127.0.0.1:9/file"):
        with pytest.raises(ConnectionError, match=rf"download {address} by other means and put it at .*file\.bin"):
            fetch(address, tmp_path / "file.bin", checksum=MD5, progress=False, timeout=5)


def test_data_root_and_find_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("MOLDIFF_DATA", raising=False)
    assert data_root() == tmp_path / "cache" / "moldiff"
    monkeypatch.setenv("MOLDIFF_DATA", str(tmp_path / "data"))
    assert data_root() == tmp_path / "data"
    with pytest.raises(
        FileNotFoundError, match=r"data/qm9/qm9\.npz and .*cache/moldiff/qm9/qm9\.npz.*moldiff data qm9"
    ):
        find_archive("qm9")
    for root in (tmp_path / "cache" / "moldiff", tmp_path / "data"):
        (root / "qm9").mkdir(parents=True)
        (root / "qm9" / "qm9.npz").touch()
        assert find_archive("qm9") == root / "qm9" / "qm9.npz"
    assert find_archive(tmp_path / "data" / "qm9" / "qm9.npz").is_file()
    with pytest.raises(FileNotFoundError, match=r"no file .*other\.npz"):
        find_archive(tmp_path / "other.npz")


def test_crystals_lie_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOLDIFF_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"crystals/mp_20\.npz.*moldiff data mp20"):
        find_archive("mp20")
    (tmp_path / "crystals").mkdir()
    for name in ("mp_20", "mpts_52", "perov_5", "carbon_24"):
        (tmp_path / "crystals" / f"{name}.npz").touch()
        assert find_archive(name.replace("_", "")).stem == name
