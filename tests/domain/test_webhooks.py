"""The rules of webhooks: addresses, the schedule of attempts, what an answer means."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import pytest

from domain import webhooks as rules
from domain.webhooks import Outcome, UrlFault, url_fault

PROJECT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example/events",
        "https://shop.example:8443/a/b?c=d",
        "https://xn--fiq228c.example./x",
        "https://93.184.216.34/events",
    ],
)
def test_an_address_in_public_is_taken(url: str) -> None:
    assert url_fault(url, private_networks=False) is None


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("http://shop.example/", UrlFault.NOT_HTTPS),
        ("ftp://shop.example/", UrlFault.NOT_HTTPS),
        ("https://user:password@shop.example/", UrlFault.USER_INFO),
        ("https://@shop.example/", UrlFault.USER_INFO),
        ("https://shop.example/#part", UrlFault.FRAGMENT),
        ("https://shop.example/#", UrlFault.FRAGMENT),
        ("https://localhost/", UrlFault.HOST),
        ("https://api.localhost/", UrlFault.HOST),
        ("https://intranet/", UrlFault.HOST),
        ("https://db.internal/", UrlFault.HOST),
        ("https://10.1.2.3/", UrlFault.HOST),
        ("https://169.254.169.254/", UrlFault.HOST),
        ("https://[::1]/", UrlFault.HOST),
        ("https://[::ffff:10.0.0.1]/", UrlFault.HOST),
        ("https://2130706433/", UrlFault.HOST),
        ("https://0x7f.0.0.1/", UrlFault.HOST),
        ("https://0177.0.0.01/", UrlFault.HOST),
        ("https://127.1/", UrlFault.HOST),
        ("https://127.0.0.1./", UrlFault.HOST),
        ("https://shop.example.0x7f/", UrlFault.HOST),
        ("https://sh op.example/", UrlFault.MALFORMED),
        ("https://shop.example\\@127.0.0.1/", UrlFault.MALFORMED),
        ("https://商店.example/", UrlFault.MALFORMED),
        ("https:///events", UrlFault.MALFORMED),
        ("https://shop.example:99999/", UrlFault.MALFORMED),
        ("https://shop.example:0/", UrlFault.MALFORMED),
        ("https://shop.example:22/", UrlFault.PORT),
        ("https://shop.example:80/", UrlFault.PORT),
        ("https://[v1.x]/", UrlFault.MALFORMED),
        ("shop.example/events", UrlFault.MALFORMED),
        ("https://shop.example/" + "x" * 500, UrlFault.TOO_LONG),
    ],
)
def test_an_address_that_could_lead_astray_is_refused_with_its_reason(url: str, fault: UrlFault) -> None:
    assert url_fault(url, private_networks=False) is fault


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/", "http://localhost/", "https://intranet/x", "http://10.0.0.9/"]
)
def test_a_developers_own_machine_is_taken_where_private_networks_are_allowed(url: str) -> None:
    assert url_fault(url, private_networks=True) is None


def test_the_schedule_lasts_three_days_and_grows() -> None:
    total = sum(rules.RETRY_PAUSES, timedelta())
    assert rules.DISABLED_AFTER < total < rules.DISABLED_AFTER + timedelta(hours=1)
    assert list(rules.RETRY_PAUSES[:-1]) == sorted(rules.RETRY_PAUSES[:-1])
    longest = total + total * rules.JITTER_PERCENT // 100
    assert longest < rules.GIVEN_UP_AFTER


def test_a_pause_is_made_longer_by_chance_and_never_shorter() -> None:
    pauses = [rules.retry_pause(1, timedelta(), percent) for percent in (0, 20)]
    assert pauses == [timedelta(seconds=5), timedelta(seconds=6)]


@pytest.mark.parametrize(("asked", "pause"), [(1, 30), (60, 60), (999_999, rules.MAX_RETRY_AFTER.total_seconds())])
def test_what_an_endpoint_asks_for_is_kept_between_the_schedule_and_an_hour(asked: int, pause: float) -> None:
    found = rules.retry_pause(2, timedelta(), 0, timedelta(seconds=asked))
    assert found == timedelta(seconds=pause)


def test_a_delivery_is_given_up_when_its_schedule_is_over_or_it_is_too_old() -> None:
    assert rules.retry_pause(rules.MAX_ATTEMPTS - 1, timedelta(days=3), 0) is not None
    assert rules.retry_pause(rules.MAX_ATTEMPTS, timedelta(days=3), 0) is None
    assert rules.retry_pause(1, rules.GIVEN_UP_AFTER, 0) is None


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, "delivered"),
        (204, "delivered"),
        (299, "delivered"),
        (301, "retry"),
        (307, "retry"),
        (400, "retry"),
        (404, "retry"),
        (410, "gone"),
        (500, "retry"),
        (None, "retry"),
    ],
)
def test_only_2xx_is_success_and_only_410_is_the_end(status: int | None, outcome: str) -> None:
    assert rules.outcome_of(status) is Outcome(outcome)


@pytest.mark.parametrize(
    ("status", "header", "seconds"),
    [
        (429, "30", 30),
        (503, " 5 ", 5),
        (500, "30", None),
        (429, "Wed, 21 Oct 2026 07:28:00 GMT", None),
        (429, "-5", None),
        (429, "1e9", None),
        (503, None, None),
    ],
)
def test_retry_after_is_read_in_seconds_of_429_and_503_only(
    status: int, header: str | None, seconds: int | None
) -> None:
    assert rules.read_retry_after(status, header) == (None if seconds is None else timedelta(seconds=seconds))


def test_every_event_that_the_code_writes_can_be_asked_for() -> None:
    pattern = re.compile(r"""['"]((?:payment|refund|binding|webhook_endpoint)\.[a-z_]+)['"]""")
    files = [*PROJECT.glob("storage/sql/*.sql"), *PROJECT.glob("workflows/*.py")]
    written = {name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))}
    assert len(written) > 15
    assert written - set(rules.EVENT_TYPES) == set()


def test_the_merchants_page_says_what_the_rules_say() -> None:
    page = (PROJECT / "docs" / "merchants" / "webhooks.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if line.startswith("| next try after"))
    shown = [cell.strip() for cell in row.strip("|").split("|")][1:]
    assert shown == [*dict.fromkeys(_in_words(pause) for pause in rules.RETRY_PAUSES), "given up"]
    for name in rules.EVENT_TYPES:
        family, _, word = name.partition(".")
        line = next(line for line in page.splitlines() if line.startswith(f"| `{family}.*`"))
        assert f"`{word}`" in line
    assert f"{rules.KEPT_DELIVERIES.days} days after a delivery ended" in page
    assert f"{rules.MAX_REPLAYED} at most" in page


def _in_words(pause: timedelta) -> str:
    seconds = pause.total_seconds()
    for unit, length in (("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= length:
            return f"{seconds / length:g} {unit}"
    return ""
