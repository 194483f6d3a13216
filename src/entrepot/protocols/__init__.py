"""One package a protocol: codec, session, records, listener. No protocol imports another."""
