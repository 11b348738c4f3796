"""Cell models: what conductance a cell holds."""
