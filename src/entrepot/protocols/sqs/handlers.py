"""Which function answers which action: the table's rows (actions.py) by the operation's name in the header, with a decoder each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from entrepot.protocols.sqs import moves, permissions, queues, receiving, sending, settling
from entrepot.protocols.sqs.actions import ACTIONS, Action

HANDLERS: dict[str, Callable[[Any], object]] = {
    "SendMessage": sending.send_message,
    "SendMessageBatch": sending.send_message_batch,
    "ReceiveMessage": receiving.receive_message,
    "DeleteMessage": settling.delete_message,
    "DeleteMessageBatch": settling.delete_message_batch,
    "ChangeMessageVisibility": settling.change_message_visibility,
    "ChangeMessageVisibilityBatch": settling.change_message_visibility_batch,
    "CreateQueue": queues.create_queue,
    "DeleteQueue": queues.delete_queue,
    "ListQueues": queues.list_queues,
    "GetQueueUrl": queues.get_queue_url,
    "GetQueueAttributes": queues.get_queue_attributes,
    "SetQueueAttributes": queues.set_queue_attributes,
    "PurgeQueue": queues.purge_queue,
    "TagQueue": queues.tag_queue,
    "UntagQueue": queues.untag_queue,
    "ListQueueTags": queues.list_queue_tags,
    "AddPermission": permissions.add_permission,
    "RemovePermission": permissions.remove_permission,
    "ListDeadLetterSourceQueues": queues.list_dead_letter_source_queues,
    "StartMessageMoveTask": moves.start_message_move_task,
    "CancelMessageMoveTask": moves.cancel_message_move_task,
    "ListMessageMoveTasks": moves.list_message_move_tasks,
}


class Route:
    """One action, ready to be carried out. decode(body) makes its structure; `required` are the members that must be there."""

    __slots__ = ("action", "decode", "handler", "name", "required")

    def __init__(self, action: Action, handler: Callable[[Any], object]) -> None:
        self.action = action
        self.name = action.name
        self.required = tuple(action.required)
        self.decode: Callable[[bytes], Any] = msgspec.json.Decoder(action.request).decode
        self.handler = handler


ROUTES = {f"AmazonSQS.{name}".encode(): Route(action, HANDLERS[name]) for name, action in ACTIONS.items()}
