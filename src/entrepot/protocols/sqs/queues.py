"""Actions on queues: made, found, described, changed, tagged, purged, deleted. None of them is hot."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from entrepot.broker.calls.queue_requests import (
    CreateTimedQueue,
    DeleteTimedQueue,
    DescribeQueue,
    ListQueues,
    ListSources,
    PurgeTimedQueue,
    QueueDescription,
    SetQueuePolicy,
    TimedPolicy,
)
from entrepot.model.errors import Reason, Refused
from entrepot.protocols.sqs import actions
from entrepot.protocols.sqs.accounts import is_account
from entrepot.protocols.sqs.characters import ALLOWED, illegal_at, is_queue_name
from entrepot.protocols.sqs.errors import SqsError, invalid_value, missing, no_queue
from entrepot.protocols.sqs.handles import make_token, read_token
from entrepot.protocols.sqs.queue_attributes import SETTABLE, check_names, invalid, read_attributes, show_attributes

if TYPE_CHECKING:
    from entrepot.protocols.sqs.exchange import Exchange

RESULTS_MAX = 1000
TAGS_MAX = 50
TAG_KEY_MAX = 128
TAG_VALUE_MAX = 256


# ---- names and addresses


def queue_of_arn(exchange: Exchange, arn: str, namespace: str) -> str | None:
    """The name of a queue of `namespace` from its ARN; None: it is no such ARN."""
    parts = arn.split(":")
    session = exchange.session
    if len(parts) != 6 or parts[:3] != ["arn", "aws", "sqs"] or not is_queue_name(parts[5]):
        return None
    return parts[5] if session.callers.accounts.maybe_namespace(parts[4], parts[3]) == namespace else None


def own_queue(exchange: Exchange, name: str | None, namespace: str | None = None) -> None:
    """The exchange is about a queue of the caller's namespace, or of another, by its name."""
    session, caller = exchange.session, exchange.caller
    assert caller is not None
    exchange.attachment = session.own_attachment(caller) if namespace is None else session.attachment_to(caller, namespace)
    exchange.queue = name or ""


def _arn_of(exchange: Exchange) -> Any:
    callers, namespace = exchange.session.callers, exchange.attachment.namespace  # type: ignore[union-attr]
    return lambda name: callers.arn_of(namespace, name)


def _name_of(exchange: Exchange) -> Any:
    namespace = exchange.attachment.namespace  # type: ignore[union-attr]
    return lambda arn: queue_of_arn(exchange, arn, namespace)


# ---- CreateQueue, GetQueueUrl, DeleteQueue, PurgeQueue


def create_queue(exchange: Exchange) -> None:
    """Handler of CreateQueue."""
    request = exchange.input
    name = request.QueueName
    attributes = {name.strip(): value for name, value in (request.Attributes or {}).items()}
    wants_fifo = attributes.get("FifoQueue", "").lower() == "true"
    if not is_queue_name(name) or wants_fifo != name.endswith(".fifo"):
        if wants_fifo:
            raise invalid_value(
                "The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, "
                "must end with .fifo suffix and be 1 to 80 in length."
            )
        raise invalid_value("Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length")
    own_queue(exchange, name)
    fifo = name.endswith(".fifo")
    wished = read_attributes(attributes, TimedPolicy(groups=fifo), {}, fifo, _name_of(exchange))
    tags = request.tags or {}
    check_tags(tags, name, {})
    exchange.state = wished
    exchange.refused = _create_refused
    exchange.ask(
        CreateTimedQueue(
            name=name,
            policy=wished.policy,
            given=frozenset(wished.given),
            attributes=wished.attributes,
            tags=dict(tags),
            access_policy=wished.access_policy or "",
        ),
        _created,
    )


def _created(exchange: Exchange, result: tuple[QueueDescription, bool]) -> None:
    found, created = result
    if not created:
        for name, value in exchange.state.attributes.items():
            if found.attributes.get(name, value) != value:
                raise SqsError("QueueNameExists", f"A queue already exists with the same name and a different value for attribute {name}")
    exchange.answer(actions.QueueUrlResult(QueueUrl=_url(exchange, found.name)))


def _create_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    if refused.reason is Reason.NOT_FOUND:
        return _no_dead_letter_target(exchange)
    if refused.reason is Reason.EXISTS_DIFFERENT:
        exchange.refused = None
        exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _differs)
    return None


def _no_dead_letter_target(exchange: Exchange) -> SqsError:
    value = (exchange.input.Attributes or {}).get("RedrivePolicy", "")
    return invalid_value(f"Value {value[:300]} for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.")


def _differs(exchange: Exchange, found: QueueDescription) -> None:
    """Say which attribute is another one."""
    there = show_attributes(found, set(SETTABLE), _arn_of(exchange))
    asked = {name: value for name, value in (exchange.input.Attributes or {}).items() if value}
    wished = read_attributes(asked, found.policy, found.attributes, exchange.queue.endswith(".fifo"), _name_of(exchange))
    policy = found.access_policy if wished.access_policy is None else wished.access_policy
    wanted = show_attributes(replace(found, policy=wished.policy, attributes=wished.attributes, access_policy=policy), set(SETTABLE), _arn_of(exchange))
    name = next((name for name in wanted if wanted[name] != there.get(name)), "Policy")
    raise SqsError("QueueNameExists", f"A queue already exists with the same name and a different value for attribute {name}")


def _url(exchange: Exchange, name: str) -> str:
    url: str = exchange.session.url_of(exchange, exchange.attachment.namespace, name)  # type: ignore[union-attr]
    return url


def get_queue_url(exchange: Exchange) -> None:
    """Handler of GetQueueUrl."""
    request = exchange.input
    namespace = None
    if request.QueueOwnerAWSAccountId:
        accounts = exchange.session.callers.accounts
        owner = request.QueueOwnerAWSAccountId
        namespace = accounts.maybe_namespace(owner, exchange.caller.region) if is_account(owner) else None  # type: ignore[union-attr]
        if namespace is None:
            raise no_queue()
    if not is_queue_name(request.QueueName):
        raise no_queue()
    own_queue(exchange, request.QueueName, namespace)
    exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _got_url)


def _got_url(exchange: Exchange, found: QueueDescription) -> None:
    exchange.answer(actions.QueueUrlResult(QueueUrl=_url(exchange, found.name)))


def delete_queue(exchange: Exchange) -> None:
    """Handler of DeleteQueue."""
    exchange.open(exchange.input.QueueUrl)
    exchange.ask(DeleteTimedQueue(name=exchange.queue), done)


def purge_queue(exchange: Exchange) -> None:
    """Handler of PurgeQueue."""
    exchange.open(exchange.input.QueueUrl)
    exchange.refused = _purge_refused
    exchange.ask(PurgeTimedQueue(name=exchange.queue), done)


def _purge_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    if refused.reason is Reason.IN_USE:
        return SqsError("PurgeQueueInProgress", f"Only one PurgeQueue operation on {exchange.queue} is allowed every 60 seconds.")
    return None


def done(exchange: Exchange, result: object) -> None:
    """There is nothing to say."""
    exchange.answer(None)


# ---- lists


def list_queues(exchange: Exchange) -> None:
    """Handler of ListQueues."""
    request = exchange.input
    after = _page(request, "queues")
    own_queue(exchange, "")
    exchange.state = []
    _list_more(exchange, after)


def _list_more(exchange: Exchange, after: str) -> None:
    exchange.ask(ListQueues(prefix=exchange.input.QueueNamePrefix or "", after=after, limit=RESULTS_MAX), _listed)


def _page(request: Any, kind: str) -> str:
    """Where the page begins. Raises SqsError."""
    if request.MaxResults is not None and not 1 <= request.MaxResults <= RESULTS_MAX:
        raise invalid_value(f"Value {request.MaxResults} for parameter MaxResults is invalid. Reason: Must be between 1 and {RESULTS_MAX}.")
    if not request.NextToken:
        return ""
    after = read_token(kind, request.NextToken)
    if after is None:
        raise invalid_value("Value for parameter NextToken is invalid.")
    return after


def _listed(exchange: Exchange, result: tuple[list[str], bool]) -> None:
    """Names that SQS's clients could not say are passed over, and the page is filled up behind them, in another turn of the loop."""
    names, more = result
    request = exchange.input
    exchange.state += [name for name in names if is_queue_name(name)]
    limit = request.MaxResults or RESULTS_MAX
    if more and len(exchange.state) < limit:
        exchange.session.shared.later(partial(_list_more, exchange, names[-1]))
        return
    more = more or len(exchange.state) > limit
    found = exchange.state[:limit]
    exchange.answer(
        actions.ListQueuesResult(
            QueueUrls=[_url(exchange, name) for name in found] or None,
            NextToken=make_token("queues", found[-1]) if more and found and request.MaxResults else None,
        )
    )


def list_dead_letter_source_queues(exchange: Exchange) -> None:
    """Handler of ListDeadLetterSourceQueues."""
    request = exchange.input
    after = _page(request, "sources")
    exchange.open(request.QueueUrl)
    exchange.ask(ListSources(name=exchange.queue, after=after, limit=request.MaxResults or RESULTS_MAX), _listed_sources)


def _listed_sources(exchange: Exchange, result: tuple[list[str], bool]) -> None:
    names, more = result
    exchange.answer(
        actions.ListDeadLetterSourceQueuesResult(
            queueUrls=[_url(exchange, name) for name in names if is_queue_name(name)],
            NextToken=make_token("sources", names[-1]) if more and names and exchange.input.MaxResults else None,
        )
    )


# ---- attributes


def get_queue_attributes(exchange: Exchange) -> None:
    """Handler of GetQueueAttributes."""
    request = exchange.input
    exchange.open(request.QueueUrl)
    exchange.state = check_names(request.AttributeNames or ())
    exchange.ask(DescribeQueue(name=exchange.queue), _got_attributes)


def _got_attributes(exchange: Exchange, found: QueueDescription) -> None:
    exchange.answer(actions.GetQueueAttributesResult(Attributes=show_attributes(found, exchange.state, _arn_of(exchange)) or None))


def set_queue_attributes(exchange: Exchange) -> None:
    """Handler of SetQueueAttributes."""
    request = exchange.input
    if not request.Attributes:
        raise missing("Attribute.Name")
    exchange.open(request.QueueUrl)
    if exchange.queue.endswith(".fifo") and request.Attributes.get("FifoQueue", "true").lower() != "true":
        raise invalid("FifoQueue", "Modifying queue type is not supported.")
    change_queue(exchange, _with_attributes)


def _with_attributes(exchange: Exchange, found: QueueDescription) -> SetQueuePolicy:
    wished = read_attributes(exchange.input.Attributes, found.policy, found.attributes, exchange.queue.endswith(".fifo"), _name_of(exchange))
    return SetQueuePolicy(name=found.name, policy=wished.policy, attributes=wished.attributes, access_policy=wished.access_policy, expected=found.policy)


def change_queue(exchange: Exchange, change: Any) -> None:
    """Describe the queue, and set what change(exchange, description) makes of it."""
    exchange.state = change
    exchange.refused = _change_refused
    exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _change)


def _change(exchange: Exchange, found: QueueDescription) -> None:
    exchange.ask(exchange.state(exchange, found), done)


def _change_refused(exchange: Exchange, refused: Refused) -> SqsError | None:
    request = getattr(exchange.call, "request", None)
    target = request.policy.dead_letter_queue if isinstance(request, SetQueuePolicy) and request.policy is not None else None
    if refused.reason is Reason.NOT_FOUND and target and f"'{target}'" in str(refused):
        return _no_dead_letter_target(exchange)
    if refused.reason is Reason.EXISTS_DIFFERENT:
        return SqsError("ServiceUnavailableException", "The queue was changed by somebody else at the same time; try again.")
    return None


# ---- tags


def tag_queue(exchange: Exchange) -> None:
    """Handler of TagQueue."""
    exchange.open(exchange.input.QueueUrl)
    if not exchange.input.Tags:
        raise missing("Tags")
    change_queue(exchange, _with_tags)


def _with_tags(exchange: Exchange, found: QueueDescription) -> SetQueuePolicy:
    check_tags(exchange.input.Tags, found.name, found.tags)
    return SetQueuePolicy(name=found.name, tags={**found.tags, **exchange.input.Tags})


def untag_queue(exchange: Exchange) -> None:
    """Handler of UntagQueue."""
    exchange.open(exchange.input.QueueUrl)
    if not exchange.input.TagKeys:
        raise invalid_value("Tag keys must be between 1 and 128 characters in length.")
    change_queue(exchange, _without_tags)


def _without_tags(exchange: Exchange, found: QueueDescription) -> SetQueuePolicy:
    gone = set(exchange.input.TagKeys)
    return SetQueuePolicy(name=found.name, tags={key: value for key, value in found.tags.items() if key not in gone})


def list_queue_tags(exchange: Exchange) -> None:
    """Handler of ListQueueTags."""
    exchange.open(exchange.input.QueueUrl)
    exchange.ask(DescribeQueue(name=exchange.queue, counts=False), _listed_tags)


def _listed_tags(exchange: Exchange, found: QueueDescription) -> None:
    exchange.answer(actions.ListQueueTagsResult(Tags=dict(found.tags) or None))


def check_tags(tags: dict[str, str], queue: str, there: dict[str, str]) -> None:
    """Refuse tags that no queue may have. Raises SqsError."""
    if len({**there, **tags}) > TAGS_MAX:
        raise invalid_value(f"Too many tags added for queue {queue}.")
    for key, value in tags.items():
        if illegal_at((key + value).encode(errors="surrogatepass")) >= 0:
            raise invalid_value(f"Tag keys and values can only contain {ALLOWED}.")
        if not 1 <= len(key) <= TAG_KEY_MAX or len(value) > TAG_VALUE_MAX or key.lower().startswith("aws:"):
            raise invalid_value(
                f"Tag keys must be 1 to {TAG_KEY_MAX} characters and must not start with aws:, tag values at most {TAG_VALUE_MAX} characters: {key[:140]}."
            )
