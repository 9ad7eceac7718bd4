"""Importing the logs of other tools: what a source reads, who reads what, and writing what comes of it."""
