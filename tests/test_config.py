from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moldiff.config import (
    PRESETS,
    CategoricalConfig,
    DiffusionConfig,
    GaussianConfig,
    ModelConfig,
    NetworkConfig,
    PropertyConfig,
    SamplerConfig,
    TrainConfig,
    from_dict,
    to_dict,
)


def model() -> ModelConfig:
    return ModelConfig(
        data="qm9",
        network=PRESETS["m"],
        diffusion=DiffusionConfig(bonds=CategoricalConfig(0.1, 0.8), positions=GaussianConfig(largest=60.0)),
        sampler=SamplerConfig(steps=20, remask=5.0),
        alphabets={"elements": ("H", "C"), "charges": ("0",), "bonds": ("none", "single")},
        sizes={"18": 100, "3": 1},
        properties=(PropertyConfig("gap", "eV", 5.0, 1.0, 2.0, 9.0), PropertyConfig("mu", "D", 2.0, 1.0, 0.0, 9.0)),
        facts={"hours": "2.5"},
    )


def through_json(config: Any) -> Any:
    plain = json.loads(json.dumps(to_dict(config)))
    assert plain == to_dict(config)
    return from_dict(type(config), plain)


def test_models_survive_json() -> None:
    config = model()
    again = through_json(config)
    assert again == config
    assert isinstance(again.properties, tuple) and isinstance(again.properties[0], PropertyConfig)
    assert isinstance(again.alphabets["elements"], tuple) and isinstance(again.network, NetworkConfig)


@pytest.mark.parametrize(
    "config",
    [*PRESETS.values(), SamplerConfig(), DiffusionConfig(), TrainConfig(minutes=2.0), TrainConfig(steps=10, batch=8)],
    ids=str,
)
def test_every_configuration_survives_json(config: Any) -> None:
    assert through_json(config) == config


@given(st.floats(0, 10, allow_nan=False), st.integers(1, 500), st.floats(0.01, 5))
def test_any_sampler_survives_json(churn: float, steps: int, temperature: float) -> None:
    config = SamplerConfig(steps=steps, churn=churn, temperature=temperature)
    assert through_json(config) == config


def test_whole_numbers_may_stand_for_floats() -> None:
    config = from_dict(SamplerConfig, {"churn": 0, "steps": 5})
    assert config.churn == 0.0 and isinstance(config.churn, float) and config.density == SamplerConfig().density


def test_unknown_keys_are_named_at_every_depth() -> None:
    with pytest.raises(ValueError, match=r"SamplerConfig has no settings \['colour', 'stepz'\]: it has steps, density"):
        from_dict(SamplerConfig, {"stepz": 5, "colour": "red", "steps": 3})
    values = to_dict(model())
    values["diffusion"]["bonds"]["middle"] = 0.5
    with pytest.raises(ValueError, match=r"CategoricalConfig has no settings \['middle'\]"):
        from_dict(ModelConfig, values)
    values = to_dict(model())
    values["properties"][1]["colour"] = "red"
    with pytest.raises(ValueError, match=r"PropertyConfig has no settings \['colour'\]"):
        from_dict(ModelConfig, values)


def test_missing_keys_are_named() -> None:
    values = to_dict(model())
    del values["alphabets"], values["data"]
    with pytest.raises(ValueError, match=r"ModelConfig lacks \['data', 'alphabets'\]"):
        from_dict(ModelConfig, values)
    with pytest.raises(ValueError, match=r"PropertyConfig lacks \['low', 'high'\]"):
        from_dict(PropertyConfig, {"name": "gap", "unit": "eV", "mean": 1.0, "deviation": 1.0})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("sampler", "steps"), "ten", "SamplerConfig.steps must be int, not 'ten'"),
        (("sampler", "steps"), 2.5, r"SamplerConfig.steps must be int, not 2\.5"),
        (("sampler", "steps"), True, "SamplerConfig.steps must be int, not True"),
        (("sampler", "churn"), None, "SamplerConfig.churn must be float, not None"),
        (("sampler",), 3, "ModelConfig.sampler must be a mapping of settings, not 3"),
        (("data",), 7, "ModelConfig.data must be str, not 7"),
        (("alphabets", "elements"), "HC", "ModelConfig.alphabets.elements must be a list, not 'HC'"),
        (("alphabets", "elements"), ["H", 6], r"ModelConfig.alphabets.elements\[1\] must be str, not 6"),
        (("sizes",), [1, 2], r"ModelConfig.sizes must be a mapping, not \[1, 2\]"),
        (("sizes", "18"), "many", "ModelConfig.sizes.18 must be int, not 'many'"),
        (("properties",), 1, "ModelConfig.properties must be a list, not 1"),
        (("diffusion", "weights", "bonds"), "x", "DiffusionConfig.weights.bonds must be float, not 'x'"),
    ],
)
def test_values_of_another_type_are_named(path: tuple[str, ...], value: Any, message: str) -> None:
    values = to_dict(model())
    place = values
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError, match=message):
        from_dict(ModelConfig, values)


def test_bad_settings_are_refused_with_the_remedy() -> None:
    for changes, message in (
        ({"steps": 0}, "steps must be at least 1, not 0: 50 is the default"),
        ({"temperature": 0.0}, r"temperature must be above 0, not 0\.0"),
        ({"bond_shares": (0.9, 0.0)}, r"bond_shares must be above 0, not \(0\.9, 0\.0\)"),
        ({"cooled": 1.1}, r"cooled must be above 0 and at most 1, not 1\.1"),
        ({"churn": -0.1}, "must not be negative"),
        ({"remask": -1.0}, "must not be negative"),
        ({"confidence": -1.0}, "must not be negative"),
    ):
        with pytest.raises(ValueError, match=message):
            SamplerConfig(**changes)
        with pytest.raises(ValueError, match=message):
            from_dict(SamplerConfig, changes)
    for changes, message in (
        ({}, "give either minutes or steps"),
        ({"minutes": 1.0, "steps": 1}, "give either minutes or steps"),
        ({"minutes": -1.0}, "must be positive"),
        ({"steps": 5, "batch": -1}, "must be positive"),
        ({"steps": 5, "size": "xl"}, "size must be one of s, m, not 'xl'"),
        ({"steps": 5, "precision": "fp8"}, "precision must be one of bf16, fp32"),
        ({"steps": 5, "compile": "yes"}, "compile must be one of auto, on, off"),
    ):
        with pytest.raises(ValueError, match=message):
            TrainConfig(**changes)


def test_configurations_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        SamplerConfig().steps = 3  # type: ignore[misc]


def test_fewer_steps_are_colder_churn_less_and_redraw_less() -> None:
    config = SamplerConfig(steps=50, churn=0.4, temperature=0.65, remask=25.0, redraw=2)
    assert config.in_steps(50) == config
    assert config.in_steps(100) == dataclasses.replace(config, steps=100)
    fewer = config.in_steps(20)
    assert fewer.steps == 20 and fewer.churn == pytest.approx(0.16) and fewer.remask == 25.0
    assert fewer.temperature == pytest.approx(0.65 * 0.4**0.4)
    assert fewer.cooled == pytest.approx(0.4**0.4)
    assert [config.in_steps(count).redraw for count in (5, 20, 30, 40)] == [1, 1, 1, 2]
    assert dataclasses.replace(config, redraw=0).in_steps(20).redraw == 0
