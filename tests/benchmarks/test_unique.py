"""How many of a growing sample are distinct."""

from __future__ import annotations

import numpy as np
import pytest
import unique

from moldiff.data.demo import demo_archive
from moldiff.molecules.convert import Arrays, canonical_smiles
from moldiff.molecules.validity import check


def test_a_memoriser_repeats_itself_as_expected() -> None:
    assert unique.memoriser(98412, 1) == pytest.approx(1.0)
    assert unique.memoriser(100_000, 10_000) == pytest.approx(0.9516, abs=1e-4)  # the level that DESIGN names
    rng = np.random.default_rng(0)
    drawn = [len(np.unique(rng.integers(0, 50, 40))) / 40 for _ in range(4000)]
    assert unique.memoriser(50, 40) == pytest.approx(np.mean(drawn), abs=0.005)


def test_rates_of_a_sample_and_of_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unique, "SIZES", (2, 10))
    archive = demo_archive(3)
    verdicts = [check(Arrays(*archive.record(i)[:4])) for i in (0, 1, 2, 2)]
    known = frozenset([canonical_smiles(verdicts[0].mol)])
    found = unique.rates(verdicts, known)
    assert list(found) == ["2", "4"]
    assert found["2"]["vu"]["value"] == 1.0
    assert found["4"]["vu"]["value"] == 0.75
    assert found["4"]["vun"]["value"] == 0.5
    assert found["4"]["points_lost"] == pytest.approx(25.0)
