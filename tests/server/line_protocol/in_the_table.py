"""The line in the table. As a pytest plugin, named before Entrepot's own, it puts it there for a run."""

from __future__ import annotations

from entrepot import protocol_table

protocol_table.PACKAGES = (*protocol_table.PACKAGES, "line_protocol")
