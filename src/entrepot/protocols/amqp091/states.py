"""The states of an AMQP 0-9-1 connection, in order."""

HEADER = 0  # waiting for the protocol header
STARTED = 1  # connection.start sent
SECURING = 2  # credentials are being checked
TUNING = 3  # connection.tune sent
TUNED = 4  # waiting for connection.open
OPEN = 5
CLOSING = 6  # connection.close sent: only its answer matters
CLOSED = 7  # nothing is read any more; the client that began to close may still end the stream itself
