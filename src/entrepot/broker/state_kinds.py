"""Every kind of state that the broker keeps, and its fold: the one table. How a kind's values look is said where they are made."""

from __future__ import annotations

from entrepot.broker.outbox.intents import INTENT_PREFIX
from entrepot.broker.outbox.taken import TAKEN_PREFIX
from entrepot.broker.producers.producer_state import PRODUCER_PREFIX, fold_producer
from entrepot.broker.sessions.session_state import SESSION_PREFIX, fold_all_sessions, fold_session
from entrepot.broker.state import (
    CATALOGUE_PREFIX,
    CLUSTER_PREFIX,
    FRONT_PREFIX,
    GROUP_PREFIX,
    LAST_VALUE_PREFIX,
    MOVE_PREFIX,
    NOTED_PREFIX,
    OFFSET_PREFIX,
    PRODUCER_IDS_PREFIX,
    SUBJECT_PREFIX,
    StateFolds,
    fold_value,
)
from entrepot.broker.subscription.persistence import SUBSCRIPTION_PREFIX, fold_all_subscriptions, fold_subscription
from entrepot.broker.subscription.schedule import SCHEDULE_PREFIX, fold_schedule
from entrepot.broker.timed.lease_state import LEASE_PREFIX, fold_all_leases, fold_leases
from entrepot.broker.timed.repeats import REPEAT_PREFIX, fold_all_repeats, fold_repeats
from entrepot.broker.transactions.log_transactions import TRANSACTION_PREFIX, fold_transaction


def default_folds() -> StateFolds:
    """Every kind of state the broker keeps; others register here too."""
    folds = StateFolds()
    folds.register(CATALOGUE_PREFIX, fold_value, absolute=True)
    folds.register(SUBSCRIPTION_PREFIX, fold_subscription, many=fold_all_subscriptions)
    folds.register(SCHEDULE_PREFIX, fold_schedule, absolute=True)
    folds.register(REPEAT_PREFIX, fold_repeats, many=fold_all_repeats)
    folds.register(SESSION_PREFIX, fold_session, many=fold_all_sessions)
    folds.register(LEASE_PREFIX, fold_leases, many=fold_all_leases)
    folds.register(TRANSACTION_PREFIX, fold_transaction)
    folds.register(PRODUCER_PREFIX, fold_producer, absolute=True)
    folds.register(GROUP_PREFIX, fold_value, absolute=True)
    folds.register(OFFSET_PREFIX, fold_value, absolute=True)
    folds.register(PRODUCER_IDS_PREFIX, fold_value, absolute=True)
    folds.register(CLUSTER_PREFIX, fold_value, absolute=True)
    folds.register(MOVE_PREFIX, fold_value, absolute=True)
    folds.register(NOTED_PREFIX, fold_value, absolute=True)
    folds.register(INTENT_PREFIX, fold_value, absolute=True)
    folds.register(TAKEN_PREFIX, fold_value, absolute=True)
    folds.register(SUBJECT_PREFIX, fold_value, absolute=True)
    folds.register(FRONT_PREFIX, fold_value, absolute=True)
    folds.register(LAST_VALUE_PREFIX, fold_value, absolute=True)
    return folds
