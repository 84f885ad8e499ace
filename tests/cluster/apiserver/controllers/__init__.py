"""What runs beside the API server in a cluster: controllers, scheduler, garbage collection. One thread for all."""
