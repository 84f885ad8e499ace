"""What workloads run on."""
