"""Digital logic and memory from one technology node to another."""

from __future__ import annotations

from types import MappingProxyType

from memristor_plugins.errors import ConfigError

STILLMAKER = "Stillmaker and Baas, Integration 58, 74 (2017), 10.1016/j.vlsi.2017.02.002"

# Node in nm: area over that at 130 nm, then the polynomial of energy in the supply voltage (V^2, V, 1; high-performance
# transistors), both of the source, and the nominal supply of the transistor models that it uses (PTM).
_NODES = MappingProxyType(
    {
        130: (1.0, (7.171, -6.709, 2.904), 1.3),
        90: (0.44, (4.762, -4.781, 2.092), 1.2),
        65: (0.23, (3.755, -4.398, 1.975), 1.1),
        45: (0.16, (1.018, -0.3107, 0.1539), 1.0),
        32: (0.072, (0.8367, -0.4341, 0.1701), 0.9),
        20: (0.033, (0.373, -0.1582, 0.04104), 0.9),
        16: (0.030, (0.2958, -0.1241, 0.03024), 0.85),
        14: (0.027, (0.2363, -0.09675, 0.02239), 0.8),
        10: (0.016, (0.2068, -0.09311, 0.02375), 0.75),
        7: (0.0092, (0.1776, -0.09097, 0.02447), 0.7),
    }
)
NODES = tuple(_NODES)


def energy_factor(source: int, target: int) -> float:
    """Energy of an operation at `target` nm over that at `source` nm, each at its nominal supply.

    E(n) = a V_n^2 + b V_n + c with the fitted coefficients of the source. Of switched logic; memory is taken to follow;
    converters, drivers and links do not. Times are never scaled.
    """
    return _energy(target) / _energy(source)


def area_factor(source: int, target: int) -> float:
    """Area at `target` nm over that at `source` nm; the source states two digits."""
    return _NODES[target][0] / _NODES[source][0]


def check_node(option: str, node: int) -> None:
    """Refuse a node that the source does not have."""
    if node not in _NODES:
        nearest = min(NODES, key=lambda n: abs(n - node))
        raise ConfigError(option, f"no scaling for {node} nm; the nearest valid value is {nearest}")


def _energy(node: int) -> float:
    _, (a, b, c), volts = _NODES[node]
    return a * volts**2 + b * volts + c
