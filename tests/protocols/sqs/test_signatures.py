"""SigV4 against botocore's signer, users and policies: who may do what."""

import base64
import json
import time
from urllib.parse import urlencode

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from aws_client import client
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st
from port_double import NOW_MS, Bench, http, parse_answers

from both_modes import examples
from entrepot.broker.users.secret_box import SecretBox
from entrepot.entropy import SystemEntropy
from entrepot.model.errors import Reason, Refused
from entrepot.net.session import Peer
from entrepot.net.unfinished import Unfinished
from entrepot.protocols.sqs.accounts import Accounts
from entrepot.protocols.sqs.actions import ACTIONS
from entrepot.protocols.sqs.errors import SqsError
from entrepot.protocols.sqs.framing import Request
from entrepot.protocols.sqs.session import Shared
from entrepot.protocols.sqs.sigv4 import CREDENTIAL_MAX, SIGNED_MAX, Verifier, read_claim

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
AT = "20150830T123600Z"
AT_MS = 1_440_938_160_000


def request_of(method, target, headers, body=b""):
    request = Request()
    request.method, request.target, request.body = method.encode(), target.encode(), body
    request.headers = [part for name, value in headers for part in (name.encode(), value.encode())]
    request.authorization = request.header(b"authorization") or b""
    return request


def headers_of(request):
    texts = [octets.decode("latin-1") for octets in request.headers]
    return list(zip(texts[::2], texts[1::2], strict=True))


# Published examples of the algorithm: the service is called "service", the key AKIDEXAMPLE.
PUBLISHED = [
    ("GET", "/", [], b"", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
    ("GET", "/?Param2=value2&Param1=value1", [], b"", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"),
    ("POST", "/", [], b"", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
]
EXAMPLE_SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


@pytest.mark.parametrize(("method", "target", "headers", "body", "signature"), PUBLISHED)
def test_published_examples(method, target, headers, body, signature):
    authorization = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, SignedHeaders=host;x-amz-date, Signature={signature}"
    request = request_of(method, target, [("Host", "example.amazonaws.com"), ("X-Amz-Date", AT), *headers, ("Authorization", authorization)], body)
    Verifier().verify(request, read_claim(request), EXAMPLE_SECRET, AT_MS)
    with pytest.raises(SqsError, match="does not match"):
        Verifier().verify(request, read_claim(request), EXAMPLE_SECRET + "x", AT_MS)


def signed(method, url, headers, body, presign=False, token=None):
    made = botocore.awsrequest.AWSRequest(method=method, url=url, headers=headers, data=body)
    credentials = botocore.credentials.Credentials("AKID", SECRET, token)
    signer = botocore.auth.SigV4QueryAuth(credentials, "sqs", "eu-west-1", 600) if presign else botocore.auth.SigV4Auth(credentials, "sqs", "eu-west-1")
    signer.add_auth(made)
    prepared = made.prepare()
    target = prepared.url.split("9324", 1)[1]
    pairs = [("Host", "h:9324"), *((name, value) for name, value in prepared.headers.items() if name.lower() not in ("host", "content-length"))]
    return request_of(method, target, pairs, body)


texts = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=20)


@given(st.dictionaries(st.from_regex(r"[A-Za-z][A-Za-z0-9._-]{0,10}", fullmatch=True), texts, max_size=4), st.binary(max_size=50), st.booleans())
@settings(max_examples=examples(60), deadline=None)
def test_what_botocore_signs_is_right_and_any_change_is_not(parameters, body, presign):
    request = signed(
        "POST" if not presign else "GET", f"http://h:9324/a%20b/c?{urlencode(parameters)}", {"X-Amz-Target": "AmazonSQS.X"}, b"" if presign else body, presign
    )
    now_ms = time.time_ns() // 1_000_000
    claim = read_claim(request)
    verifier = Verifier()
    verifier.verify(request, claim, SECRET, now_ms)
    changed = request_of(request.method.decode(), request.target.decode(), headers_of(request), body + b"x")
    with pytest.raises(SqsError):
        verifier.verify(changed, claim, SECRET, now_ms)
    with pytest.raises(SqsError, match="xpired"):
        verifier.verify(request, claim, SECRET, now_ms + 16 * 60_000)
    with pytest.raises(SqsError):
        verifier.verify(request, claim, SECRET, now_ms - 16 * 60_000)


def test_a_session_token_is_signed_and_otherwise_not_looked_at():
    request = signed("POST", "http://h:9324/", {}, b"x", token="FwoGZXIvYXdzE")
    Verifier().verify(request, read_claim(request), SECRET, time.time_ns() // 1_000_000)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Authorization", "Basic abc"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=a/b/c"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20150830/r/s/aws4_request, SignedHeaders=host"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20150830/r/aws4_request, SignedHeaders=host, Signature=0"),
        ("Authorization", "AWS4-HMAC-SHA256 Credential=AKID/20150831/r/s/aws4_request, SignedHeaders=host, Signature=0"),
    ],
)
def test_signatures_that_are_not_whole(name, value):
    with pytest.raises(SqsError) as caught:
        read_claim(request_of("GET", "/", [("X-Amz-Date", AT), (name, value)]))
    assert caught.value.code.shape == "IncompleteSignatureException"


def test_who_cannot_sign_leaves_nothing_behind():
    names = ";".join(["host", "x-amz-date", *(f"h{number}" for number in range(SIGNED_MAX))])
    head = f"AWS4-HMAC-SHA256 Credential=K/20150830/us-east-1/sqs/aws4_request, SignedHeaders={names}, Signature=0"
    with pytest.raises(SqsError, match="over 100 headers"):
        read_claim(request_of("POST", "/", [("Host", "h"), ("X-Amz-Date", AT), ("Authorization", head)]))
    head = f"AWS4-HMAC-SHA256 Credential={'K' * CREDENTIAL_MAX}/20150830/us-east-1/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature=0"
    with pytest.raises(SqsError, match="256 characters"):
        read_claim(request_of("POST", "/", [("Host", "h"), ("X-Amz-Date", AT), ("Authorization", head)]))
    verifier = Verifier()
    for region in ("us-east-1", "eu-west-1"):
        head = f"AWS4-HMAC-SHA256 Credential=K/20150830/{region}/sqs/aws4_request, SignedHeaders=host;x-amz-date, Signature={'0' * 64}"
        request = request_of("POST", "/", [("Host", "h"), ("X-Amz-Date", AT), ("Authorization", head)])
        with pytest.raises(SqsError, match="does not match"):
            verifier.verify(request, read_claim(request), SECRET, AT_MS)
    assert not verifier._keys


def test_what_decides_the_meaning_must_be_signed():
    authorization = "AWS4-HMAC-SHA256 Credential=AKID/20150830/r/s/aws4_request, SignedHeaders=host;x-amz-date, Signature=0"
    request = request_of("POST", "/", [("Host", "h"), ("X-Amz-Date", AT), ("X-Amz-Target", "AmazonSQS.DeleteQueue"), ("Authorization", authorization)])
    with pytest.raises(SqsError, match="x-amz-target"):
        Verifier().verify(request, read_claim(request), SECRET, AT_MS)


# ---- users


@pytest.fixture
def bench():
    made = Bench(secrets=lambda: SecretBox(b"k" * 32, SystemEntropy()))
    made.clock.now_ms = time.time_ns() // 1_000_000  # botocore signs with the machine's own time
    made.users.add_user("ann", "secret-password")
    made.users.add_user("bob", "secret-password", ("public/bob",))
    made.port.namespaces["public/bob"] = None
    permits = {"ann": {"public/default"}, "bob": {"public/bob"}, "": set()}
    carry_out = made.port.carry_out

    def checked(call):
        """As the broker's authorize(): the namespaces of the user, or what the policy grants."""
        told = getattr(call, "request", call)
        name = getattr(told, "queue", None) or getattr(told, "name", None) or getattr(told, "source", "")
        queue = made.port.queues.get((call.attachment.namespace, name))
        known = queue is None or told.policy_version == queue.description.policy_version
        if known and not told.granted and call.attachment.namespace not in permits[call.attachment.principal.name]:
            made.port.complete(call, 2, Refused(Reason.NOT_PERMITTED, "no"))
        else:
            carry_out(call)

    made.port.carry_out = checked
    return made


def keyed(bench, user, **words):
    access_key, secret = bench.users.add_access_key(user)
    return client(bench, key_id=access_key.id, secret=words.pop("secret", secret), **words)


def code_of(call, **words):
    with pytest.raises(ClientError) as caught:
        call(**words)
    return caught.value.response["Error"]["Code"]


@pytest.mark.parametrize("protocol", ["json", "query"])
def test_users_sign(bench, protocol):
    ann = keyed(bench, "ann", protocol=protocol)
    url = ann.create_queue(QueueName="q")["QueueUrl"]
    ann.send_message(QueueUrl=url, MessageBody="h\u00e9")
    [message] = ann.receive_message(QueueUrl=url, AttributeNames=["SenderId"])["Messages"]
    assert message["Attributes"]["SenderId"] == "ann"
    assert code_of(keyed(bench, "ann", protocol=protocol, secret="wrong").list_queues) == "SignatureDoesNotMatch"
    assert code_of(client(bench, protocol, key_id="AKIANOBODY").list_queues) == "InvalidClientTokenId"
    assert code_of(client(bench, protocol, key_id=None).list_queues) == "MissingAuthenticationToken"
    bench.clock.now_ms += 16 * 60_000
    assert code_of(ann.list_queues) == "SignatureDoesNotMatch"


def test_a_deleted_key_signs_nothing(bench):
    access_key, secret = bench.users.add_access_key("ann")
    connection = bench.session()
    ann = client(bench, key_id=access_key.id, secret=secret, connection=connection)
    ann.list_queues()
    bench.users.delete_access_key(access_key.id)
    assert code_of(ann.list_queues) == "InvalidClientTokenId"


def test_accounts_of_users(bench):
    bob = keyed(bench, "bob")
    url = bob.create_queue(QueueName="q")["QueueUrl"]
    account = url.split("/")[3]
    assert account.startswith("9")
    assert len(account) == 12
    assert bob.get_queue_url(QueueName="q", QueueOwnerAWSAccountId=account)["QueueUrl"] == url
    assert bob.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"] == f"arn:aws:sqs:us-east-1:{account}:q"


def test_unsigned_bodies_are_bounded_over_all_connections(bench):
    """Many that hold what nobody has signed: all of it is within one limit, the oldest pay, and who signs is served."""
    strangers = Unfinished(16 << 20)
    unfinished = Unfinished(512 << 20)
    bench.shared = Shared(bench.callers, bench.clock, bench.entropy, bench.later.append, unfinished, strangers)
    known = bench.session()
    ann = keyed(bench, "ann", connection=known)
    ann.create_queue(QueueName="q")
    url = "http://127.0.0.1:9324/000000000000/q"
    connections = []
    for number in range(500):
        connections.append(bench.session())
        connections[-1].send(http(b"", {"X-Amz-Target": "AmazonSQS.SendMessage"}).replace(b"Content-Length: 0", b"Content-Length: 262144") + b"x" * 204_800)
        assert strangers.held_bytes <= strangers.limit_bytes
        if number % 100 == 50:
            ann.send_message(QueueUrl=url, MessageBody="x" * 250_000)
            keyed(bench, "ann").send_message(QueueUrl=url, MessageBody="y" * 250_000)
    bench.turn()
    ended = [connection.session.closing for connection in connections]
    left = ended.count(False)
    assert ended == [True] * (500 - left) + [False] * left
    assert 70 < left < 84
    assert unfinished.held_bytes == 0


@pytest.mark.parametrize("anonymous", ["", "ann"])
def test_who_signs_no_more_is_a_stranger_again(bench, anonymous):
    """Also where what is unsigned is a user's."""
    bench.callers._anonymous = anonymous
    strangers, unfinished = Unfinished(1 << 20), Unfinished(1 << 20)
    bench.shared = Shared(bench.callers, bench.clock, bench.entropy, bench.later.append, unfinished, strangers)
    connection = bench.session()
    begun = http(b"x" * 300_000, {"X-Amz-Target": "AmazonSQS.SendMessage"})
    keyed(bench, "ann", connection=connection).list_queues()
    connection.send(begun[:-1])
    assert (strangers.held_bytes, unfinished.held_bytes > 200_000) == (0, True)
    connection.send(begun[-1:] + begun[:-1])
    assert [status for status, _, _ in parse_answers(connection.received())] == [400]
    assert (strangers.held_bytes > 200_000, unfinished.held_bytes) == (True, 0)


def words_for(name, url):
    """The least of a request."""
    arn = "arn:aws:sqs:us-east-1:000000000000:q"
    entries = {
        "SendMessageBatch": [{"Id": "a", "MessageBody": "x"}],
        "DeleteMessageBatch": [{"Id": "a", "ReceiptHandle": HANDLE}],
        "ChangeMessageVisibilityBatch": [{"Id": "a", "ReceiptHandle": HANDLE, "VisibilityTimeout": 1}],
    }
    values = {
        "QueueUrl": url,
        "QueueName": "q",
        "MessageBody": "x",
        "ReceiptHandle": HANDLE,
        "VisibilityTimeout": 1,
        "Attributes": {"DelaySeconds": "1"},
        "Tags": {"a": "b"},
        "TagKeys": ["a"],
        "Label": "l",
        "AWSAccountIds": ["111111111111"],
        "Actions": ["SendMessage"],
        "SourceArn": arn,
        "TaskHandle": base64.b64encode(json.dumps({"taskId": "0" * 32, "sourceArn": arn}).encode()).decode(),
        "Entries": entries.get(name),
    }
    return {field: values[field] for field in ACTIONS[name].required}


HANDLE = "AWlpKF+QGW75ScK6quv6DYQAAAAAAAAAAQGiBnEMUsX3hj0AAAAAAAFzcljs"


@pytest.mark.parametrize("name", sorted(ACTIONS))
def test_no_action_is_open_to_strangers(bench, name):
    """Unsigned, and of a user of another account: denied, whether or not the queue is there."""
    ann = keyed(bench, "ann")
    url = ann.create_queue(QueueName="q")["QueueUrl"]
    own = name in ("CreateQueue", "ListQueues", "GetQueueUrl")
    body = json.dumps(words_for(name, url)).encode()
    for there in (body, body.replace(b"/q", b"/none").replace(b":q", b":none")):
        unsigned = bench.session()
        unsigned.send(http(there, {"X-Amz-Target": f"AmazonSQS.{name}", "Content-Type": "application/x-amz-json-1.0"}))
        [(status, headers, _)] = parse_answers(unsigned.received())
        assert status == 403
        assert headers["x-amzn-query-error"] == ("MissingAuthenticationToken;Sender" if own else "AccessDenied;Sender")
    words = words_for(name, url)
    call = getattr(keyed(bench, "bob"), "".join("_" + letter.lower() if letter.isupper() else letter for letter in name).lstrip("_"))
    if own and name != "GetQueueUrl":
        call(**words)  # in his own account
    elif name == "GetQueueUrl":
        assert code_of(call, **words, QueueOwnerAWSAccountId="000000000000") == "AccessDenied"
    else:
        assert code_of(call, **words) == "AccessDenied"


def test_a_policy_opens_a_queue(bench):
    ann, bob, nobody = keyed(bench, "ann"), keyed(bench, "bob"), client(bench, key_id=None)
    url = ann.create_queue(QueueName="q")["QueueUrl"]
    account = bob.create_queue(QueueName="own")["QueueUrl"].split("/")[3]
    ann.add_permission(QueueUrl=url, Label="l", AWSAccountIds=[account], Actions=["SendMessage"])
    bob.send_message(QueueUrl=url, MessageBody="x")
    assert code_of(bob.receive_message, QueueUrl=url) == "AccessDenied"
    assert code_of(nobody.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"
    ann.set_queue_attributes(
        QueueUrl=url,
        Attributes={
            "Policy": json.dumps(
                {
                    "Version": "2012-10-17",
                    "Statement": [
                        {
                            "Effect": "Allow",
                            "Principal": "*",
                            "Action": "sqs:*Message",
                            "Resource": "*",
                            "Condition": {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}},
                        },
                        {"Effect": "Deny", "Principal": {"AWS": f"arn:aws:iam::{account}:user/bob"}, "Action": "sqs:SendMessage"},
                        {"Effect": "Deny", "Principal": {"AWS": "arn:aws:iam::000000000000:user/ann"}, "Action": "SQS:PurgeQueue"},
                    ],
                }
            )
        },
    )
    nobody.send_message(QueueUrl=url, MessageBody="x")
    nobody.send_message(QueueUrl=url, MessageBody="x")
    assert code_of(bob.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"
    assert code_of(ann.purge_queue, QueueUrl=url) == "AccessDenied"
    ann.send_message(QueueUrl=url, MessageBody="x")
    elsewhere = client(bench, key_id=None, connection=bench.session(Peer("10.1.2.3", 1, False, "sqs", False)))
    assert code_of(elsewhere.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": ""})
    assert code_of(nobody.send_message, QueueUrl=url, MessageBody="x") == "AccessDenied"


def test_no_policy_gives_a_queue_away(bench):
    """What only the owner may do, a policy gives to nobody else: not to strangers, not to other accounts."""
    ann, bob, nobody = keyed(bench, "ann"), keyed(bench, "bob"), client(bench, key_id=None)
    url = ann.create_queue(QueueName="q")["QueueUrl"]
    ann.set_queue_attributes(QueueUrl=url, Attributes={"Policy": '{"Statement":[{"Effect":"Allow","Principal":"*","Action":"SQS:*"}]}'})
    for other in (bob, nobody):
        other.send_message(QueueUrl=url, MessageBody="x")
        assert code_of(other.set_queue_attributes, QueueUrl=url, Attributes={"DelaySeconds": "1"}) == "AccessDenied"
        assert code_of(other.add_permission, QueueUrl=url, Label="l", AWSAccountIds=["111111111111"], Actions=["*"]) == "AccessDenied"
        assert code_of(other.tag_queue, QueueUrl=url, Tags={"a": "b"}) == "AccessDenied"
        assert code_of(other.delete_queue, QueueUrl=url) == "AccessDenied"
    ann.delete_queue(QueueUrl=url)


def test_a_setting_gives_unsigned_requests_to_a_user():
    bench = Bench(anonymous="ann")
    bench.users.add_user("ann", "secret-password")
    nobody = client(bench, key_id=None)
    url = nobody.create_queue(QueueName="q")["QueueUrl"]
    nobody.send_message(QueueUrl=url, MessageBody="x")
    bench.users.delete_user("ann")
    bench.users.add_user("other", "secret-password")
    assert code_of(nobody.list_queues) == "AccessDenied"


# ---- accounts


def test_accounts_go_both_ways():
    namespaces = {"public/default": None, "public/123456789012": None, "tenant/name": None}
    made = []
    waits = []

    def create(name, done):
        made.append(name)
        if name in waits:
            return
        namespaces[name] = None

    accounts = Accounts(namespaces, create)
    for namespace in namespaces:
        assert accounts.maybe_namespace(accounts.account_of(namespace), "eu-west-1") == namespace
    assert accounts.account_of("public/default") == "000000000000"
    assert accounts.account_of("public/123456789012") == "123456789012"
    assert accounts.maybe_namespace("222222222222", "us-east-1") is None
    assert accounts.namespace_of_key_id("222222222222", "eu-west-1", print) == "public/222222222222"
    assert made == ["public/222222222222"]
    assert accounts.namespace_of_key_id("AKIA", "eu-west-1", print) == "public/default"
    waits.append("public/333333333333")
    assert accounts.namespace_of_key_id("333333333333", "eu-west-1", print) is None
    del namespaces["public/222222222222"]
    del namespaces["tenant/name"]  # as many as before
    namespaces["tenant/other"] = None
    assert accounts.maybe_namespace(accounts.account_of("tenant/other"), "eu-west-1") == "tenant/other"
    assert accounts.maybe_namespace(accounts.account_of("tenant/name"), "eu-west-1") is None
    assert NOW_MS > 0


def test_accounts_and_regions_go_both_ways():
    there = ("public/default", "public/default:eu-west-1", "public/123456789012", "public/123456789012:eu-west-1", "t/name", "t/name:eu-west-1", "t/a:B")
    namespaces = dict.fromkeys(there)
    accounts = Accounts(namespaces, lambda name, _: namespaces.__setitem__(name, None), apart=True)
    for namespace in there:
        assert accounts.maybe_namespace(accounts.account_of(namespace), accounts.region_of(namespace)) == namespace
    for namespace in there[:-1:2]:
        assert accounts.account_of(f"{namespace}:eu-west-1") == accounts.account_of(namespace)
        assert accounts.in_region(namespace, "eu-west-1") == accounts.in_region(f"{namespace}:eu-west-1", "eu-west-1") == f"{namespace}:eu-west-1"
        assert accounts.in_region(f"{namespace}:eu-west-1", "us-east-1") == namespace
        for nonsense in ("", "Eu", "a/b", "a:b", "x" * 33, "é"):
            assert accounts.in_region(namespace, nonsense) == namespace
    assert accounts.maybe_namespace("123456789012", "ap-south-1") is None
    assert accounts.namespace_of_key_id("AKIA", "ap-south-1", print) == "public/default:ap-south-1"
    assert accounts.namespace_of_key_id("222222222222", "ap-south-1", print) == "public/222222222222:ap-south-1"
    assert accounts.maybe_namespace("222222222222", "ap-south-1") == "public/222222222222:ap-south-1"
    assert accounts.maybe_namespace("222222222222", "us-east-1") is None


def test_a_user_s_regions_are_those_that_an_administrator_has_made(bench):
    """Where regions are apart, who signs for another one is in another namespace: nothing is made for a user, and nothing of the home region's is shown."""
    bench.accounts.apart = True
    connection = bench.session()
    access_key, secret = bench.users.add_access_key("ann")
    home = client(bench, key_id=access_key.id, secret=secret, connection=connection)
    url = home.create_queue(QueueName="q")["QueueUrl"]
    abroad = client(bench, key_id=access_key.id, secret=secret, connection=connection, region="eu-west-1")
    assert code_of(abroad.create_queue, QueueName="q") == "AccessDenied"
    assert code_of(abroad.send_message, QueueUrl=url, MessageBody="x") == "AWS.SimpleQueueService.NonExistentQueue"
    bench.port.namespaces["public/default:eu-west-1"] = None
    assert code_of(abroad.create_queue, QueueName="q2") == "AccessDenied"  # it must be given to her, too
    assert home.list_queues()["QueueUrls"] == [url]
