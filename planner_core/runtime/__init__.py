"""The torch-free runtime: a bundle, a session, a decision."""
