"""Decisions: pure functions from a state, a command and a time to what shall be written; they read nothing."""
