"""Entrepot: one durable messaging broker, spoken to by the clients of many.

The layers, top to bottom: cli, server; protocols, http; broker; store; model. Imports point down.
"""

__version__ = "0.1.0"
