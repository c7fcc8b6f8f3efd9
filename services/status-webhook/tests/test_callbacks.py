"""What Twilio's forms mean, without HTTP and Kafka."""

import datetime as dt
from collections.abc import Callable
from uuid import UUID

import hypothesis
import pytest
from hypothesis import strategies as st

from common.events import Event, InboundMessageReceived, MessageStatus, MessageStatusReported
from status_webhook.callbacks import IncompleteCallbackError, read_either, read_inbound, read_status
from status_webhook.form import Form

NOW = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)
MESSAGE_ID = UUID("8c5f0a52-3f0e-4f0a-9c39-0d8a2d1b7e11")
NOTHING = Form({})


def form(**changes: str) -> Form:
    values = {"MessageSid": "SM1", "MessageStatus": "sent", "To": "whatsapp:+393335550101", "From": "whatsapp:+1415555"}
    return Form({name: [value] for name, value in (values | changes).items()})


def query(encoded: bytes) -> Form:
    return Form.parse(encoded)


def test_the_address_says_which_attempt_of_which_message() -> None:
    event = read_status(form(), query(f"n={MESSAGE_ID}&a=3".encode()), NOW)
    assert (event.message_id, event.attempt, event.message_sid) == (MESSAGE_ID, 3, "SM1")
    assert event.key == str(MESSAGE_ID)


@pytest.mark.parametrize("encoded", [b"", b"n=&a=", b"n=7&a=0", b"n=%00&a=-1", b"n=x&a=99999999999999999999", b"a=1.5"])
def test_a_callback_without_our_identifiers_is_kept_under_its_sid(encoded: bytes) -> None:
    event = read_status(form(), query(encoded), NOW)
    assert (event.message_id, event.attempt, event.key) == (None, None, "SM1")


@pytest.mark.parametrize("status", ["accepted", "queued", "sending", "sent", "delivered", "read", "failed", "canceled"])
def test_every_status_of_twilio_is_known(status: str) -> None:
    event = read_status(form(MessageStatus=status), NOTHING, NOW)
    assert event.status == status
    assert "MessageStatus" not in event.parameters


def test_a_status_that_is_new_to_us_is_kept_with_its_word() -> None:
    event = read_status(form(MessageStatus="teleported"), NOTHING, NOW)
    assert event.status is MessageStatus.UNKNOWN
    assert event.parameters["MessageStatus"] == "teleported"


def test_an_error_code_that_is_no_number_is_kept_as_a_parameter() -> None:
    assert read_status(form(ErrorCode="63016"), NOTHING, NOW).error_code == 63016
    odd = read_status(form(ErrorCode="E-1"), NOTHING, NOW)
    assert (odd.error_code, odd.parameters["ErrorCode"]) == (None, "E-1")


def test_unknown_parameters_are_kept() -> None:
    event = read_status(form(ChannelInstallSid="XE1", Brandnew="yes", Empty=""), NOTHING, NOW)
    assert event.parameters == {"ChannelInstallSid": "XE1", "Brandnew": "yes", "Empty": ""}


@pytest.mark.parametrize("written", ["{}", "whatsapp:{}", "to {} failed", "00{}"])
@pytest.mark.parametrize("number", ["+393335550101", "393335550101", "333 555 0101", "(333) 555-01-01"])
def test_a_parameter_that_gives_the_number_away_is_dropped(number: str, written: str) -> None:
    assert read_status(form(Brandnew=written.format(number)), NOTHING, NOW).parameters == {}


@hypothesis.given(
    number=st.from_regex(r"\+[1-9][0-9]{9,13}", fullmatch=True),
    names=st.lists(st.sampled_from(["WaId", "ProfileName", "Body", "ChannelToAddress", "X", "Y"]), max_size=6),
    before=st.text(max_size=5),
)
def test_no_parameter_of_a_status_holds_the_number(number: str, names: list[str], before: str) -> None:
    values = dict.fromkeys(names, before + number)
    event = read_status(form(**values, To=f"whatsapp:{number}"), NOTHING, NOW)
    assert number.removeprefix("+") not in event.model_dump_json()


def test_a_message_to_us_is_kept_whole() -> None:
    inbound = {"From": "whatsapp:+393335550101", "To": "whatsapp:+14155238886", "Body": "Sì 😀", "ButtonPayload": "b1"}
    event = read_inbound(form(**inbound, WaId="393335550101", Brandnew="x"), NOTHING, NOW)
    assert (event.sender, event.recipient) == ("+393335550101", "+14155238886")
    assert (event.body, event.button_payload) == ("Sì 😀", "b1")
    assert event.parameters == {"MessageStatus": "sent", "WaId": "393335550101", "Brandnew": "x"}


def test_one_sender_has_one_key() -> None:
    first, second = (read_inbound(form(MessageSid=sid), NOTHING, NOW) for sid in ("SM1", "SM2"))
    assert first.key == second.key != read_inbound(form(From="whatsapp:+393335550102"), NOTHING, NOW).key
    assert first.event_id != second.event_id


def test_only_a_status_has_a_message_status() -> None:
    assert isinstance(read_either(form(), NOTHING, NOW), MessageStatusReported)
    assert isinstance(read_either(form(MessageStatus=""), NOTHING, NOW), InboundMessageReceived)


@pytest.mark.parametrize(
    ("read", "missing"),
    [(read_status, "MessageStatus"), (read_status, "MessageSid"), (read_inbound, "From"), (read_inbound, "MessageSid")],
)
def test_a_form_that_says_nothing_is_refused(read: Callable[[Form, Form, dt.datetime], Event], missing: str) -> None:
    with pytest.raises(IncompleteCallbackError):
        read(form(**{missing: ""}), NOTHING, NOW)


def test_a_text_with_nul_can_be_stored() -> None:
    assert read_inbound(form(Body="a\x00b", **{"X\x00": "\x00"}), NOTHING, NOW).model_dump_json().count("\\u0000") == 0
