"""Decisions about streams: architectures, deployments, data sources, inference."""
