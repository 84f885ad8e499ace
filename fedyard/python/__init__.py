"""Fedyard from Python: the client of programs and notebooks, and what it hands out."""
