"""The figures that a device paper shows, computed from any device's model: one figure a module.

Each figure is a function of a `Bench` and returns its data (`Shown`), or why the model does not have it (`Absent`).
"""

# In the order of a paper; `memristor characterize` lists them without importing any.
FIGURES = {
    "iv": "I-V hysteresis, at several gate voltages where there is a gate",
    "switching": "distributions of set and reset voltages",
    "pulses": "potentiation and depression against pulse number, and their nonlinearity",
    "levels": "what a write leaves against what was asked for",
    "retention": "conductance against time since programming",
    "read_noise": "deviation of a read against conductance",
    "endurance": "conductances against the number of writes",
    "gate": "gain against gate voltage, and its spread between cells",
}
