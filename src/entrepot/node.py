"""A node: stores, catalogue, users and delivery engine, put together from a configuration. No sockets; server.py adds those.

data directory            the durable store
data directory/volatile   scratch of what does not outlive the process; emptied at start
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import LastValueLimits, QuotaLimits
from entrepot.broker.catalogue.shards import Shards
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.operations.administration import Administration
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.authorization import Authorizer
from entrepot.broker.users.users import Users
from entrepot.clock import Clock
from entrepot.cluster.catalogue.homes import Homes
from entrepot.cluster.member import Journal, Member
from entrepot.cluster.owner_map import OwnerMap, start_id_of
from entrepot.cluster.workers.directory import check_single
from entrepot.cluster.workers.place import SHARD_OF_DECISIONS, WorkerPlace, name_of
from entrepot.entropy import Entropy
from entrepot.protocol import BrokerTerms
from entrepot.protocol_table import protocols
from entrepot.secret_file import box_of, open_secret_box, read_key
from entrepot.settings import Config
from entrepot.store.interface import LOG_ID_SIZE, Store
from entrepot.store.local.opening import Progress, open_store
from entrepot.store.local.posix_disk import PosixDisk
from entrepot.store.local.settings import Durability, StoreSettings
from entrepot.store.volatile import VolatileStore

VOLATILE = "volatile"  # the scratch directory's name within the data directory


def store_settings(config: Config) -> StoreSettings:
    """What the local store is told."""
    return StoreSettings(
        durability=Durability(config.durability.mode),
        sync_interval_ms=config.durability.interval_ms,
        linger_ms=config.durability.linger_ms,
        journal_file_size=config.journal.file_size_bytes,
        journal_ready_files=config.journal.files_ready,
        journal_unsorted_max=config.journal.unsorted_bytes,
        cache_size=config.cache.size_bytes,
        file_cache_size=config.cache.files_bytes,
        reserve_size=config.disk.reserve_bytes,
        staged_max=config.limits.staged_bytes,
    )


def group_settings(config: Config) -> GroupSettings:
    """What consumer groups are run by."""
    groups, limits = config.groups, config.limits
    return GroupSettings(
        initial_rebalance_delay_ms=groups.initial_rebalance_delay_ms,
        session_timeout_min_ms=groups.session_timeout_min_ms,
        session_timeout_max_ms=groups.session_timeout_max_ms,
        consumer_session_timeout_ms=groups.consumer_session_timeout_ms,
        consumer_heartbeat_interval_ms=groups.consumer_heartbeat_interval_ms,
        offsets_retention_ms=groups.offsets_retention_ms,
        offsets_check_interval_ms=groups.offsets_check_interval_ms,
        offset_metadata_bytes=limits.offset_metadata_bytes,
        members_max=limits.group_members,
        metadata_bytes_max=limits.group_metadata_bytes,
    )


def quota_limits(config: Config) -> QuotaLimits:
    """How much there may be of what takes memory for good: the limits of the same names."""
    return QuotaLimits(**{one.name: getattr(config.limits, one.name) for one in fields(QuotaLimits)})


def broker_terms(config: Config) -> BrokerTerms:
    """What protocols set of the broker itself."""
    terms: BrokerTerms = {}
    for protocol in protocols().values():
        if protocol.broker_terms is not None:
            terms.update(protocol.broker_terms(config))
    return terms


@dataclass(frozen=True, slots=True)
class Membership:
    """What a process needs that is one of several: its place, what all of them have in common, and who is told of what.

    `cluster`: its id; `shards`: how many there are; `key`: of the links. on_condemned: see Member, and `dead`.
    """

    place: WorkerPlace
    cluster: str
    shards: int
    key: bytes
    journal: Journal
    on_condemned: Callable[[str, bytes, str], None]
    dead: Collection[tuple[str, bytes]] = ()


def _terms(place: WorkerPlace) -> dict[str, Any]:
    """What makes a broker one of several."""
    return {"owners": partial(OwnerMap, place.name, lambda shard: name_of(place.worker_of(shard))), "start_id": start_id_of(place.start_id)}


class Node:
    """Opened at construction, which blocks while the store recovers. `close` ends it. `member`: None where it is alone. `own`: see Broker.open().

    Raises CorruptData, OSError, and Refused if another process has the directory.
    """

    def __init__(
        self,
        config: Config,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        entropy: Entropy,
        on_failed: Callable[[BaseException], None],
        on_progress: Progress | None = None,
        membership: Membership | None = None,
        *,
        own: Collection[int] | None = None,
    ) -> None:
        directory = Path(config.data)
        check_single(directory)
        secrets = partial(open_secret_box, directory, entropy)
        if config.secrets_key_file:
            secrets = partial(box_of, read_key(Path(config.secrets_key_file)), entropy)
        fold = default_folds().fold
        local = open_store(str(directory), scheduler=loop, clock=clock, entropy=entropy, fold=fold, settings=store_settings(config), on_progress=on_progress)
        self.store: Store = local
        self.look_at_disk: Callable[[], None] = local.maintenance.look
        self.volatile: Store = VolatileStore(
            loop, self.store.time, fold, PosixDisk(str(directory / VOLATILE), loop), memory_size_max=config.cache.volatile_bytes
        )
        stream = CatalogueStream(self.store)
        self.users = Users(stream, clock, entropy, secrets)
        decides = membership is None or membership.place.worker_of(SHARD_OF_DECISIONS) == membership.place.number
        self.users.load(decides=decides)
        if config.secrets_key_file and decides:  # else when the first snapshot is here
            self.users.check_secrets()
        self.decisions = Decisions.over(stream, lambda: entropy.octets(LOG_ID_SIZE), quota_limits(config))
        self.catalogue = self.decisions.catalogue
        place = None if membership is None else membership.place
        self.broker = Broker(
            scheduler=loop,
            clock=clock,
            entropy=entropy,
            store=self.store,
            volatile=self.volatile,
            decisions=self.decisions,
            authorizer=Authorizer(self.users),
            on_failed=on_failed,
            group_settings=group_settings(config),
            last_value_limits=LastValueLimits(config.limits.retained, config.limits.retained_bytes),
            **(_terms(place) if place is not None else {}),
            **broker_terms(config),
        )
        for protocol in protocols().values():
            self.decisions.reserved_queues += protocol.reserved_queues
            self.decisions.reserved_exchanges += protocol.reserved_exchanges
            if protocol.entry_codec is not None:
                self.broker.register(protocol.entry_codec(config))
        self.broker.hub.translations.size_max = config.cache.translated_bytes
        self.administration = Administration(self.broker, self.users)
        self.member: Member | None = None
        if membership is None:
            self.broker.open(own)
        else:
            self.member = self._join(membership, local.epoch, clock, entropy, stream)
        if not self.follows:
            self._seed(config)

    @property
    def follows(self) -> bool:
        """Whether another process decides the catalogue."""
        return self.member is not None and not self.member.decides

    def _join(self, membership: Membership, epoch: int, clock: Clock, entropy: Entropy, stream: CatalogueStream) -> Member:
        """Open as one of several processes."""
        homes = Homes()
        stream.add(homes)
        owners = self.broker.owners
        assert isinstance(owners, OwnerMap)
        member = Member(
            place=membership.place,
            broker=self.broker,
            owners=owners,
            homes=homes,
            epoch=epoch,
            clock=clock,
            entropy=entropy,
            cluster=membership.cluster,
            key=membership.key,
            journal=membership.journal,
            on_condemned=membership.on_condemned,
            dead=membership.dead,
        )
        shards = Shards(membership.shards)
        own = membership.place.shards(shards.count) if member.decides else ()
        self.broker.open(own, follows=not member.decides, shards=shards, cluster=membership.cluster)
        return member

    def _seed(self, config: Config) -> None:
        """What the configuration says that there is: by who decides, before anybody else follows, who has it by his snapshot."""
        for name in config.namespaces:
            self.decisions.create_namespace(name)
        for name, user in config.users.items():
            self.users.seed_user(name, user.password, user.namespaces, user.administrator)

    async def close(self) -> None:
        """Commit what is staged, checkpoint, and release the directory."""
        loop = asyncio.get_running_loop()
        self.broker.stop()
        for store in (self.volatile, self.store):
            closed: asyncio.Future[None] = loop.create_future()
            store.close(partial(closed.set_result, None))
            await closed
