"""Physical constants, CODATA 2018."""

BOLTZMANN_EV = 8.617333262e-5  # eV/K
