"""The operator's command line, by subject."""
