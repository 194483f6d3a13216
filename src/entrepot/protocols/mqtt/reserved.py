"""What names begin with that are MQTT's alone: of the queues of sessions, and, of shared subscriptions, of exchanges, too."""

SESSION_PREFIX = "mqtt."
SHARED_PREFIX = "mqtt.share."
