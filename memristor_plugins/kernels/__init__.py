"""Kernel strategies: how a kernel depends on its input."""
