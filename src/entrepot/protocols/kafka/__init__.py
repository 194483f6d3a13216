"""Apache Kafka's protocol: https://kafka.apache.org/protocol

apis            the one table: which APIs, which versions, who answers them
framing         the receive buffer: bytes become requests
primitives      the wire's types, read and written; schema: whole messages by the tables of schemas_*.py
produce_codec, fetch_codec      the two hot messages
session         one connection; produce, fetch, groups, admin, metadata, sasl: who answers
"""
