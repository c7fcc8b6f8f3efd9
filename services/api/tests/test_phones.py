"""Phone numbers as people write them: what is meant is understood, and what cannot be a phone is refused by reason."""

import pytest

from api.phones import chat_link, e164, readable

MINE = "+393335550101"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("333 5550101", MINE),
        ("3335550101", MINE),
        ("333-555-01-01", MINE),
        ("(333) 555.0101", MINE),
        ("333/5550101", MINE),
        ("+39 333 555 0101", MINE),
        ("0039 333 5550101", MINE),
        ("393335550101", MINE),
        ("+39 (0)333 555 0101", MINE),  # no Italian mobile number has that zero
        ("+39 (0)6 1234 5678", "+390612345678"),  # and every Italian landline has it
        ("06 1234 5678", "+390612345678"),  # a landline may have WhatsApp Business
        ("٣٣٣ ٥٥٥٠١٠١", MINE),  # noqa: RUF001 - Arabic digits
        ("＋３９ ３３３ ５５５ ０１０１", MINE),  # noqa: RUF001 - as an East Asian keyboard types it
        ("\u202a+39\u00a0333\u00a05550101\u202c", MINE),  # copied from an address book
        ("333\u200b5550101", MINE),
        ("+33 6 12 34 56 78", "+33612345678"),
        ("+44 (0)7911 123456", "+447911123456"),
        ("+1 415 523 8886", "+14155238886"),
        ("+393401234567", "+393401234567"),
    ],
)
def test_a_number_is_understood_however_it_is_written(written: str, meant: str) -> None:
    assert e164(written) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "is empty"),
        (" \u200b\u2060 ", "is empty"),
        ("333 55", "too short"),
        ("+39 333 555 0101 555 0101", "too long"),
        ("+39 333 555 0101 0", "mailboxes"),  # a digit too many: the mailbox of that number
        ("333 555 CASA", "digits"),  # not spelt out on the keys, as the library would
        ("call me on 333 5550101", "digits"),
        ("333 5550101 ext. 2", "digits"),
        ("📱 3335550101", "digits"),
        ("3️⃣3️⃣3️⃣5550101", "digits"),
        ("+999 333 5550101", "not a phone number"),
        ("333+5550101", "digits"),
        ("112", "too short"),
        ("800 123456", "toll-free"),
        ("899 123456", "hotlines"),
        ("+39 000 0000000", "No phone"),
        ("'; DROP TABLE users; --", "digits"),
    ],
)
def test_what_is_no_phone_is_refused_and_says_why(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        e164(written)


def test_a_number_is_read_out_in_groups_and_opens_a_chat() -> None:
    assert readable("+14155238886") == "+1 415 523 8886"
    assert readable(MINE) == "+39 333 555 0101"
    assert chat_link(MINE) == "https://wa.me/393335550101"
    assert chat_link(MINE, "join select-thumb") == "https://wa.me/393335550101?text=join%20select-thumb"
