"""Web pages: kept out of what needs no signature, but for those of a listed origin, which get what browsers ask for (CORS)."""

import pytest
from port_double import Bench, http, json_request, parse_answers

from entrepot.model.errors import Refused
from entrepot.protocols.sqs.cors import Cors
from entrepot.protocols.sqs.framing import HEADERS_MAX

CREATE = json_request("CreateQueue", b'{"QueueName":"q"}')
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def answers(connection):
    return parse_answers(connection.received())


def statuses(connection):
    return [status for status, _, _ in answers(connection)]


def unsigned_benches():
    """Each way in which a request without a signature is somebody's."""
    guest = Bench()
    user = Bench(anonymous="ann")
    user.users.add_user("ann", "secret-password")
    opened = Bench()
    opened.port.namespaces["public/default"] = None
    connection = opened.session()
    connection.send(CREATE)
    opened.users.add_user("ann", "secret-password")
    return {"guest": guest, "sqs.anonymous": user, "policy": opened}


WAYS = list(unsigned_benches())
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
LIST = http(b"Action=ListQueues", FORM)
UNSIGNED_SEND = http(
    b'{"QueueUrl":"/000000000000/q","MessageBody":"x"}', {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": "AmazonSQS.SendMessage"}
)


def refusal(connection):
    [(status, _, body)] = parse_answers(connection.received())
    assert status == 403
    return body.decode()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "header",
    [
        {"Origin": "http://evil.test"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Referer": "http://evil.test/"},
    ],
)
def test_web_pages_are_no_guests(way, header):
    connection = unsigned_benches()[way].session()
    for request in (http(b"Action=CreateQueue&QueueName=q", FORM | header), http(b"", header, "GET", "/?Action=ListQueues")):
        connection.send(request)
        assert "Requests of web pages must be signed" in refusal(connection)
    for action, target in (("ListQueues", {}), ("SendMessage", {})):
        connection.send(http(b"{}", {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"AmazonSQS.{action}"} | target | header))
        assert "Requests of web pages must be signed" in refusal(connection)


PAGE = "http://localhost:3000"
PREFLIGHT = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type,x-amz-target"}


def preflight(**changed):
    return http(b"", {name: value for name, value in (PREFLIGHT | changed).items() if value}, "OPTIONS")


def test_a_page_of_a_listed_origin_may_call_and_read():
    connection = Bench(origins=(PAGE,)).session()
    connection.send(preflight() + preflight(**{"Access-Control-Request-Private-Network": "true"}))
    [(status, headers, body), (_, private, _)] = answers(connection)
    assert (status, body) == (200, b"")
    assert headers["access-control-allow-origin"] == PAGE
    assert headers["access-control-allow-headers"] == PREFLIGHT["Access-Control-Request-Headers"]
    assert headers["access-control-allow-methods"] == "GET, POST"
    assert headers["vary"] == "Origin"
    assert "access-control-allow-private-network" not in headers
    assert private["access-control-allow-private-network"] == "true"
    browser = {"Origin": PAGE, "Referer": f"{PAGE}/", "Sec-Fetch-Site": "same-site"}
    for request in (
        http(b'{"QueueName":"q"}', {"X-Amz-Target": "AmazonSQS.CreateQueue"} | browser),
        http(b'{"QueueUrl":"/000000000000/q","MessageBody":"hello"}', {"X-Amz-Target": "AmazonSQS.SendMessage"} | browser),
        http(b"Action=ListQueues", FORM | browser),
    ):
        connection.send(request)
        [(status, headers, _)] = answers(connection)
        assert (status, headers["access-control-allow-origin"], headers["vary"]) == (200, PAGE, "Origin")
        assert "x-amzn-query-error" in headers["access-control-expose-headers"]
    connection.send(json_request("SendMessage", b"{"))
    [(_, headers, _)] = answers(connection)
    assert "access-control-allow-origin" not in headers  # no page asked


@pytest.mark.parametrize("origins", [(), (PAGE,), ("*",)])
@pytest.mark.parametrize("origin", ["http://evil.test", "null", "http://localhost:3000.evil.test", "http://localhost:30001", "https://localhost:3000"])
def test_any_other_page_is_no_guest_whatever_is_listed(origins, origin):
    """`*` lets pages read what they have signed for; a guest signs nothing that is looked at."""
    connection = Bench(origins=origins).session()
    for request in (
        http(b"Action=CreateQueue&QueueName=q", FORM | {"Origin": origin}),
        http(b"{}", {"X-Amz-Target": "AmazonSQS.ListQueues", "Origin": origin}),
    ):
        connection.send(request)
        [(status, headers, _)] = answers(connection)
        assert status == 403
        assert headers.get("access-control-allow-origin") == ("*" if origins == ("*",) else None)
    connection.send(preflight(Origin=origin))
    assert statuses(connection) == [200 if origins == ("*",) else 405]


TOO_LONG = http(b"", {"Origin": PAGE}).replace(b"Content-Length: 0", b"Content-Length: 4194305")


def too_long(connection):
    connection.send(TOO_LONG + b"x" * 4_194_305)


def too_many_headers(connection):
    connection.send(b"POST / HTTP/1.1\r\nOrigin: " + PAGE.encode() + b"\r\n" + b"A: x\r\n" * (HEADERS_MAX + 1) + b"\r\n")


def no_room(connection):
    connection.send(TOO_LONG + b"x")
    connection.session.overrun()
    connection.bench.turn()


@pytest.mark.parametrize(("failing", "status"), [(too_long, 413), (too_many_headers, 431), (no_room, 503)])
@pytest.mark.parametrize(("origins", "allowed"), [((PAGE,), PAGE), (("*",), "*"), ((), None), (("http://localhost:3001",), None)])
def test_a_page_may_read_why_its_request_was_cut_short(failing, status, origins, allowed):
    connection = Bench(origins=origins).session()
    failing(connection)
    [(found, headers, body)] = answers(connection)
    assert (found, headers["connection"], headers.get("access-control-allow-origin")) == (status, "close", allowed)
    assert len(body) == int(headers["content-length"]) > 0


def test_what_follows_the_request_of_a_page_is_not_its():
    """A failure is of the request in which it was: the origin of the one before says nothing."""
    connection = Bench(origins=(PAGE,)).session()
    connection.send(http(b"Action=ListQueues", FORM | {"Origin": PAGE}) + b"no HTTP\r\n\r\n")
    [(_, first, _), (status, headers, _)] = answers(connection)
    assert (first["access-control-allow-origin"], status) == (PAGE, 400)
    assert "access-control-allow-origin" not in headers


def test_a_listed_origin_does_not_vouch_for_the_host():
    connection = Bench(origins=(PAGE,)).session()
    connection.send(http(b"Action=ListQueues", FORM | {"Origin": PAGE}).replace(b"sqs.test:9324", b"evil.test"))
    assert statuses(connection) == [403]
    connection.send(http(b"Action=ListQueues", FORM | {"Referer": f"{PAGE}/", "Sec-Fetch-Site": "same-site"}))
    assert statuses(connection) == [403]


@pytest.mark.parametrize("changed", [{"Access-Control-Request-Method": ""}, {"Origin": ""}])
def test_what_is_no_preflight(changed):
    connection = Bench(origins=(PAGE, "*")).session()
    connection.send(preflight(**changed))
    assert statuses(connection) == [405]


@pytest.mark.parametrize("wanted", ["a\tb", "a, <b>", "x" * 1025])
def test_a_preflight_is_not_answered_with_just_anything(wanted):
    connection = Bench(origins=(PAGE,)).session()
    connection.send(preflight(**{"Access-Control-Request-Headers": wanted}))
    [(status, headers, _)] = answers(connection)
    assert (status, "access-control-allow-headers" in headers) == (200, False)


def test_a_request_has_one_origin():
    connection = Bench(origins=(PAGE,)).session()
    connection.send(http(b"Action=ListQueues", FORM | {"Origin": PAGE, "origin": "http://evil.test"}))
    assert statuses(connection) == [400]


@pytest.mark.parametrize("origin", ["null", "localhost", "http://a/", "http://a/b", "HTTP://a", "http://a:b", "http://*.a", "", "http://a\r\nX: y"])
def test_settings_that_are_no_origins(origin):
    with pytest.raises(Refused, match="allowed_origins"):
        Cors((origin,))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("host", ["evil.test", "evil.test:9324", "", "0.0.0.0:9324"])
def test_a_name_that_leads_here_is_not_ours(way, host):
    """After DNS rebinding a page's requests are of the same origin: only Host says whose."""
    connection = unsigned_benches()[way].session()
    for request in (LIST, http(b"", {}, "GET", "/?Action=CreateQueue&QueueName=q"), UNSIGNED_SEND):
        connection.send(request.replace(b"Host: sqs.test:9324\r\n", f"Host: {host}\r\n".encode()))
        assert "http_hosts" in refusal(connection)
        connection.send(request.replace(b"Host: sqs.test:9324\r\n", b""))
        assert "http_hosts" in refusal(connection)


def test_a_right_host_does_not_vouch_for_the_next():
    connection = Bench().session()
    for host, status in (
        (b"127.0.0.1", 200),
        (b"localhost:9324", 200),
        (b"evil.test", 403),
        (b"localhost:9324", 200),
        (b"sqs.test:9324", 200),
        (b"sqs.test.evil", 403),
    ):
        connection.send(LIST.replace(b"sqs.test:9324", host))
        assert statuses(connection) == [status]


def test_two_hosts_are_no_request():
    connection = Bench().session()
    connection.send(LIST.replace(b"Host:", b"Host: 127.0.0.1\r\nHost:"))
    assert statuses(connection) == [400]


@pytest.mark.parametrize("header", [{"Sec-Fetch-Site": "none"}, {"Sec-Fetch-Site": "none", "User-Agent": FIREFOX}])
def test_who_types_an_address_may_read(header):
    connection = Bench().session()
    connection.send(CREATE)
    connection.received()
    connection.send(http(b"", header, "GET", "/?Action=ListQueues"))
    assert statuses(connection) == [200]
    for action in (
        "CreateQueue&QueueName=r",
        "DeleteQueue&QueueUrl=/000000000000/q",
        "PurgeQueue&QueueUrl=/000000000000/q",
        "ReceiveMessage&QueueUrl=/000000000000/q",
    ):
        connection.send(http(b"", header, "GET", f"/?Action={action}"))
        assert "may only read" in refusal(connection)


def test_programs_are_no_browsers():
    """What Node's fetch, curl and SDKs say of themselves."""
    for header in ({"Sec-Fetch-Mode": "cors", "User-Agent": "node"}, {"User-Agent": "curl/8.5.0"}, {"User-Agent": "Boto3/1.40 md/Botocore#1.40 ua/2.1"}):
        connection = Bench().session()
        connection.send(http(b"Action=CreateQueue&QueueName=q", FORM | header))
        assert statuses(connection) == [200]
