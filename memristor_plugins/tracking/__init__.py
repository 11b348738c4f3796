"""Records of runs: local files and Weights & Biases."""
