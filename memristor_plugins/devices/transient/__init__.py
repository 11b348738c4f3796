"""Transient models: memristors as differential equations, and the integrator that runs them."""

from memristor_plugins.devices.transient.adaptive_2d import Adaptive2DTransient
from memristor_plugins.devices.transient.data_driven import DataDriven
from memristor_plugins.devices.transient.integrator import Trajectory, simulate
from memristor_plugins.devices.transient.linear_ion_drift import LinearIonDrift
from memristor_plugins.devices.transient.stanford_pku import StanfordPKU
from memristor_plugins.devices.transient.vteam import VTEAM
from memristor_plugins.devices.transient.waveform import Waveform, hold, pulses, ramp, sine, table, triangle
from memristor_plugins.devices.transient.yakopcic import Yakopcic
from memristor_plugins.interfaces.transient import TransientModel

# By the name of the device.
MODELS: dict[str, type[TransientModel]] = {
    "adaptive_2d": Adaptive2DTransient,
    "data_driven": DataDriven,
    "linear_ion_drift": LinearIonDrift,
    "stanford_pku": StanfordPKU,
    "vteam": VTEAM,
    "yakopcic": Yakopcic,
}

__all__ = [
    "MODELS",
    "VTEAM",
    "Adaptive2DTransient",
    "DataDriven",
    "LinearIonDrift",
    "StanfordPKU",
    "Trajectory",
    "Waveform",
    "Yakopcic",
    "hold",
    "pulses",
    "ramp",
    "simulate",
    "sine",
    "table",
    "triangle",
]
