"""What a request without an action is answered: most likely somebody tries an endpoint, or a queue's URL, in a browser or with curl."""

from __future__ import annotations

from entrepot.protocols.sqs.accounts import is_account

UNKNOWN_OPERATION = "<UnknownOperationException/>\n"  # as Amazon SQS says it, with 404
OF_A_QUEUE = "<!-- This is the URL of an Amazon SQS queue: hand it to an SDK or to the AWS CLI as QueueUrl, with its host as the endpoint URL. -->\n"
OF_NOTHING = "<!-- Requests of Amazon SQS are served here; queues are at /ACCOUNT/NAME. -->\n"


def about(path: bytes) -> str:
    """The text for a path but `/`. Whether a queue is there is not said: nobody has shown who it is."""
    account, _, name = path.decode("latin-1").strip("/").partition("/")
    return UNKNOWN_OPERATION + (OF_A_QUEUE if is_account(account) and name and "/" not in name else OF_NOTHING)
