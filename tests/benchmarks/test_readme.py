"""A caption of the README tells of which weights a result is, where the package has others."""

from __future__ import annotations

import readme


def test_a_caption_names_weights_that_are_not_shipped() -> None:
    ours = readme.shipped("qm9")
    assert int(ours["passes"]) > 0
    for content in ({"model": {"name": "qm9", "facts": ours}}, {"facts": ours}, {}):
        assert readme.told(content, "Speed, a CPU:") == "Speed, a CPU:"
    older = {"passes": "1000", "hours": "0.1"}
    for content in ({"model": {"name": "qm9", "facts": older}}, {"facts": older}):
        assert readme.told(content, "Speed, a CPU:") == "Speed, a CPU (weights after 1,000 passes):"
    mean = {"facts": older | {"mean": "0.5 and 0.5 of the weights after 900 and 1000 passes"}}
    assert readme.told(mean, "Speed, a CPU:") == "Speed, a CPU (weights after 1,000 passes, a mean):"
