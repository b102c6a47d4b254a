"""Arrays kept in a cache folder come back; whatever is wrong with the folder or the file only costs time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from moldiff.evaluation import cache


def test_round_trip_and_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "a" / "b")
    assert cache.recall("x") is None
    cache.keep("x", {"numbers": np.arange(3), "text": np.array("t")})
    found = cache.recall("x")
    assert found is not None and found["numbers"].tolist() == [0, 1, 2] and str(found["text"]) == "t"
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["x.npz"], "nothing temporary is left"
    cache.keep("x", {"numbers": np.arange(2)})
    assert (cache.recall("x") or {}).keys() == {"numbers"}


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_a_broken_file_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    (tmp_path / "x.npz").write_bytes(content)
    assert cache.recall("x") is None


def test_objects_are_never_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    np.savez(tmp_path / "x.npz", things=np.array([{}], dtype=object))
    assert cache.recall("x") is None


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path / "file" / "cache")
    cache.keep("x", {"numbers": np.arange(3)})
    assert cache.recall("x") is None
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    (tmp_path / "y.npz").mkdir()
    cache.keep("y", {"numbers": np.arange(3)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "y.npz"]
