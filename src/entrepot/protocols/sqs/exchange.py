"""One request that is being answered, from the end of its body until its answer is written.

A handler gets the Exchange. It answers at once (answer, answer_json, fail), or asks the broker first: submit(call, then) calls then(exchange, call)
once the call is done; what was refused, unavailable or is unknown is answered here. A call that was refused because the queue has a policy
is submitted again with what the policy says of the caller.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cython
import msgspec

from entrepot.broker.calls.lease_calls import PolicyChanged
from entrepot.broker.calls.port import DONE, PENDING, REFUSED, UNAVAILABLE, Ask, Attachment
from entrepot.model.errors import Refused
from entrepot.protocols.sqs.callers import DECISIONS_MAX, Caller
from entrepot.protocols.sqs.errors import FAULTS, NO_QUEUE, NO_QUEUE_QUERY, SqsError, from_refused, unavailable
from entrepot.protocols.sqs.notes import note_bug
from entrepot.protocols.sqs.query_protocol import encode_answer, encode_answer_json, encode_error, encode_error_json

if TYPE_CHECKING:
    from entrepot.protocols.sqs.actions import Action
    from entrepot.protocols.sqs.framing import Request
    from entrepot.protocols.sqs.long_answers import LongAnswer
    from entrepot.protocols.sqs.session import Session
    from entrepot.protocols.sqs.writing import Writer

if not cython.compiled:
    from entrepot.broker.calls.port import Call, make_ask

_PENDING, _DONE, _REFUSED, _UNAVAILABLE = PENDING, DONE, REFUSED, UNAVAILABLE
_RETRIES_MAX = 8  # changes of a queue's policy under way that one request puts up with
_DECISION_STEPS = 1000  # of asking a policy: steps of net/turns.py

JSON_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nx-amzn-RequestId: "
XML_OK = b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nx-amzn-RequestId: "
PLAIN_JSON_OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nx-amzn-RequestId: "
_JSON_OK, _XML_OK, _PLAIN_JSON_OK = JSON_OK, XML_OK, PLAIN_JSON_OK
_LENGTH = b"\r\nContent-Length: "
_LINE_END = b"\r\n"
_HEAD_END = b"\r\n\r\n"
_HEAD_END_CLOSE = b"\r\nConnection: close\r\n\r\n"
_ENCODER = msgspec.json.Encoder()

STATUS_TEXTS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    414: "URI Too Long",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}


class Exchange:
    """See the module. `input` is the request's structure; `queue` is set by open(); `state` is the handler's own."""

    def __init__(self, session: Session, request: Request, request_id: bytes) -> None:
        self.session: Any = session
        self.request: Any = request
        self.request_id = request_id
        self.action: Action | None = None
        self.is_json = True
        self.input: Any = None
        self.caller: Caller | None = None
        self.attachment: Attachment | None = None
        self.queue = ""
        self.state: Any = None
        self.refused: Callable[[Exchange, Refused], SqsError | None] | None = None  # asked first what a refusal means
        self.call: Call | None = None
        self.then: Callable[[Exchange, Any], object] | None = None
        self.retries = 0
        self.answered = False
        self.writing: LongAnswer | None = None  # the answer is being written

    # ---- which queue

    def open(self, url: str | None) -> int:
        """The queue of a URL is the one that is spoken of. Raises SqsError."""
        found = self.caller.targets.get(url)  # type: ignore[union-attr, arg-type]
        if found is None:
            found = self.session.find_target(self, url)
        self.attachment = found[0]
        self.queue = found[1]
        return 0

    # ---- asking the broker

    def ask(self, request: Any, then: Callable[[Exchange, Any], object]) -> int:
        """Submit an Ask; then(exchange, result) once it is done."""
        return self.submit(make_ask(0, request), then)

    def submit(self, call: Call, then: Callable[[Exchange, Any], object]) -> int:
        """Submit a call; then(exchange, call, or an Ask's result) once it is done."""
        self.call = call
        self.then = then
        decisions = self.caller.decisions  # type: ignore[union-attr]
        if len(decisions) > 0:
            known = decisions.get((self.attachment.namespace, self.queue, self.action.name))  # type: ignore[union-attr]
            if known is not None:
                self._checked(known[0], known[1])
        self.session.asked[call] = self
        self.attachment.submit(call)  # type: ignore[union-attr]
        return 0

    def completed(self, call: Call) -> int:
        """The call has its outcome."""
        if call is not self.call or self.answered:
            return 0
        outcome = call.outcome
        try:
            if outcome == _DONE:
                self.then(self, call.result if isinstance(call, Ask) else call)  # type: ignore[misc]
            elif outcome == _REFUSED:
                self._refused(call)
            elif outcome == _UNAVAILABLE:
                self.fail(unavailable())
            else:
                self.fail(SqsError("InternalFailure", "The outcome is not known; try again."))
        except SqsError as error:
            self.fail(error)
        except Exception as error:  # our bug: it must cost this request and nobody's commit
            note_bug(self.session, self, error)
            self.fail(SqsError("InternalFailure", "The request failed; what it asked may have been done."))
        return 0

    def _refused(self, call: Call) -> int:
        error = call.error
        if isinstance(error, PolicyChanged):
            self.retries += 1
            if self.retries <= _RETRIES_MAX:
                self._decide(error)
                call.outcome = _PENDING
                call.error = None
                self.session.asked[call] = self
                self.attachment.submit(call)  # type: ignore[union-attr]
                return 0
        found = None
        if self.refused is not None:
            found = self.refused(self, error)  # type: ignore[arg-type]
            if found is None and (self.call is not call or self.answered):
                return 0  # it asked further
        if found is None:
            found = from_refused(error)  # type: ignore[arg-type]
        return self.fail(found)

    def _decide(self, changed: Any) -> int:
        """What the queue's policy says, remembered until the queue has another. Raises SqsError where it denies."""
        self.session.spent = True
        self.session.turns.spend(_DECISION_STEPS)
        caller = self.caller
        namespace = self.attachment.namespace  # type: ignore[union-attr]
        name = self.action.name  # type: ignore[union-attr]
        agent = self.request.header(b"user-agent")
        granted = self.session.callers.decide(caller, name, namespace, self.queue, changed, self.session.peer, "" if agent is None else agent.decode("latin-1"))
        decisions = caller.decisions  # type: ignore[union-attr]
        if len(decisions) >= DECISIONS_MAX:
            decisions.clear()
        decisions[namespace, self.queue, name] = (changed.version, granted)
        self._checked(changed.version, granted)
        return 0

    def _checked(self, version: int, granted: bool) -> int:
        call: Any = self.call
        told: Any = call.request if isinstance(call, Ask) else call
        told.policy_version = version
        told.granted = granted
        return 0

    # ---- answering

    def answer(self, result: Any) -> int:
        """The answer as the structure of its action; None: without content."""
        if not self.is_json:
            if self.request.wants_json:
                return self._send(_PLAIN_JSON_OK, encode_answer_json(self.action, result, self.request_id.decode()))  # type: ignore[arg-type]
            body = encode_answer(self.action, result, self.request_id.decode())  # type: ignore[arg-type]
            return self._send(_XML_OK, body)
        if result is not None:
            return self.answer_json(_ENCODER.encode(result))
        if self.action is not None and self.action.result is not None:
            return self.answer_json(b"{}")
        return self.answer_json(b"")

    def answer_json(self, body: bytes) -> int:
        """The answer as JSON."""
        return self._send(_JSON_OK, body)

    def answer_written(self, writer: Writer) -> int:
        """The answer is the JSON in the writer, which is empty then."""
        if self.answered or self.request.method != b"POST" or len(self.request.origin) > 0:
            return self._send(_JSON_OK, writer.take())
        size = writer.filled
        writer.raw(_JSON_OK)
        writer.raw(self.request_id)
        writer.raw(_LENGTH)
        writer.decimal(size, 1)
        writer.raw(_HEAD_END if self.request.keep_alive else _HEAD_END_CLOSE)
        answer = writer.take_turned(size)
        self.answered = True
        self.call = None
        self.then = None
        self.session.send(self, answer)
        return 0

    def answer_long(self, answer: LongAnswer) -> int:
        """The answer is written a piece a turn; the next request waits for it."""
        if not self.answered:
            self.answered = True
            self.call = None
            self.then = None
            self.writing = answer
            answer.go_on()
        return 0

    def fail(self, error: SqsError) -> int:
        """The answer is an error."""
        code = error.code
        status = code.status
        self.session.count_error(code.shape)
        if self.is_json:
            fault = "Receiver" if code.shape in FAULTS else "Sender"
            head = f"Content-Type: application/x-amz-json-1.0\r\nx-amzn-query-error: {code.code};{fault}\r\nx-amzn-RequestId: "
            body = _ENCODER.encode({"__type": f"com.amazonaws.sqs#{code.shape}", "message": error.text.encode(errors="replace").decode()})
        else:
            wants_json = self.request.wants_json
            head = f"Content-Type: {'application/json' if wants_json else 'text/xml'}\r\nx-amzn-RequestId: "
            text = NO_QUEUE_QUERY if error.text == NO_QUEUE else error.text
            body = (encode_error_json if wants_json else encode_error)(code, text, self.request_id.decode())
        return self._send(f"HTTP/1.1 {status} {STATUS_TEXTS[status]}\r\n{head}".encode(), body)

    def plain(self, status: int, text: str, content_type: str = "text/plain; charset=utf-8") -> int:
        """An answer to what is no request of the API."""
        head = f"HTTP/1.1 {status} {STATUS_TEXTS[status]}\r\nContent-Type: {content_type}\r\nx-amzn-RequestId: "
        return self._send(head.encode(), text.encode())

    def answer_preflight(self, lines: bytes) -> int:
        """A browser may send what it asks for."""
        return self._send(b"HTTP/1.1 200 OK\r\n" + lines + b"x-amzn-RequestId: ", b"")

    def _send(self, head: bytes, body: bytes) -> int:
        if self.answered:
            return 0
        self.answered = True
        self.call = None
        self.then = None
        self.session.send(self, self._whole(head, len(body), b"" if self.request.method == b"HEAD" else body))
        return 0

    def head(self, head: bytes, size: int) -> bytes:
        """The whole head of an answer of so many bytes: `head` ends where the request's id is due."""
        return self._whole(head, size, b"")

    def _whole(self, head: bytes, size: int, body: bytes) -> bytes:
        if len(self.request.origin) > 0:
            head = head.replace(_LINE_END, _LINE_END + self.session.callers.cors.headers(self.request.origin), 1)
        end = _HEAD_END if self.request.keep_alive else _HEAD_END_CLOSE
        return b"".join((head, self.request_id, _LENGTH, str(size).encode(), end, body))


def failure_answer(status: int, text: str, lines: bytes) -> bytes:
    """The whole answer to what was no request, with these lines in its head; the connection closes after it."""
    body = text.encode(errors="replace") + b"\n"
    head = f"HTTP/1.1 {status} {STATUS_TEXTS[status]}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}\r\n"
    return b"".join((head.encode(), lines, b"Connection: close\r\n\r\n", body))
