"""The benchmark board: `make bench` measures the hub on real RabbitMQ and PostgreSQL, figure by figure."""
