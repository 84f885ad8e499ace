"""The paths of Kafka-ML's two back-ends, for its front end and its loggers as they are: off unless the operator turns
them on. Bodies, numbers and errors are as they know them; what was a defect is not here (docs/streams.md)."""
