"""The public interface: all that a plugin or a script imports."""

from __future__ import annotations

from collections.abc import Sequence

from memristor_plugins.build import build_stack
from memristor_plugins.compose import compose
from memristor_plugins.crossbar.batchnorm import recalibrate_batchnorm
from memristor_plugins.crossbar.compensation import compensate
from memristor_plugins.crossbar.convert import analogize, calibrate, program, running, set_mode
from memristor_plugins.crossbar.layer import AnalogLayer
from memristor_plugins.crossbar.modulated import ModulatedConv2d
from memristor_plugins.crossbar.stack import Stack
from memristor_plugins.errors import ConfigError, MemristorError, PluginError, SimulationError
from memristor_plugins.interfaces.device import Cells, CellState, Device, standard_normal
from memristor_plugins.interfaces.energy import (
    CostEntry,
    CostReport,
    EnergyEstimator,
    LayerProfile,
    WorkloadProfile,
)
from memristor_plugins.interfaces.kernel import ConvSpec, Kernel, KernelStrategy, Modulation
from memristor_plugins.interfaces.mapping import Mapped, Mapping, Utilisation
from memristor_plugins.interfaces.nonideality import Context, Moment, NonIdeality, Site
from memristor_plugins.interfaces.parameter import Param
from memristor_plugins.versioning import PLUGIN_API

__all__ = [
    "PLUGIN_API",
    "AnalogLayer",
    "CellState",
    "Cells",
    "ConfigError",
    "Context",
    "ConvSpec",
    "CostEntry",
    "CostReport",
    "Device",
    "EnergyEstimator",
    "Kernel",
    "KernelStrategy",
    "LayerProfile",
    "Mapped",
    "Mapping",
    "MemristorError",
    "ModulatedConv2d",
    "Modulation",
    "Moment",
    "NonIdeality",
    "Param",
    "PluginError",
    "SimulationError",
    "Site",
    "Stack",
    "Utilisation",
    "WorkloadProfile",
    "analogize",
    "calibrate",
    "compensate",
    "compose_stack",
    "program",
    "recalibrate_batchnorm",
    "running",
    "set_mode",
    "standard_normal",
]


def compose_stack(overrides: Sequence[str] = ()) -> Stack:
    """A device stack from command-line overrides: `compose_stack(["device=adaptive_2d", "nonideality=[dac,adc]"])`.

    Args:
        overrides: as after `memristor train`; what they leave out is `device=ideal`, no non-ideality and
            `mapping=differential`.

    Returns:
        The stack, with `.device`, `.mapping` and `.nonidealities` (by name).

    Raises:
        ConfigError, PluginError: an option that does not fit, as on the command line.
    """
    return build_stack(compose("stack_only", overrides))
