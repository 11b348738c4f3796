"""The engine: arrays, tiles, converters, chips and the layers that run on them."""

from memristor_plugins.wires import effective_conductance as effective_conductance
from memristor_plugins.wires import solve_nonlinear as solve_nonlinear
