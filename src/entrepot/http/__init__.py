"""HTTP: health, readiness and metrics on the broker's own loop. Protocols that come over HTTP have their own rooms."""
