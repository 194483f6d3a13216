"""Errors as SQS answers them: one table with what each is called in AWS JSON and in the Query protocol, and its HTTP status.

In AWS JSON an error names its shape (`__type`), and the header x-amzn-query-error repeats the Query protocol's code and whose fault it is.
"""

from __future__ import annotations

from typing import NamedTuple

from entrepot.model.errors import Reason, Refused
from entrepot.model.names import without_vhosts


class ErrorCode(NamedTuple):
    """One error: `shape` in AWS JSON, `code` in Query; its HTTP status."""

    shape: str
    code: str
    status: int = 400

    @property
    def is_sender_fault(self) -> bool:
        """Whether the caller must change something, rather than try again."""
        return self.status < 500


_OLD = "AWS.SimpleQueueService."


def _table(*codes: ErrorCode) -> dict[str, ErrorCode]:
    return {code.shape: code for code in codes}


ERRORS = _table(
    # of the service's model
    ErrorCode("BatchEntryIdsNotDistinct", _OLD + "BatchEntryIdsNotDistinct"),
    ErrorCode("BatchRequestTooLong", _OLD + "BatchRequestTooLong"),
    ErrorCode("EmptyBatchRequest", _OLD + "EmptyBatchRequest"),
    ErrorCode("InvalidAddress", "InvalidAddress", 404),
    ErrorCode("InvalidAttributeName", "InvalidAttributeName"),
    ErrorCode("InvalidAttributeValue", "InvalidAttributeValue"),
    ErrorCode("InvalidBatchEntryId", _OLD + "InvalidBatchEntryId"),
    ErrorCode("InvalidIdFormat", "InvalidIdFormat", 404),
    ErrorCode("InvalidMessageContents", "InvalidMessageContents"),
    ErrorCode("InvalidSecurity", "InvalidSecurity", 403),
    ErrorCode("KmsAccessDenied", "KMS.AccessDeniedException"),
    ErrorCode("KmsDisabled", "KMS.DisabledException"),
    ErrorCode("KmsInvalidKeyUsage", "KMS.InvalidKeyUsageException"),
    ErrorCode("KmsInvalidState", "KMS.InvalidStateException"),
    ErrorCode("KmsNotFound", "KMS.NotFoundException"),
    ErrorCode("KmsOptInRequired", "KMS.OptInRequired", 403),
    ErrorCode("KmsThrottled", "KMS.ThrottlingException"),
    ErrorCode("MessageNotInflight", _OLD + "MessageNotInflight"),
    ErrorCode("OverLimit", "OverLimit", 403),
    ErrorCode("PurgeQueueInProgress", _OLD + "PurgeQueueInProgress", 403),
    ErrorCode("QueueDeletedRecently", _OLD + "QueueDeletedRecently"),
    ErrorCode("QueueDoesNotExist", _OLD + "NonExistentQueue"),
    ErrorCode("QueueNameExists", "QueueAlreadyExists"),
    ErrorCode("ReceiptHandleIsInvalid", "ReceiptHandleIsInvalid", 404),
    ErrorCode("RequestThrottled", "RequestThrottled", 403),
    ErrorCode("ResourceNotFoundException", "ResourceNotFoundException", 404),
    ErrorCode("TooManyEntriesInBatchRequest", _OLD + "TooManyEntriesInBatchRequest"),
    ErrorCode("UnsupportedOperation", _OLD + "UnsupportedOperation"),
    # of every service
    ErrorCode("InvalidParameterValueException", "InvalidParameterValue"),
    ErrorCode("InvalidParameterCombinationException", "InvalidParameterCombination"),
    ErrorCode("MissingRequiredParameterException", "MissingParameter"),
    ErrorCode("MalformedInput", "MalformedInput"),
    ErrorCode("SerializationException", "MalformedQueryString"),
    ErrorCode("UnknownOperationException", "InvalidAction"),
    ErrorCode("AccessDeniedException", "AccessDenied", 403),
    ErrorCode("MissingAuthenticationTokenException", "MissingAuthenticationToken", 403),
    ErrorCode("IncompleteSignatureException", "IncompleteSignature", 400),
    ErrorCode("UnrecognizedClientException", "InvalidClientTokenId", 403),
    ErrorCode("InvalidSignatureException", "SignatureDoesNotMatch", 403),
    ErrorCode("RequestExpiredException", "RequestExpired", 403),
    ErrorCode("InternalFailure", "InternalFailure", 500),
    ErrorCode("ServiceUnavailableException", "ServiceUnavailable", 503),
)

NO_QUEUE = "The specified queue does not exist."
NO_QUEUE_QUERY = "The specified queue does not exist for this wsdl version."  # the same in the Query protocol
FAULTS = frozenset({"InternalFailure", "ServiceUnavailableException"})


class SqsError(Exception):
    """What a request, or an entry of a batch, is answered with instead of its result."""

    def __init__(self, shape: str, text: str) -> None:
        super().__init__(text)
        self.code = ERRORS[shape]
        self.text = text


def invalid_value(text: str) -> SqsError:
    """A parameter that the action does not take."""
    return SqsError("InvalidParameterValueException", text)


def missing(name: str) -> SqsError:
    """A parameter without which there is nothing to do."""
    return SqsError("MissingRequiredParameterException", f"The request must contain the parameter {name}.")


def no_queue() -> SqsError:
    """The queue is not there."""
    return SqsError("QueueDoesNotExist", NO_QUEUE)


def unavailable() -> SqsError:
    """Certainly not done."""
    return SqsError("ServiceUnavailableException", "The broker cannot do this now; nothing was changed. Try again.")


def access_denied(action: str) -> SqsError:
    """The principal may not."""
    return SqsError("AccessDeniedException", f"Access to the resource is denied: sqs:{action} is not allowed to the caller.")


_BY_REASON = {
    Reason.NOT_FOUND: "QueueDoesNotExist",
    Reason.NOT_PERMITTED: "AccessDeniedException",
    Reason.UNAUTHENTICATED: "AccessDeniedException",
    Reason.EXISTS_DIFFERENT: "QueueNameExists",
    Reason.LOCKED: "AccessDeniedException",
    Reason.LIMIT: "OverLimit",
    Reason.FULL: "ServiceUnavailableException",
    Reason.NOT_SUPPORTED: "UnsupportedOperation",
}


def from_refused(refused: Refused) -> SqsError:
    """A refusal of the broker's as SQS says it, where the action has no better word."""
    if refused.reason is Reason.NOT_FOUND:
        return no_queue()
    return SqsError(_BY_REASON.get(refused.reason, "InvalidParameterValueException"), without_vhosts(str(refused)))
