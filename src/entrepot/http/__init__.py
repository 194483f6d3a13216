"""Health and metrics over HTTP. Asks the broker for figures; decides nothing."""
