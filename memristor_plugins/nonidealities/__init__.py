"""Non-idealities: what array and periphery do to signals."""
