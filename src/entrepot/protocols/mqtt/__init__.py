"""MQTT 3.1, 3.1.1 and 5: codec, entries, topics, and what a session remembers. All of it sans-IO.

Not here yet: a session that asks the broker, and a listener. docs/decisions/mqtt.md says what they stand on.
"""
