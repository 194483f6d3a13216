"""What a GET without an action is answered: most likely somebody tries an endpoint, or a queue's URL, in a browser or with curl."""

from __future__ import annotations

from entrepot.protocols.sqs.accounts import is_account
from entrepot.protocols.sqs.characters import is_queue_name


def about(path: bytes) -> tuple[int, str]:
    """Status and text for a path. Whether a queue is there is not said: nobody has shown who it is."""
    if path == b"/":
        return 200, "Entrepot: Amazon SQS\n"
    account, _, name = path.decode("latin-1").strip("/").partition("/")
    if is_account(account) and is_queue_name(name):
        return 200, (
            f"This is the URL of an Amazon SQS queue: {name}, of account {account}. Hand it to an SDK or the AWS CLI as QueueUrl, with this host as the"
            " endpoint; messages are sent and received by requests of theirs, not by GET.\n"
        )
    return 404, "There are requests of Amazon SQS here, and queues at /ACCOUNT/NAME.\n"
