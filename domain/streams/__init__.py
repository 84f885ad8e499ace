"""Pure logic of streams: what is read off Kafka's control topics and models, and what follows from it."""
