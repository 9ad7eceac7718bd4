"""Datasets: the simulated world, building one from run logs, reading and checking one."""
