"""Regions: one, whatever clients sign for; or, by a setting, a queue is of the region that its requests are signed for."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqs_endpoint import ACCOUNT, BAD_VALUE, NO_QUEUE, REGION, Queue, client, new_name, redrive, refused

ABROAD = "eu-west-1"


@pytest.fixture(scope="module")
def apart(is_entrepot: bool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A broker whose regions are apart."""
    if not is_entrepot:
        pytest.skip("the endpoint's regions are not ours")
    from entrepot.testing import Broker

    with Broker(tmp_path_factory.mktemp("regions") / "data", listeners=("amqp", "sqs", "http"), settings={"sqs.regions": "apart"}) as broker:
        yield broker


@pytest.fixture(params=["json", "query"])
def model(request: pytest.FixtureRequest) -> Path | None:
    """Both wire protocols."""
    return None if request.param == "json" else request.getfixturevalue("query_model")


def entrepot(*arguments: str) -> str:
    """A command of a user's, before the broker runs."""
    return subprocess.run([sys.executable, "-m", "entrepot", *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def in_regions(broker: Any, model: Path | None = None) -> list[Any]:
    """A client at home, and one abroad."""
    return [client(f"http://127.0.0.1:{broker.port('sqs')}", model=model, region_name=region) for region in (REGION, ABROAD)]


@pytest.mark.usefixtures("as_documented")
def test_by_default_there_is_one(endpoint: str, sqs: Any, queue: Queue) -> None:
    with closing(client(endpoint, region_name=ABROAD)) as other:
        assert other.get_queue_url(QueueName=queue.name)["QueueUrl"] == queue.url
        other.send_message(QueueUrl=queue.url, MessageBody="x")
        assert Queue(other, queue.url).arn == queue.arn == f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue.name}"
    assert queue.one()["Body"] == "x"


def test_apart_a_queue_is_of_the_region_that_is_signed_for(apart: Any, model: Path | None) -> None:
    name = new_name()
    queues = []
    for sqs in in_regions(apart, model):
        url = sqs.create_queue(QueueName=name, Attributes={"DelaySeconds": str(len(queues))})["QueueUrl"]
        queues.append(Queue(sqs, url))
    home, abroad = queues
    assert home.url == abroad.url, "the host is the one that was called: only the signature says which"
    assert (home.arn, abroad.arn) == (f"arn:aws:sqs:{REGION}:{ACCOUNT}:{name}", f"arn:aws:sqs:{ABROAD}:{ACCOUNT}:{name}")
    abroad.send("abroad")
    assert home.receive() == []
    assert abroad.one()["Body"] == "abroad"
    home.sqs.delete_queue(QueueUrl=home.url)
    assert abroad.attribute("DelaySeconds") == "1"
    with refused(NO_QUEUE):
        home.sqs.get_queue_url(QueueName=name)
    with refused(NO_QUEUE):
        home.sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=ACCOUNT)
    assert abroad.sqs.get_queue_url(QueueName=name, QueueOwnerAWSAccountId=ACCOUNT)["QueueUrl"] == abroad.url


def test_apart_dead_letters_stay_in_their_region(apart: Any) -> None:
    home, abroad = in_regions(apart)
    name = new_name()
    at_home = Queue(home, home.create_queue(QueueName=name)["QueueUrl"])
    there = Queue(abroad, abroad.create_queue(QueueName=name)["QueueUrl"])
    with refused(BAD_VALUE):
        abroad.create_queue(QueueName=new_name(), Attributes={"RedrivePolicy": redrive(at_home, 3)})
    source = Queue(abroad, abroad.create_queue(QueueName=new_name(), Attributes={"RedrivePolicy": redrive(there, 1)})["QueueUrl"])
    assert json.loads(source.attribute("RedrivePolicy"))["deadLetterTargetArn"] == there.arn
    assert abroad.start_message_move_task(SourceArn=there.arn)["TaskHandle"]
    assert abroad.list_message_move_tasks(SourceArn=there.arn)["Results"][0]["SourceArn"] == there.arn


def test_what_was_kept_before_they_were_apart_is_of_the_home_region(is_entrepot: bool, tmp_path: Path) -> None:
    """Also what AMQP's clients see: the home region is the account's own virtual host, another one has one of its own."""
    if not is_entrepot:
        pytest.skip("the endpoint's regions are not ours")
    from entrepot.testing import Broker

    name = new_name()
    with Broker(tmp_path / "data", listeners=("sqs", "http")) as broker:
        _, abroad = in_regions(broker)
        queue = Queue(abroad, abroad.create_queue(QueueName=name)["QueueUrl"])
        queue.send("kept")
    with Broker(tmp_path / "data", listeners=("sqs", "http"), settings={"sqs.regions": "apart"}) as broker:
        home, abroad = in_regions(broker)
        with refused(NO_QUEUE):
            abroad.get_queue_url(QueueName=name)
        assert Queue(home, home.get_queue_url(QueueName=name)["QueueUrl"]).one()["Body"] == "kept"
        abroad.create_queue(QueueName=name)
        broker.kill()
        broker.start()
        for sqs in in_regions(broker):
            assert sqs.get_queue_url(QueueName=name)["QueueUrl"]


def test_a_user_s_regions_are_made_and_given(is_entrepot: bool, tmp_path: Path) -> None:
    """By an administrator: a namespace for the region, which the user may use."""
    if not is_entrepot:
        pytest.skip("the endpoint's users are not ours")
    from entrepot.testing import Broker

    data = tmp_path / "data"
    where = ("--data", str(data))
    given = f"public/team:{ABROAD}"
    entrepot("users", "add", "ann", "--password", "correct horse", "--namespace", "public/team", "--namespace", given, *where)
    key_id, secret = entrepot("users", "keys", "add", "ann", *where).split()
    settings = {"sqs.regions": "apart", "namespaces": f"public/default,public/team,{given}"}
    with Broker(data, listeners=("sqs", "http"), settings=settings) as broker:
        endpoint = f"http://127.0.0.1:{broker.port('sqs')}"
        keys = {"aws_access_key_id": key_id, "aws_secret_access_key": secret}
        home, abroad, elsewhere = (client(endpoint, region_name=region, **keys) for region in (REGION, ABROAD, "ap-south-1"))
        name = new_name()
        queues = [Queue(sqs, sqs.create_queue(QueueName=name)["QueueUrl"]) for sqs in (home, abroad)]
        assert [queue.arn.split(":")[3] for queue in queues] == [REGION, ABROAD]
        assert queues[0].arn.split(":")[4] == queues[1].arn.split(":")[4]
        queues[1].send("abroad")
        assert queues[0].receive() == []
        assert queues[1].one()["Body"] == "abroad"
        with refused("AccessDenied", "ap-south-1", status=403):
            elsewhere.create_queue(QueueName=name)
