"""Fitting device models to measurements: files with units, least squares, intervals, presets."""
