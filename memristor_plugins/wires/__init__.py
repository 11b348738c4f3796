"""Crossbar arrays whose wires have resistance: ohmic cells exactly and approximately, and cells of any current law."""

from memristor_plugins.wires.approximate import effective_conductance_fast as effective_conductance_fast
from memristor_plugins.wires.exact import effective_conductance as effective_conductance
from memristor_plugins.wires.newton import Solved as Solved
from memristor_plugins.wires.newton import solve_nonlinear as solve_nonlinear
from memristor_plugins.wires.sources import source_admittance as source_admittance
