"""The shared harness: configuration, run directories, training, calibration, metrics, evaluation."""
