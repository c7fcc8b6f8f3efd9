"""The templates' files: all purposes in all languages, within Twilio's and Meta's rules."""

import pytest

from common.events import DirectPurpose, Language
from sender.templates import (
    Approval,
    Category,
    InvalidTemplate,
    Purpose,
    Standing,
    Standings,
    purpose_of,
    template_of,
    templates,
)

SID = "HX" + "0" * 32
GOOD = """
category = "UTILITY"
body = "News for your searches: {{1}} at {{2}} and no more."

[variables]
1 = { means = "how many", sample = "3 listings", longest = 40 }
2 = { means = "the link", sample = "https://bot.example/m/1", longest = 300 }
"""


def test_every_purpose_has_its_template_in_every_language() -> None:
    assert set(templates()) == {(purpose, language) for purpose in Purpose for language in Language}
    assert all(
        (template.category is Category.AUTHENTICATION) == (template.purpose is Purpose.CODE)
        for template in templates().values()
    )


def test_a_templates_name_is_one_that_meta_takes_and_no_other_template_has() -> None:
    names = [template.name for template in templates().values()]
    assert len(set(names)) == len(names)
    assert all(name.replace("_", "").isalnum() and name.islower() and len(name) <= 512 for name in names)


def test_a_templates_name_changes_with_what_is_approved_and_with_nothing_else() -> None:
    name = template_of("digest.en.toml", GOOD).name
    assert template_of("digest.en.toml", GOOD.replace("3 listings", "7 listings")).name == name
    assert template_of("digest.en.toml", GOOD.replace("News", "Results")).name != name
    assert template_of("digest.en.toml", GOOD.replace("UTILITY", "MARKETING")).name != name


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ("News for your searches: {{1}}", "{{1}}", "begin and end with words"),
        (" and no more.", ".", "begin and end with words"),
        ("{{1}} at {{2}}", "{{1}} {{2}}", "a word between two variables"),
        ("{{2}} and", "{{3}} and", "without a gap"),
        ("{{1}} at", "{{2}} at", "without a gap"),
        ("News for your searches: {{1}} at {{2}} and no more.", "News: {{1}} at {{2}} too", "at least 5 words"),
        ("longest = 300", "longest = 1000", "WhatsApp takes 1024"),
        ("3 listings", " ", "is empty"),
        ("3 listings", "3     listings", "more than four blanks"),
        ("3 listings", "3\\nlistings", "a line break"),
        ("3 listings", "3 " + "listings" * 6, "longer than 40"),
        ('"UTILITY"', '"AUTHENTICATION"', "has no body"),
        ('"UTILITY"', '"SERVICE"', "category"),
        ("means", "meaning", "variables.1.meaning"),
    ],
)
def test_a_file_that_twilio_or_meta_would_refuse_is_refused_with_its_fault(good: str, bad: str, fault: str) -> None:
    assert good in GOOD
    with pytest.raises(InvalidTemplate, match=fault) as refused:
        template_of("digest.en.toml", GOOD.replace(good, bad))
    assert str(refused.value).startswith("digest.en.toml: ")


BUTTONS = """
buttons = [{ title = "Pause", id = "PAUSE 3" }, { title = "Stop", id = "STOP" }]

[variables]"""


def test_buttons_are_approved_with_the_text_and_carry_what_the_api_understands() -> None:
    template = template_of("digest.en.toml", GOOD.replace("[variables]", BUTTONS))
    assert template.buttons == {"PAUSE 3": "Pause", "STOP": "Stop"}
    assert template.body == template_of("digest.en.toml", GOOD).body
    assert template.name != template_of("digest.en.toml", GOOD).name
    assert [set(templates()[Purpose.DIGEST, language].buttons) for language in Language] == [
        {"PAUSE 3", "FEWER", "STOP"}
    ] * 3


@pytest.mark.parametrize(
    ("good", "bad", "fault"),
    [
        ('"Stop"', '"Pause"', "same title"),
        ('"STOP"', '"PAUSE 3"', "same id"),
        ('"Stop"', '"Stop all of these messages"', "buttons.1.title"),
        ('"Stop"', '"*Stop*"', "buttons.1.title"),
        ('"Stop"', '""', "buttons.1.title"),
    ],
)
def test_buttons_that_whatsapp_would_refuse_are_refused(good: str, bad: str, fault: str) -> None:
    with pytest.raises(InvalidTemplate, match=fault):
        template_of("digest.en.toml", GOOD.replace("[variables]", BUTTONS.replace(good, bad)))


def test_a_template_is_used_only_while_it_is_approved() -> None:
    key = (Purpose.DIGEST, Language.RUSSIAN)
    assert Standings().content_sid(*key) is None
    usable = {approval for approval in Approval if Standings({key: Standing(approval, SID)}).content_sid(*key)}
    assert usable == {Approval.APPROVED}


def test_answers_need_no_template_since_the_question_has_opened_the_window() -> None:
    assert purpose_of(None) is Purpose.DIGEST
    assert purpose_of(DirectPurpose.TEST) is Purpose.TEST
    assert purpose_of(DirectPurpose.STOPPED) is None
