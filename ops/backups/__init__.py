"""Backups of a hub: made while it runs (making.py), proved without it (checking.py), put back (restoring.py)."""
