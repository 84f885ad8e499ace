"""Decisions: pure functions from a state, a command and a time to what shall be written. They read and wait for nothing."""
