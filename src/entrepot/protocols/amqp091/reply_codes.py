"""AMQP 0-9-1's reply codes and the error that carries one (specification 1.2 "Class and method reply codes")."""

from __future__ import annotations

import enum

from entrepot.model.errors import ProtocolError


class ReplyCode(enum.IntEnum):
    """Constants of the specification, named as there, with the two of RabbitMQ's own meaning kept."""

    REPLY_SUCCESS = 200
    CONTENT_TOO_LARGE = 311
    NO_ROUTE = 312
    NO_CONSUMERS = 313
    CONNECTION_FORCED = 320
    INVALID_PATH = 402
    ACCESS_REFUSED = 403
    NOT_FOUND = 404
    RESOURCE_LOCKED = 405
    PRECONDITION_FAILED = 406
    FRAME_ERROR = 501
    SYNTAX_ERROR = 502
    COMMAND_INVALID = 503
    CHANNEL_ERROR = 504
    UNEXPECTED_FRAME = 505
    RESOURCE_ERROR = 506
    NOT_ALLOWED = 530
    NOT_IMPLEMENTED = 540
    INTERNAL_ERROR = 541


SOFT_ERRORS = frozenset(
    {
        ReplyCode.CONTENT_TOO_LARGE,
        ReplyCode.NO_ROUTE,
        ReplyCode.NO_CONSUMERS,
        ReplyCode.ACCESS_REFUSED,
        ReplyCode.NOT_FOUND,
        ReplyCode.RESOURCE_LOCKED,
        ReplyCode.PRECONDITION_FAILED,
    }
)
"""Errors that close the channel; every other one closes the connection."""


class AmqpError(ProtocolError):
    """The peer broke AMQP's wire format or rules.

    `reply_code`, and `class_id` and `method_id` of the method at fault (0 when none), go into channel.close or connection.close
    as they are; `reply_text` is RabbitMQ's form of the text, cut to a short string. `channel_only`: the connection stays even where
    the specification calls the code a hard error.
    """

    def __init__(self, reply_code: int, text: str, class_id: int = 0, method_id: int = 0, *, channel_only: bool = False) -> None:
        super().__init__(text)
        self.channel_only = channel_only
        self.reply_code = ReplyCode(reply_code)
        self.class_id = class_id
        self.method_id = method_id

    @property
    def closes_connection(self) -> bool:
        """Whether the specification calls this a hard error, and it is to be one (else only the channel closes)."""
        return self.reply_code not in SOFT_ERRORS and not self.channel_only

    @property
    def reply_text(self) -> str:
        """`NAME - text`, at most 255 bytes of UTF-8."""
        text = f"{self.reply_code.name} - {self}"
        return text.encode(errors="replace")[:255].decode(errors="ignore")
