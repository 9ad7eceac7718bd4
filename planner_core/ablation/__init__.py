"""Ablations: one factor at a time, over seeds, with a summary."""
