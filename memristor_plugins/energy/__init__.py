"""Energy estimators: what an inference costs, from the measured workload. None imports torch."""
