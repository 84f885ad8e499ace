"""Commands of the streams: what control topics of Kafka bring, and what becomes of it. Form and units as in
domain/commands.py, which lists them with all others."""
