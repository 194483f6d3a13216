"""Where a Kafka listener is, and what clients must be told to reach it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

USER, PASSWORD = "alice", "alice-secret"


@dataclass(frozen=True)
class Endpoint:
    """One listener. `authority`: a PEM file that vouches for its certificate, if it speaks TLS."""

    bootstrap: str
    authority: str = ""

    @property
    def host(self) -> str:
        return self.bootstrap.rpartition(":")[0]

    @property
    def port(self) -> int:
        return int(self.bootstrap.rpartition(":")[2])


def named_endpoints(environment: Mapping[str, str]) -> dict[str, Endpoint]:
    """The listeners that the environment names: plain, sasl, tls; none if it names none."""
    found: dict[str, Endpoint] = {}
    for kind, variable in (("plain", "ENTREPOT_TEST_KAFKA"), ("sasl", "ENTREPOT_TEST_KAFKA_SASL"), ("tls", "ENTREPOT_TEST_KAFKA_TLS")):
        if value := environment.get(variable):
            bootstrap, _, authority = value.partition(",")
            found[kind] = Endpoint(bootstrap, authority)
    return found
