"""The rules of creating a message, by table."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest

from twilio_simulator.codes import Refusal
from twilio_simulator.messages import Account, Order, Template, order_of, refusal_of, text_of, unreachable_code
from twilio_simulator.phones import Phone

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
CONTENT_SID = "HX" + "a" * 32
ACCOUNT = Account(
    "AC" + "0" * 32,
    "+14155238886",
    templates={CONTENT_SID: Template("{{1}} nuovi annunci per {{2}}"), "HX" + "b" * 32: Template("{{1}}")},
)
GOOD = {"To": "whatsapp:+393335550101", "From": "whatsapp:+14155238886", "Body": "Ciao"}
TEMPLATE = {"ContentSid": CONTENT_SID, "ContentVariables": '{"1": "3", "2": "Roma"}'}
SERVICE_SID = "MG" + "0" * 32


def refused_with(fields: dict[str, str]) -> int | None:
    order = order_of(urlencode(fields).encode())
    refusal = order if isinstance(order, Refusal) else refusal_of(order, ACCOUNT)
    return refusal.code if refusal else None


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Body": "x" * 1600},
        {"Body": "🏠" * 800},
        {"From": "", "MessagingServiceSid": SERVICE_SID},
        {"Body": "", "MediaUrl": "https://example.org/flat.jpg"},
        {"Body": "", **TEMPLATE},
        {"StatusCallback": "http://127.0.0.1:8003/twilio/status?n=1&a=2#rc=3&rp=all"},
        {"ValidityPeriod": "1"},
        {"ValidityPeriod": "36000"},
        {"SomethingNew": "is ignored"},
    ],
)
def test_a_form_within_the_rules_is_taken(changes: dict[str, str]) -> None:
    assert refused_with(GOOD | changes) is None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"To": ""}, 21604),
        ({"To": "whatsapp:333 1234567"}, 21211),
        ({"To": "whatsapp:+0393335550101"}, 21211),
        ({"To": "393335550101"}, 21211),
        ({"From": ""}, 21603),
        ({"From": "whatsapp:nobody"}, 21212),
        ({"From": "+14155238886"}, 21910),
        ({"To": "+393335550101"}, 21910),
        ({"To": "+393335550101", "From": "+14155238886"}, 21606),
        ({"From": "whatsapp:+14155550000"}, 63007),
        ({"To": "whatsapp:+14155238886"}, 63031),
        ({"Body": ""}, 21619),
        ({"Body": "x" * 1601}, 21617),
        ({"Body": "🏠" * 801}, 21617),
        ({"MediaUrl": "ftp://example.org/flat.jpg"}, 21620),
        ({"StatusCallback": "/twilio/status"}, 21609),
        ({"StatusCallback": "https://status_webhook/twilio"}, 21609),
        ({"StatusCallback": "https://example.org/" + "x" * 4000}, 21609),
        ({"StatusCallback": "https://example.org:99999/"}, 21609),
        ({"ValidityPeriod": "0"}, 90007),
        ({"ValidityPeriod": "36001"}, 90007),
        ({"ValidityPeriod": "soon"}, 20001),
        ({"ScheduleType": "fixed"}, 20001),
        ({"ContentSid": "HX123"}, 20001),
        ({"ContentSid": "HX" + "c" * 32}, 63027),
        (TEMPLATE | {"ContentVariables": "not JSON"}, 21656),
        (TEMPLATE | {"ContentVariables": "[1]"}, 21656),
        (TEMPLATE | {"ContentVariables": '{"1": "3", "2": ""}'}, 21656),
        (TEMPLATE | {"ContentVariables": '{"1": 3, "2": "Roma"}'}, 21656),
        (TEMPLATE | {"ContentVariables": '{"1": "3", "2": "Roma     centro"}'}, 63013),
        (TEMPLATE | {"ContentVariables": '{"1": "3", "2": "Roma\\ncentro"}'}, 63013),
        (TEMPLATE | {"ContentVariables": '{"1": "3"}'}, 63028),
        (TEMPLATE | {"ContentVariables": '{"1": "3", "2": "Roma", "3": "x"}'}, 63028),
        ({"ContentSid": "HX" + "b" * 32, "ContentVariables": '{"1": "%s"}' % ("x" * 1025)}, 63021),
    ],
)
def test_a_form_that_breaks_a_rule_is_refused_with_its_code(changes: dict[str, str], code: int) -> None:
    assert refused_with(GOOD | changes) == code


def test_a_form_that_is_not_utf_8_is_refused() -> None:
    assert order_of(b"To=%ff") == Refusal(20001, "the form cannot be read")


def test_a_template_is_shown_with_its_variables() -> None:
    order = Order(content_sid=CONTENT_SID, content_variables=TEMPLATE["ContentVariables"])
    assert text_of(order, ACCOUNT) == "3 nuovi annunci per Roma"


JOINED = Phone("+393335550101", joined_at=NOW - timedelta(days=2), wrote_at=NOW - timedelta(hours=23))


@pytest.mark.parametrize(
    ("phone", "order", "code"),
    [
        (JOINED, Order(body="Ciao"), None),
        (Phone("+393335550101"), Order(body="Ciao"), 63015),
        (Phone("+393335550101", joined_at=NOW - timedelta(days=3), wrote_at=NOW), Order(body="Ciao"), 63015),
        (Phone("+393335550101", joined_at=NOW, wrote_at=NOW - timedelta(hours=24)), Order(body="Ciao"), 63016),
        (Phone("+393335550101", joined_at=NOW), Order(content_sid=CONTENT_SID), None),
        (Phone("+393335550101", joined_at=NOW, wrote_at=NOW, blocked=True), Order(body="Ciao"), 21610),
    ],
)
def test_a_recipient_can_be_reached_only_after_joining_and_inside_the_window(
    phone: Phone, order: Order, code: int | None
) -> None:
    assert unreachable_code(order, phone, ACCOUNT, NOW) == code


def test_a_production_number_needs_no_join() -> None:
    production = Account(ACCOUNT.sid, ACCOUNT.number, sandbox=False)
    phone = Phone("+393335550101", wrote_at=NOW)
    assert unreachable_code(Order(body="Ciao"), phone, production, NOW) is None
