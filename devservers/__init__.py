"""Private servers: RabbitMQ and PostgreSQL from Debian's packages, SeaweedFS, Kafka, each in a folder of ours.

They touch nothing in /etc or /var, belong to this process (they stop when it ends, however it ends) and
run in sessions of their own, so that Ctrl-C in a terminal reaches only us. Start them from the main thread:
the kernel ties them to the thread that started them.
"""
