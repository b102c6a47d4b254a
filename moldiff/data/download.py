"""Where prepared data lie, and fetching public files with a checksum."""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

__all__ = ["CRYSTAL_FILES", "cache_folder", "data_root", "fetch", "find_archive", "verify"]

CRYSTAL_FILES: dict[str, str] = {
    "mp20": "mp_20.npz",
    "mpts52": "mpts_52.npz",
    "perov5": "perov_5.npz",
    "carbon24": "carbon_24.npz",
}
"""Names of the sets of crystals, and their files in the folder ``crystals`` of the prepared data."""

_BLOCK = 1 << 20
_HASHES = {32: "md5", 64: "sha256"}


def data_root() -> Path:
    """The folder of prepared data: the environment variable ``MOLDIFF_DATA``, else a cache folder of the user."""
    named = os.environ.get("MOLDIFF_DATA", "").strip()
    return Path(named).expanduser() if named else cache_folder()


def find_archive(name: str | os.PathLike[str]) -> Path:
    """The archive of a data set, ``<root>/<name>/<name>.npz``; a path to an existing file is taken as it is.

    Sets of crystals lie together, under the names of `CRYSTAL_FILES`: ``mp20`` is ``<root>/crystals/mp_20.npz``.
    ``root`` is `data_root`, then the user's cache folder. Raises FileNotFoundError naming the places and what to do.
    """
    given = Path(name).expanduser()
    if given.is_file():
        return given
    text = os.fspath(name)
    if given.suffix or given.name != text:
        raise FileNotFoundError(f"there is no file {given}; check the path, or name a data set such as qm9")
    place = Path("crystals", CRYSTAL_FILES[text]) if text in CRYSTAL_FILES else Path(text, f"{text}.npz")
    places = list(dict.fromkeys(root / place for root in (data_root(), cache_folder())))
    for place in places:
        if place.is_file():
            return place
    raise FileNotFoundError(
        f"no archive of {text!r}; looked for {' and '.join(map(str, places))}. Prepare it with `moldiff data {text}`, "
        "or set MOLDIFF_DATA to the folder that holds it"
    )


def fetch(
    url: str, path: str | os.PathLike[str], *, checksum: str | None, progress: bool = True, timeout: float = 30.0
) -> Path:
    """Download a file unless it is there already with the right checksum; returns its path.

    ``checksum`` is a hexadecimal MD5 (32 digits) or SHA-256 (64 digits), None where none is published. An interrupted
    download goes on where it stopped, and the file appears under its name only when it is complete and verified.
    ``timeout`` in seconds is for a silent connection. Raises ValueError for a file with another checksum and
    ConnectionError if it cannot be downloaded; both say which file to put where.
    """
    path = Path(path)
    advice = f"download {url} by other means and put it at {path}"
    if checksum is not None:
        advice += f" ({_hash_name(checksum)} {checksum})"
    if path.is_file():
        if checksum is not None:
            verify(path, checksum=checksum)
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"cannot create the folder {path.parent}: {error.strerror}; choose another data folder"
        ) from error
    part = path.with_name(path.name + ".part")
    try:
        _download(url, part, progress=progress, timeout=timeout)
    except (urllib.error.URLError, OSError) as error:
        reason = getattr(error, "reason", None) or error
        raise ConnectionError(f"cannot download {url}: {reason}. Try again later to go on, or {advice}") from error
    try:
        if checksum is not None:
            verify(part, checksum=checksum)
    except ValueError as error:
        part.unlink()
        raise ValueError(f"{url} gave a file with another checksum than expected; try again, or {advice}") from error
    os.replace(part, path)
    return path


def verify(path: str | os.PathLike[str], *, checksum: str) -> None:
    """Raise ValueError if the MD5 or SHA-256 of a file is not ``checksum``."""
    kind = _hash_name(checksum)
    digest = hashlib.new(kind, usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    if digest.hexdigest() != checksum.lower():
        raise ValueError(
            f"{path} has the {kind} {digest.hexdigest()}, expected {checksum}: it is incomplete or another file; "
            "delete it and fetch it again"
        )


def _download(url: str, part: Path, *, progress: bool, timeout: float) -> None:
    from tqdm import tqdm

    have = part.stat().st_size if part.is_file() else 0
    request = urllib.request.Request(url, headers={"User-Agent": "moldiff"})
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        answer = urllib.request.urlopen(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        if error.code != 416:  # 416: nothing after what we have, so it is complete or too long; the checksum decides
            raise
        return
    with answer:
        if have and getattr(answer, "status", None) != 206:
            have = 0  # the server begins again
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with (
            open(part, "ab" if have else "wb") as stream,
            tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=not progress) as bar,
        ):
            while block := answer.read(_BLOCK):
                stream.write(block)
                bar.update(len(block))
    if total is not None and part.stat().st_size < total:
        raise ConnectionError(f"connection closed after {part.stat().st_size} of {total} bytes")


def _hash_name(checksum: str) -> str:
    if len(checksum) not in _HASHES:
        raise ValueError(f"checksum {checksum!r} is neither an MD5 (32 digits) nor a SHA-256 (64 digits)")
    return _HASHES[len(checksum)]


def cache_folder() -> Path:
    """The folder of this library in the user's cache."""
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = str(Path.home() / "Library" / "Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "moldiff"
