"""A node: stores, catalogue, users and delivery engine, put together from a configuration. No sockets; server.py adds those.

data directory            the durable store
data directory/volatile   scratch of what does not outlive the process; emptied at start
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path

from entrepot.broker.broker import Broker
from entrepot.broker.catalogue.decisions import Decisions
from entrepot.broker.catalogue.quotas import QuotaLimits
from entrepot.broker.catalogue.stream import CatalogueStream
from entrepot.broker.groups.settings import GroupSettings
from entrepot.broker.state_kinds import default_folds
from entrepot.broker.users.authorization import Authorizer
from entrepot.broker.users.users import Users
from entrepot.clock import Clock
from entrepot.cluster.workers.directory import check_single
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


class Node:
    """Opened at construction, which blocks while the store recovers. `close` ends it.

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
    ) -> None:
        directory = Path(config.data)
        check_single(directory)
        secrets = partial(open_secret_box, directory, entropy)
        if config.secrets_key_file:
            secrets = partial(box_of, read_key(Path(config.secrets_key_file)), entropy)
        fold = default_folds().fold
        self.store: Store = open_store(
            str(directory), scheduler=loop, clock=clock, entropy=entropy, fold=fold, settings=store_settings(config), on_progress=on_progress
        )
        self.volatile: Store = VolatileStore(
            loop, self.store.time, fold, PosixDisk(str(directory / VOLATILE), loop), memory_size_max=config.cache.volatile_bytes
        )
        stream = CatalogueStream(self.store)
        self.users = Users(stream, clock, entropy, secrets)
        self.users.load()
        if config.secrets_key_file:
            self.users.check_secrets()
        self.decisions = Decisions.over(stream, lambda: entropy.octets(LOG_ID_SIZE), quota_limits(config))
        self.catalogue = self.decisions.catalogue
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
            **broker_terms(config),
        )
        for protocol in protocols().values():
            if protocol.entry_codec is not None:
                self.broker.register(protocol.entry_codec(config))
        self.broker.hub.translations.size_max = config.cache.translated_bytes
        self.broker.open()
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
