"""One connection that says what no client's API can be made to say: requests and answers as dicts, by kafka-python's own message classes."""

from __future__ import annotations

import socket
import struct
import warnings
from typing import Any, Self

from kafka_endpoints import Endpoint
from kafka_messages import DEADLINE_S

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it reads its schemas by a call that Python 3.11 deprecates
    import kafka.protocol.admin
    import kafka.protocol.consumer
    import kafka.protocol.metadata
    import kafka.protocol.producer

_MODULES = (kafka.protocol.admin, kafka.protocol.consumer, kafka.protocol.metadata, kafka.protocol.producer)


def _class(name: str) -> Any:
    return next(getattr(module, name) for module in _MODULES if hasattr(module, name))


def _message(cls: Any, version: int, values: dict[str, Any]) -> Any:
    """A kafka-python message of a dict, whose structs are dicts."""
    return cls(version=version, **{name: _field(cls._struct.fields[name], version, value) for name, value in values.items()})


def _field(field: Any, version: int, value: Any) -> Any:
    if value is not None and field.is_struct_array():
        return [_message(field.data_class, version, one) for one in value]
    if value is not None and field.is_struct():
        return _message(field.data_class, version, value)
    return value


class Wire:
    """A connection."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._socket = socket.create_connection((endpoint.host, endpoint.port), DEADLINE_S)
        self._asked: list[tuple[str, int]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def ask(self, api: str, version: int, **values: Any) -> dict[str, Any]:
        """The answer to a request. Fields that are not named have their defaults."""
        self.send(api, version, **values)
        return self.answer()

    def send(self, api: str, version: int, **values: Any) -> None:
        """Send a request; its answer comes in turn."""
        request = _message(_class(f"{api}Request"), version, values)
        request.with_header(correlation_id=len(self._asked), client_id="wire")
        self._asked.append((api, version))
        self._socket.sendall(request.encode(header=True, framed=True))

    def answer(self) -> dict[str, Any]:
        """The next answer."""
        api, version = self._asked.pop(0)
        size = struct.unpack(">i", self._exactly(4))[0]
        return _class(f"{api}Response").decode(self._exactly(size), version=version, header=True).to_dict(json=False)  # type: ignore[no-any-return]

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data))
            assert part, "the connection was ended"
            data += part
        return data
