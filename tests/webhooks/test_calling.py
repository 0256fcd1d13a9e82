"""An address that a merchant chose does not lead into our own networks, whatever it says today or tomorrow."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from domain.webhooks import MAX_EXCERPT_CHARACTERS, Address
from tests.webhooks.receiver import Arrived, Receiver, Reply
from webhooks.calling import Answer, Caller, plain_transport

PUBLIC = "93.184.216.34"
URL = "https://merchant.example/events"


class Wire(httpx.AsyncBaseTransport):
    """Writes down what would have been sent, and where."""

    def __init__(self, unreachable: str = "") -> None:
        self.sent: list[httpx.Request] = []
        self._unreachable = unreachable

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.host == self._unreachable:
            raise httpx.ConnectError("no route")
        self.sent.append(request)
        return httpx.Response(204)


class Names:
    """A resolver whose answers a test changes."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[Address]:
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror("no such name")
        return [ip_address(text) for text in self.addresses]


async def post(wire: Wire, names: Names, url: str = URL, *, private_networks: bool = False) -> Answer:
    return await Caller(wire, names, private_networks=private_networks).post(url, {"webhook-id": "evt_1"}, b"{}")


async def test_the_connection_goes_to_the_address_that_was_checked_under_the_name_of_the_url() -> None:
    wire, names = Wire(), Names(PUBLIC)
    assert (await post(wire, names, "https://merchant.example:8443/a?b=c")).status == 204
    [request] = wire.sent
    assert (request.url.host, request.url.port) == (PUBLIC, 8443)
    assert request.url.raw_path == b"/a?b=c"
    assert request.headers["host"] == "merchant.example:8443"
    assert request.extensions["sni_hostname"] == "merchant.example"
    # Nobody resolves it a second time, so a name cannot lead elsewhere between the check and the connection.
    assert names.asked == 1


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.8", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",  # noqa: S104
        "255.255.255.255", "192.0.2.1", "198.18.0.1", "::1", "::", "fe80::1", "fd00::1", "ff02::1", "::ffff:10.0.0.1",
        "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "2002:7f00:1::", "2002:a00:1::1",
        "2001:0:7f00:1::", "::127.0.0.1", "fec0::1", "2001:db8::1",
    ],
)  # fmt: skip
async def test_a_name_that_leads_to_an_address_of_our_own_is_not_called(address: str) -> None:
    wire = Wire()
    assert await post(wire, Names(address)) == Answer(None, "address_not_allowed")
    assert await post(wire, Names(PUBLIC, address)) == Answer(None, "address_not_allowed")
    assert wire.sent == []


async def test_a_name_beyond_ascii_is_looked_up_and_proved_as_it_stands_in_the_name_system() -> None:
    asked: list[str] = []

    async def names(host: str, port: int) -> list[Address]:
        asked.append(host)
        return [ip_address(PUBLIC)]

    wire = Wire()
    # Not strasse.example, which may be somebody else's.
    await Caller(wire, names, private_networks=False).post("https://xn--strae-oqa.example/events", {}, b"{}")
    [request] = wire.sent
    assert (asked, request.extensions["sni_hostname"]) == (["xn--strae-oqa.example"], "xn--strae-oqa.example")
    assert request.headers["host"] == "xn--strae-oqa.example"


async def test_an_address_that_no_client_can_read_is_a_failed_attempt() -> None:
    assert (await post(Wire(), Names(PUBLIC), "https://[v1.x]/")).error is not None


async def test_a_name_that_leads_elsewhere_after_registration_gains_nothing() -> None:
    wire, names = Wire(), Names(PUBLIC)
    assert (await post(wire, names)).status == 204
    names.addresses = ["169.254.169.254"]
    assert (await post(wire, names)).error == "address_not_allowed"
    assert len(wire.sent) == 1


async def test_of_several_addresses_the_first_that_takes_a_connection_gets_it() -> None:
    wire, names = Wire(unreachable="2606:2800:220:1::1"), Names("2606:2800:220:1::1", PUBLIC)
    assert (await post(wire, names)).status == 204
    assert [request.url.host for request in wire.sent] == [PUBLIC]


async def test_a_public_address_behind_nat64_is_called() -> None:
    wire = Wire()
    assert (await post(wire, Names("64:ff9b::5db8:d822"))).status == 204


async def test_private_networks_are_called_where_the_deployment_allows_them_but_never_link_local_ones() -> None:
    wire = Wire()
    for address in ("10.0.0.8", "127.0.0.1", "fd00::1"):
        assert (await post(wire, Names(address), private_networks=True)).status == 204
    for address in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254"):
        assert (await post(wire, Names(address), private_networks=True)).error == "address_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://127.1/", "https://127.0.0.1/",
        "https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[fe80::1%25eth0]/", "http://merchant.example/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)  # fmt: skip
async def test_a_stored_address_that_is_not_allowed_any_more_is_not_called(url: str) -> None:
    wire, names = Wire(), Names(PUBLIC)
    assert (await post(wire, names, url)).error == "address_not_allowed"
    assert (wire.sent, names.asked) == ([], 0)


async def test_a_name_that_is_not_there_is_said_to_be_so() -> None:
    assert (await post(Wire(), Names())).error == "name_not_resolved"


async def test_a_name_server_that_never_answers_is_not_waited_for() -> None:
    async def never(host: str, port: int) -> list[Address]:
        await asyncio.Event().wait()
        return []

    assert (await Caller(Wire(), never, private_networks=False, timeout_seconds=0.05).post(URL, {}, b"")).error == (
        "timeout"
    )


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    opened = await Receiver().open()
    yield opened
    await opened.close()


async def call(url: str, transport: httpx.AsyncBaseTransport | None = None) -> Answer:
    transport = transport or plain_transport()
    try:
        caller = Caller(transport, Names("127.0.0.1"), private_networks=True, timeout_seconds=2)
        return await caller.post(url, {}, b"{}")
    finally:
        await transport.aclose()


async def test_of_an_answer_only_the_beginning_is_read_and_kept_in_print(receiver: Receiver) -> None:
    async def behave(_: Arrived) -> Reply:
        return Reply(500, {}, b"\x00\x1b[31mno\xff" + b"x" * 5_000_000)

    receiver.behaviour = behave
    answer = await call(receiver.url)
    assert answer.status == 500
    assert answer.body is not None
    assert len(answer.body) <= MAX_EXCERPT_CHARACTERS
    assert answer.body.isprintable()


async def test_cookies_of_one_answer_are_not_sent_with_the_next_call(receiver: Receiver) -> None:
    receiver.answers(204, Set_Cookie="a=b")
    transport = plain_transport()
    caller = Caller(transport, Names("127.0.0.1"), private_networks=True)
    for _ in range(2):
        await caller.post(receiver.url, {}, b"{}")
    await transport.aclose()
    assert "cookie" not in receiver.arrived[1].headers


async def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await call(receiver.url)).status == 204


async def test_a_port_where_nobody_listens_is_a_failed_connection(receiver: Receiver) -> None:
    url = receiver.url
    await receiver.close()
    assert (await call(url)).error == "connect_failed"


async def test_the_certificate_has_to_be_that_of_the_name(tmp_path: Path) -> None:
    server, trusted = _certificate("merchant.example", tmp_path)
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    receiver = await Receiver().open(server)
    port = receiver.port
    try:
        right = await call(f"https://merchant.example:{port}/", plain_transport(trusted))
        wrong = await call(f"https://other.example:{port}/", plain_transport(trusted))
        unknown = await call(f"https://merchant.example:{port}/")
    finally:
        await receiver.close()
    assert (right.status, wrong.error, unknown.error) == (204, "tls_failed", "tls_failed")
    assert asked == ["merchant.example", "other.example", "merchant.example"]
    assert receiver.arrived[0].headers["host"] == f"merchant.example:{port}"


def _certificate(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's context, and that of a client that trusts it and nobody else."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem, private)
    return server, ssl.create_default_context(cafile=str(pem))
