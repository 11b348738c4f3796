"""`stack=headline`: every number of it, and what its two variants change."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from memristor_plugins.build import build_stack
from memristor_plugins.compose import compose

# Every error strength; all else is the same in the three.
STRENGTHS = {
    "device.programming_std": 0.02,
    "device.d2d_range": 0.1,
    "device.d2d_beta": 0.05,
    "device.read_noise_on": 0.01,
    "device.read_noise_off": 0.05,
    "nonidealities.drift.strength": 1.0,
    "nonidealities.stuck_at.p_on": 0.0005,
    "nonidealities.stuck_at.p_off": 0.0005,
    "nonidealities.ir_drop.r_word": 1.0,
    "nonidealities.ir_drop.r_bit": 1.0,
    "nonidealities.ir_drop.r_source": 100.0,
    "nonidealities.ir_drop.r_sink": 100.0,
    "nonidealities.gate_noise.std": 0.005,
}
FIXED = {
    "device.g_min": 0.1e-6,
    "device.g_max": 20e-6,
    "device.retention_tau": 1e7,
    "device.retention_sigma": 0.5,
    "device.gate_limit": 2.0,
    "device.read_voltage": 0.1,
    "device.read_time": 10e-9,
    "mapping.rows": 128,
    "mapping.columns": 128,
    "mapping.subtract": "analog",
    "nonidealities.levels.n": 32,
    "nonidealities.dac.bits": 8,
    "nonidealities.adc.bits": 8,
    "nonidealities.gate.bits": 6,
}
PARTS = ("device", "mapping", "nonidealities")


def flat(stack: str) -> dict[str, Any]:
    config: Any = OmegaConf.to_container(compose("train", [f"stack={stack}"]), resolve=True)
    found: dict[str, Any] = {}

    def walk(path: str, node: Any) -> None:
        for key, value in node.items():
            walk(f"{path}.{key}", value) if isinstance(value, dict) else found.update({f"{path}.{key}": value})

    for part in PARTS:
        walk(part, config[part])
    return found


def test_the_numbers_are_those_of_the_headline_stack() -> None:
    found = flat("headline")
    for name, value in (STRENGTHS | FIXED).items():
        assert found[name] == pytest.approx(value, rel=1e-12) if isinstance(value, float) else found[name] == value, (
            name
        )
    assert found["device._target_"].endswith("adaptive_2d.Adaptive2D")
    assert found["mapping._target_"].endswith("differential.Differential")
    for converter in ("dac", "adc"):  # calibrated once and frozen: neither given, nor following the signals
        assert found[f"nonidealities.{converter}.range"] == "percentile"
    stack = build_stack(compose("train", ["stack=headline"]))
    assert stack.device.read_correlation == "multiply"
    assert stack.device.gate_range == (-2.0, 2.0)
    assert stack.context(3600.0).temperature == 300.0
    names = "programming levels read_noise drift stuck_at ir_drop gate gate_noise dac adc"
    assert set(build_stack(compose("train", ["stack=headline"])).nonidealities) == set(names.split())


@pytest.mark.parametrize(("stack", "factor"), [("headline_optimistic", 0.5), ("headline_pessimistic", 2.0)])
def test_a_variant_scales_every_error_and_nothing_else(stack: str, factor: float) -> None:
    base, variant = flat("headline"), flat(stack)
    assert base.keys() == variant.keys()
    for name, value in base.items():
        if name in STRENGTHS:
            assert variant[name] == pytest.approx(factor * value, rel=1e-12), name
        else:
            assert variant[name] == value, name
