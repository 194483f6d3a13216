"""Where each worker listens for itself, beside the address that all share: of listeners whose clients tell nodes apart (Kafka's).

Behind the shared port p the workers have p + 1, p + 2 and so on, in their order. Where one of these is another listener's, all of them are 100 further on,
or 200, until none is: with Kafka at 9092 and Kafka over TLS at 9093, three workers have 9193 to 9195, and 9094 to 9096. It depends on [listen] and the number
of workers alone, so that who forwards ports knows them; unless another program listens at one of these ports: that is further on, too, and said in the log.
Port 0: each takes a free one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from entrepot.model.errors import Reason, Refused
from entrepot.net.session import address_text
from entrepot.settings import address

FURTHER = 100
PORT_MAX = 65_535


def own_addresses(listen: Mapping[str, str], names: Iterable[str], count: int, in_use: Iterable[int] = ()) -> dict[str, list[str]]:
    """Of those listeners called `names` that are listened at, each of `count` workers' own address. `listen`: every listener's, "" for nowhere.
    `in_use`: other programs' ports.

    Raises Refused: there is no room behind a port.
    """
    wanted = {name: address(name, where) for name, where in listen.items() if where}
    taken = {*in_use, *(port for _, port in wanted.values())}
    found = {}
    for name in names:
        if name in wanted:
            host, port = wanted[name]
            ports = _behind(name, port, count, taken)
            taken.update(ports)
            found[name] = [address_text((host, one)) for one in ports]
    return found


def _behind(name: str, port: int, count: int, taken: set[int]) -> list[int]:
    if port == 0:
        return [0] * count
    for first in range(port + 1, PORT_MAX - count + 2, FURTHER):
        ports = range(first, first + count)
        if taken.isdisjoint(ports):
            return list(ports)
    raise Refused(Reason.INVALID, f"listen.{name}: there are no {count} free ports behind {port} for the workers' own")
