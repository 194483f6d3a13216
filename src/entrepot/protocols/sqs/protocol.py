"""What Amazon SQS needs: its listeners and settings, and how it is spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from entrepot.model.errors import Reason, Refused
from entrepot.model.listeners import HTTP, ListenerKind, looks_like_http
from entrepot.protocol import Protocol, Site, Speaker
from entrepot.settings import Config, Section, key

if TYPE_CHECKING:
    from entrepot.broker.logs.entry_codec import EntryCodec
    from entrepot.protocols.sqs.accounts import Made
    from entrepot.protocols.sqs.listener import SqsListener


class SqsSection(Section, frozen=True):
    """Amazon SQS."""

    region: Annotated[str, key("region in the ARNs of queues")] = "us-east-1"
    regions: Annotated[
        Literal["one", "apart"],
        key("one: there is `region`, whatever clients sign for; apart: a queue is of the region that its requests are signed for, others do not see it"),
    ] = "one"
    account: Annotated[str, key("account of the namespace public/default, twelve digits; without users also of every key id that is not twelve digits")] = (
        "000000000000"
    )
    anonymous: Annotated[str, key("user whose requests without a signature are; empty: they may only do what a queue's own policy allows everybody")] = ""
    allowed_origins: Annotated[
        tuple[str, ...],
        key("origins of web pages whose scripts may call (CORS), as http://localhost:3000; * for all, which must sign then and need users"),
    ] = ()
    idle_s: Annotated[int, key("silence after which a connection is closed", unit="s", least=1, most=86_400)] = 120


class SqsLimits(Section, frozen=True):
    """What is SQS's alone of [limits]."""

    sqs_request_bytes: Annotated[int, key("the body of one SQS request", unit="bytes", at="it is answered 413", least=1 << 20, most=1 << 26)] = 4 << 20
    sqs_request_ms: Annotated[int, key("time an SQS request has to arrive", unit="ms", at="it is answered 408", least=1_000, most=3_600_000)] = 30_000


def speak(site: Site) -> Speaker:
    """Imported only where somebody listens: it is a large package. Refused where `sqs.account` is none."""
    from entrepot.broker.calls.administration import MakeNamespace
    from entrepot.protocols.sqs.accounts import Accounts, is_account
    from entrepot.protocols.sqs.callers import Callers
    from entrepot.protocols.sqs.cors import Cors
    from entrepot.protocols.sqs.figures import register
    from entrepot.protocols.sqs.listener import SqsListener
    from entrepot.protocols.sqs.session import Shared
    from entrepot.protocols.sqs.settings import Settings

    network = site.network
    sqs, limits = site.config.of(SqsSection), site.config.of(SqsLimits)
    if not is_account(sqs.account):
        raise Refused(Reason.INVALID, f"sqs.account = {sqs.account!r}: twelve digits are expected")

    def create(namespace: str, made: Made) -> None:
        site.administration.ask(MakeNamespace(namespace), lambda error, _: network.loop.call_soon(made, error))

    accounts = Accounts(site.decisions.catalogue.namespaces, create, sqs.account, sqs.region, apart=sqs.regions == "apart")
    callers = Callers(site.users, site.authenticator, accounts, sqs.anonymous, site.clock, site.pages, Cors(sqs.allowed_origins))
    shared = Shared(callers, site.clock, site.entropy, network.loop.call_soon, network.unfinished, network.strangers, network.turns)
    register(site.metrics, shared)
    settings = Settings(limits.sqs_request_bytes, limits.sqs_request_ms / 1000, sqs.idle_s)

    def make(name: str, host: str, port: int, namespace: str | None) -> SqsListener:
        assert namespace is None, "a request's signature names its account"
        return SqsListener(network, host, port, port=site.broker, settings=settings, shared=shared, tls=site.tls_of(LISTENERS[name]))

    return Speaker(make)


def _entry_codec(_: Config) -> EntryCodec:
    from entrepot.protocols.sqs.records import SqsEntryCodec

    return SqsEntryCodec()


LISTENERS = {
    "sqs": ListenerKind("Amazon SQS", HTTP, "127.0.0.1:9324", "http", "Amazon SQS: endpoint_url, AWS_ENDPOINT_URL_SQS"),
    "sqss": ListenerKind("Amazon SQS over TLS", HTTP, "", "https", "Amazon SQS, TLS", "sqs"),
}
PROTOCOL = Protocol(
    name="sqs",
    listeners=LISTENERS,
    looks={HTTP: looks_like_http},
    settings=SqsSection,
    limits=SqsLimits,
    entry_codec=_entry_codec,
    speak=speak,
)
