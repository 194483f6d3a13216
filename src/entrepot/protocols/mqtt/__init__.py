"""MQTT 3.1, 3.1.1 and 5: sans-IO codec and sessions, and the entries of what is published. docs/decisions/mqtt.md says what they stand on."""
