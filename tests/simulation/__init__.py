"""The hub under one seed: production code in one thread, in a world that fails. See docs/simulation.md."""
