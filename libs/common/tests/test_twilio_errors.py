"""One catalogue of Twilio's errors: whoever tells people about a code finds the sentences here, in three languages."""

import re

import pytest

from common.events import Language
from common.twilio_errors import CODES, MEANING_OF, Meaning, advice_of

CYRILLIC = re.compile("[\u0430-\u044f]")


def test_every_meaning_has_a_code_and_every_code_one_meaning() -> None:
    assert set(CODES) == set(Meaning)
    assert all(CODES.values())
    assert sum(map(len, CODES.values())) == len(MEANING_OF)


@pytest.mark.parametrize("language", Language)
def test_every_code_says_what_happened_and_what_to_do(language: Language) -> None:
    for code in (*MEANING_OF, None, 12345):
        advice = advice_of(code, language)
        for said in (advice.what, advice.cure):
            assert said.endswith("."), (code, said)
            assert "{" not in said
            assert bool(CYRILLIC.search(said)) == (language is Language.RUSSIAN), (code, said)
    assert len({str(advice_of(63015, each)) for each in Language}) == len(Language)


@pytest.mark.parametrize(
    ("code", "named"),
    [
        (20003, "WHATSAPP_API_TOKEN"),
        (21606, "WHATSAPP_PHONE_NUMBER_ID"),
        (63007, "WHATSAPP_PHONE_NUMBER_ID"),
        (63015, "join"),
        (21617, "1600"),
        (63016, "24"),
        (21609, "WEBHOOK_PUBLIC_URL"),
    ],
)
@pytest.mark.parametrize("language", Language)
def test_what_an_operator_must_look_at_is_named_in_every_language(code: int, named: str, language: Language) -> None:
    assert named in str(advice_of(code, language))


@pytest.mark.parametrize("status", [401, 403])
def test_an_answer_without_a_code_is_explained_by_its_status(status: int) -> None:
    assert advice_of(None, http_status=status) == advice_of(20003)
    assert advice_of(None, http_status=429) == advice_of(20429)
    assert "HTTP 418" in advice_of(None, http_status=418).what


def test_an_unknown_code_leads_to_twilios_own_page() -> None:
    assert "12345" in advice_of(12345).what
    assert "https://www.twilio.com/docs/api/errors/12345" in advice_of(12345, Language.ITALIAN).cure
