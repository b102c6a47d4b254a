"""A caption of the README tells of which weights a result is, where the package has others."""

from __future__ import annotations

import readme


def test_a_caption_names_weights_that_are_not_shipped() -> None:
    ours = readme.shipped("qm9")
    assert int(ours["passes"]) > 0
    for content in ({"model": {"name": "qm9", "facts": ours}}, {"facts": ours}, {}):
        assert readme.told(content, "Speed, a CPU:") == "Speed, a CPU:"
    older = ours | {"passes": "1000"}
    for content in ({"model": {"name": "qm9", "facts": older}}, {"facts": older}):
        assert readme.told(content, "Speed, a CPU:") == "Speed, a CPU (weights after 1,000 passes):"
