from __future__ import annotations

from pathlib import Path

import pytest

import moldiff
from moldiff.shipped import FOLDER, REFERENCE, WEIGHTS, find_reference, find_weights, names


def test_the_package_holds_its_weights() -> None:
    assert names() == ["mp20", "qm9"]
    for name in names():
        assert find_weights(name) == FOLDER / name / WEIGHTS
        assert (FOLDER / name / REFERENCE).is_file()


def test_weights_are_found_in_a_run_folder_and_by_their_own_name(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).touch()
    assert find_weights(tmp_path) == find_weights(tmp_path / WEIGHTS) == tmp_path / WEIGHTS


def test_a_reference_is_found_beside_weights(tmp_path: Path) -> None:
    assert find_reference(find_weights("qm9")) == FOLDER / "qm9" / REFERENCE
    assert find_reference(tmp_path / WEIGHTS) is None
    (tmp_path / REFERENCE).touch()
    assert find_reference(tmp_path / WEIGHTS) == tmp_path / REFERENCE
    assert find_reference(None) is None


def test_a_shipped_name_counts_before_a_folder_of_the_same_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "qm9").mkdir()
    (tmp_path / "qm9" / WEIGHTS).touch()
    assert find_weights("qm9") == FOLDER / "qm9" / WEIGHTS
    assert find_weights("./qm9").resolve() == tmp_path / "qm9" / WEIGHTS


def test_unknown_weights_are_named_with_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no weights called 'qm10': name a run folder, .* \(mp20, qm9\)"):
        moldiff.load("qm10")
    with pytest.raises(ValueError, match="no weights called"):
        find_weights(tmp_path)
