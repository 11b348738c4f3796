"""Mappings: how signed weights become conductances."""
