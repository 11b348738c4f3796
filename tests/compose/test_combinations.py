"""Any two effects, any effect on any mapping and device: simulated, or refused by name with a way out that works."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from memristor_plugins import registry
from memristor_plugins.api import ModulatedConv2d, SimulationError, Stack, analogize, calibrate, compose_stack, program
from memristor_plugins.devices.ideal import Ideal
from memristor_plugins.interfaces.nonideality import Context, NonIdeality, Site
from memristor_plugins.kernels.heterosynaptic import Heterosynaptic
from memristor_plugins.kernels.static import Static
from memristor_plugins.mappings.differential import Differential

EFFECTS = registry.names("nonideality")
ARRAYS = ["mapping.rows=8", "mapping.columns=8"]
MAPPINGS = {
    "one-sided": [],
    "two-sided": ["mapping.sides=two"],
    "digital": ["mapping.subtract=digital"],
    "offset": ["mapping=offset"],
    "unit column": ["mapping=offset", "mapping.reference=column"],
    "sliced": ["mapping=bit_sliced"],
    "sliced offset": ["mapping=bit_sliced", "mapping.base=offset"],
}
DEVICES = [name for name in registry.names("device") if name != "adaptive_2d"]
# Effects that devices' own statistics may contain, or that some devices cannot have.
OF_DEVICES = [
    "d2d",
    "write_verify",
    "retention",
    "relaxation",
    "drift",
    "flicker",
    "rtn",
    "gate",
    "read_noise",
    "levels",
]


def simulate(device: str, effects: list[str], *overrides: str) -> None:
    """Calibrate, train one batch, and evaluate one on a chip."""
    torch.manual_seed(0)
    settings = ["nonidealities.sneak.rows_per_read=3"] if "sneak" in effects else []
    stack = compose_stack([f"device={device}", f"nonideality=[{','.join(effects)}]", *ARRAYS, *settings, *overrides])
    gated = stack.device.gated
    module = ModulatedConv2d(Heterosynaptic(banks=2), 2, 3, 3) if gated else nn.Conv2d(2, 3, 3)
    network, x = analogize(module, stack), torch.rand(2, 2, 4, 4)
    calibrate(network, [x])
    y = network.train()(x)
    y.square().sum().backward()
    assert y.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    network.eval()
    program(network, 1, 100.0)
    assert network(x).isfinite().all()


def check(device: str, effects: list[str], *overrides: str, names: set[str]) -> None:
    """It runs; or it is refused with two of `names` in one line, and what the line proposes runs."""
    try:
        simulate(device, effects, *overrides)
        return
    except SimulationError as error:
        message = str(error)
    assert "\n" not in message
    assert len([name for name in names if name.lower() in message.lower()]) >= 2, message
    added = re.search(r"add dac: nonideality=\[(.*)\]", message)
    out = re.findall(r"take '(\w+)' out", message)
    kept = re.search(r"keep '(\w+)' or '(\w+)'", message)
    if added:
        check(device, added[1].split(","), *overrides, names=names)
    elif kept:
        simulate(device, [e for e in effects if e != kept[1]], "device=generic")
        check(device, [e for e in effects if e != kept[2]], *overrides, names=names)
    elif "mapping.reference=digital" in message:
        simulate(device, effects, *overrides, "mapping.reference=digital")
    elif "nonidealities.levels.n" in message:
        simulate(device, effects, *overrides, "nonidealities.levels.n=32")
    else:
        assert out, message
        check(device, [e for e in effects if e not in out], *overrides, names=names)


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations(EFFECTS, 2)))
def test_two_effects(one: str, other: str) -> None:
    check("adaptive_2d", [one, other], names={one, other, "dac", "Adaptive2D", "d2d"})


@pytest.mark.parametrize("effect", EFFECTS)
@pytest.mark.parametrize("mapping", MAPPINGS)
def test_an_effect_on_a_mapping(mapping: str, effect: str) -> None:
    check("adaptive_2d", [effect], *MAPPINGS[mapping], names={effect, "dac", "Adaptive2D", "adc", "Offset", "mapping"})


@pytest.mark.parametrize("effect", OF_DEVICES)
@pytest.mark.parametrize("device", DEVICES)
def test_an_effect_on_a_device(device: str, effect: str, tmp_path: Path) -> None:
    overrides = []
    if device == "table":
        (tmp_path / "reads.csv").write_text("target_us,mean_us,std_us\n1,1.0,0.1\n20,19.5,0.4\n")
        overrides = [f"device.file={tmp_path / 'reads.csv'}"]
    own = type(compose_stack([f"device={device}", *overrides]).device).__name__
    # With the effect that switches the device's own statistics on.
    switch = {"d2d": ["programming"], "retention": ["drift"], "relaxation": ["drift"]}.get(effect, [])
    switch += ["read_noise"] if effect in ("flicker", "rtn") else []
    check(device, [effect, *switch], *overrides, names={effect, *switch, own, "device"})


# --- settings without effect: one warning ----------------------------------------------------------------------------

IDLE = {
    "a gate without gains": (["nonideality=[gate,gate_noise]"], r"nonideality=\[gate,gate_noise\] has no effect"),
    "all word lines at once": (
        ["nonideality=[sneak,dac]", "mapping.rows=32"],
        "nonideality=sneak has no effect with mapping.rows=32",
    ),
    "heat without ageing": (
        ["nonideality=[temperature]", "nonidealities.temperature.kelvin=350", "nonidealities.temperature.e_ageing=1"],
        r"nonidealities\.temperature\.e_ageing has no effect without ageing",
    ),
    "another law's constant": (
        ["nonideality=[iv,dac]", "nonidealities.iv.model=polynomial", "nonidealities.iv.v0=0.1"],
        r"nonidealities\.iv\.v0 has no effect with nonidealities\.iv\.model=polynomial",
    ),
    "a reference that is not used": (
        ["nonideality=[d2d]", "nonidealities.d2d.g_ref=1e-6"],
        r"nonidealities\.d2d\.g_ref has no effect but with distribution=lognormal",
    ),
    "a range that is not fixed": (
        ["nonideality=[adc]", "nonidealities.adc.high=1"],
        r"nonidealities\.adc\.high has no effect",
    ),
    "a base without it": (["mapping=bit_sliced", "mapping.reference=column"], "mapping.reference=column has no effect"),
}


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_without_effect_is_told_once(name: str) -> None:
    overrides, message = IDLE[name]
    network = nn.Sequential(ModulatedConv2d(Static(), 2, 3, 3), nn.Flatten(), nn.Linear(12, 2))

    def run() -> None:
        analog = analogize(network, compose_stack(["device=adaptive_2d", *overrides]))
        calibrate(analog, [torch.rand(2, 2, 4, 4)])
        program(analog, 0, 10.0)
        analog.eval()(torch.rand(2, 2, 4, 4))

    with pytest.warns(UserWarning, match=message) as told:
        run()
    assert len(told) == 1, [str(w.message) for w in told]


def test_a_single_gate_line_has_no_neighbours() -> None:
    stack = compose_stack(["device=adaptive_2d", "nonideality=[gate_crosstalk]"])
    with pytest.warns(UserWarning, match=r"nonideality=gate_crosstalk has no effect with kernel\.banks=1"):
        analogize(ModulatedConv2d(Heterosynaptic(banks=1), 2, 3, 3), stack)


# --- values that no cell can hold ------------------------------------------------------------------------------------


class Broken(NonIdeality):
    """One cell of each layer ages to a value that is none."""

    site = Site.DEFECT

    def __init__(self, value: float) -> None:
        self.value = value

    def apply(self, x: Tensor, state: None, context: Context) -> Tensor:
        x = x.clone()
        x[..., 9, 2] = self.value
        return x


@pytest.mark.parametrize(("value", "told"), [(-1e-6, "-1e-06"), (float("nan"), "nan")])
def test_a_conductance_that_is_none_names_layer_and_array(value: float, told: str) -> None:
    stack = Stack(Ideal(), Differential(rows=8, columns=4), {"broken": Broken(value)})
    network = analogize(nn.Sequential(nn.Linear(12, 5)), stack)
    pattern = rf"layer '0', chip 3: conductance {told} S at .* array \[1, 1\] of its bank and group"
    with pytest.raises(SimulationError, match=pattern):
        program(network, 3)
