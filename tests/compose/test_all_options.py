"""Every YAML composes and builds; any kernel, device and effects train one batch."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import pytest
import torch

import memristor_plugins
from memristor_plugins import registry
from memristor_plugins.build import build, build_stack
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.convert import analog_layers, analogize, calibrate, set_mode

CONF = Path(memristor_plugins.__file__).parent.parent / "conf"
OPTIONS = [(p.parent.name, p.stem) for p in sorted(CONF.glob("*/*.yaml"))]
OPTIONS += [(p.group, p.name) for p in registry.plugins()]
EFFECTS = registry.names("nonideality")
OTHERS = [name for name in registry.names("kernel") if name != "heterosynaptic"]
SMALL = ["mapping.rows=16", "mapping.columns=16"]  # arrays that are solved at once
NEED_A_DAC = {"iv", "sneak"}


@pytest.mark.parametrize(("group", "name"), OPTIONS, ids=[f"{g}={n}" for g, n in OPTIONS])
def test_every_option_composes_and_builds(group: str, name: str, tmp_path: Path) -> None:
    chosen = [f"{group}=[{name}]" if group in ("nonideality", "energy") else f"{group}={name}"]
    if name in NEED_A_DAC:
        chosen = [f"nonideality=[{name},dac]"]
    if name == "write_verify":
        chosen.append("device=generic")  # the default device verifies its writes itself
    if name == "table":
        table = tmp_path / "reads.csv"
        table.write_text("target_us,mean_us,std_us\n1,1.0,0.1\n20,19.5,0.4\n")
        chosen.append(f"device.file={table}")
    config = compose("train", chosen)
    build_stack(config)
    kernel = build(config.kernel, "kernel", "kernel")
    assert build(config.model, "model", kernel=kernel, input_shape=(3, 8, 8), num_classes=10) is not None
    for path in ("recipe", "hardware", "data"):
        assert build(config[path], path) is not None
    for estimator, node in config.energies.items():
        assert build(node, f"energies.{estimator}", "energy") is not None


# What cannot act together, each refused by name: tested with the stack.
APART = {"write_verify": {"programming", "d2d"}}
ON_DEVICE = {
    "ideal": {"gate": set(), "gate_noise": set(), "gate_crosstalk": set()},
    "adaptive_2d": {"write_verify": set(), "d2d": {"programming"}, "retention": {"drift"}},
}


def possible(device: str, effects: tuple[str, ...]) -> tuple[str, ...]:
    """The effects without those that this device, or another of them, excludes, and with what they need."""
    kept = list(effects)
    for name, others in [*APART.items(), *ON_DEVICE[device].items()]:
        if name in kept and (not others or others & set(kept)):
            kept.remove(name)
    if NEED_A_DAC & set(kept) and "dac" not in kept:
        kept.append("dac")
    return tuple(kept)


def subsets() -> list[tuple[str, ...]]:
    """None, each alone, all, and six drawn with a fixed seed."""
    every = [s for n in range(2, len(EFFECTS)) for s in itertools.combinations(EFFECTS, n)]
    return [(), *((e,) for e in EFFECTS), tuple(EFFECTS), *random.Random(0).sample(every, 6)]


def combinations() -> list[tuple[str, str, tuple[str, ...]]]:
    """Every subset under the gate's own kernel on both devices; under the other kernels none, all and one more."""
    every = subsets()
    found = [("heterosynaptic", device, effects) for device in ON_DEVICE for effects in every]
    few = [every[0], *every[1 + len(EFFECTS) :][:2]]
    return found + list(itertools.product(OTHERS, ON_DEVICE, few))


@pytest.mark.filterwarnings("ignore:nonideality=.*gate.* has no effect")
@pytest.mark.parametrize(
    ("kernel", "device", "effects"), combinations(), ids=lambda v: v if isinstance(v, str) else "+".join(v)
)
def test_any_combination_trains_one_batch(kernel: str, device: str, effects: tuple[str, ...]) -> None:
    effects = possible(device, effects)
    arrays = ["nonidealities.sneak.rows_per_read=8"] if "sneak" in effects else []
    train_one_batch([f"kernel={kernel}", f"device={device}", f"nonideality=[{','.join(effects)}]", *arrays])


@pytest.mark.parametrize("device", registry.names("device"))
def test_every_device_trains_one_batch_in_the_dynamic_vgg(device: str, tmp_path: Path) -> None:
    """On its own statistics, where it has any; banks without a gate are weighted digitally."""
    chosen = [f"device={device}", "kernel=heterosynaptic", "nonideality=[programming,read_noise,dac,adc]"]
    if device == "table":
        table = tmp_path / "reads.csv"
        table.write_text("target_us,mean_us,std_us,read_std_us\n1,1.0,0.1,0.05\n20,19.5,0.4,0.2\n")
        chosen.append(f"device.file={table}")
    train_one_batch(chosen)


def train_one_batch(chosen: list[str]) -> None:
    config = compose("train", [*SMALL, *chosen])
    strategy = build(config.kernel, "kernel", "kernel")
    torch.manual_seed(0)
    overrides = {**config.model, "width": 0.03}
    network = build(overrides, "model", kernel=strategy, input_shape=(1, 8, 8), num_classes=10)
    analog = analogize(network, build_stack(config))
    x = torch.rand(8, 1, 8, 8)
    set_mode(analog, "digital")
    for module in analog.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.5  # variances of pooled noise are far below the ones that they start from
    for _ in range(30):  # untrained running statistics would calibrate converters that saturate everywhere
        analog.train()(x)
    calibrate(analog, [x])
    set_mode(analog, "analog")
    loss = torch.nn.functional.cross_entropy(analog.train()(x), torch.arange(8))
    loss.backward()
    assert loss.isfinite()
    assert len(analog_layers(analog)) == 7
    gradients = {n: p.grad for n, p in analog.named_parameters()}
    assert all(g is not None and g.isfinite().all() for g in gradients.values())
    assert all(float(g.abs().max()) > 0 for n, g in gradients.items() if n.endswith("kernel.weight"))
