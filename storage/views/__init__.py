"""Reads for the web: what a subject may see, as the resources of docs/api.md, in a fixed small number of queries."""
