"""The table of APIs, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

from entrepot.protocols.kafka.apis import APIS, WITHOUT_LOGIN
from entrepot.protocols.kafka.error_codes import APPEND, CONSUMER_GROUP, GROUP, NAMING, OFFSETS_PARTITION, PARTITIONS, TOPIC, ErrorCode

DOCS = Path(__file__).parents[3] / "docs"


def test_the_guide_shows_the_table():
    text = (DOCS / "kafka.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.partition("| API | key | versions |")[2].partition("\n\n")[0].splitlines()[2:]]
    assert rows == [[api.name, str(api.key), f"{api.least} to {api.most}" if api.least < api.most else str(api.least)] for api in APIS.values()]


def test_only_what_comes_before_a_login_is_open():
    assert {APIS[key].name for key in WITHOUT_LOGIN} == {"ApiVersions", "SaslHandshake", "SaslAuthenticate"}


def test_codes_are_kafkas():
    from kio.schema.errors import ErrorCode as Kafkas

    assert {code.name.lower(): code.value for code in ErrorCode}.items() <= {code.name: code.value for code in Kafkas}.items()
    for table in (APPEND, CONSUMER_GROUP, GROUP, NAMING, OFFSETS_PARTITION, PARTITIONS, TOPIC):
        assert all(isinstance(code, ErrorCode) for code in table.values())
