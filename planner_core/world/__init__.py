"""The simulated world: the embedded default dataset, whose optimum is known."""
