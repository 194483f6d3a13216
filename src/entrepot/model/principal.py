"""Principal: who a connection is, for authorize()."""

from __future__ import annotations

from dataclasses import dataclass, field

TAG_ADMINISTRATOR = "administrator"
TAG_INTERNAL = "internal"

GUEST = "guest"
"""The user that a new data directory has, and to whom belongs what was made before makers were kept."""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who does something. Equal and hashable by value: what caches are keyed by.

    `name` is the user's. `tags` are RabbitMQ's user tags (`administrator`, `monitoring`...), a role and no permission on names.
    `mechanism` says how it was established: a SASL mechanism, "access-key", "none", or "internal" for the broker itself. `standing` is the number of
    the password or access key that was shown: a later one of the same user, or of another user of the same name, has another. 0: none was shown.
    """

    name: str
    tags: frozenset[str] = field(default=frozenset())
    mechanism: str = ""
    standing: int = field(default=0, compare=False)

    @property
    def is_internal(self) -> bool:
        """Whether this is the broker itself, to whom nothing is forbidden (dead-lettering, retention, seeds)."""
        return TAG_INTERNAL in self.tags


BROKER = Principal("entrepot", frozenset({TAG_INTERNAL}), "internal")
