"""The signature check agrees with Twilio's published vectors and with Twilio's own package."""

import hypothesis
import pytest
from hypothesis import strategies as st
from starlette.datastructures import MultiDict
from twilio.request_validator import RequestValidator

from status_webhook.form import Form
from status_webhook.signature import SignatureCheck, signature_of

TOKEN = "12345"
VECTOR_URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
VECTOR_FORM = Form(
    {
        "CallSid": ["CA1234567890ABCDE"],
        "Digits": ["1234"],
        "From": ["+14158675309"],
        "To": ["+18005551212"],
        "Caller": ["+14158675309"],
    }
)
VECTOR_SIGNATURE = b"RSOYDt4T1cUTdK1PDd93/VVr8B8="

texts = st.text(st.characters(codec="utf-8"), max_size=20)
forms = st.dictionaries(texts, st.lists(texts, min_size=1, max_size=3), max_size=8).map(Form)
urls = st.builds(
    "{}://hooks.example.org{}/twilio/status{}".format,
    st.sampled_from(["http", "https"]),
    st.sampled_from(["", ":443", ":8443"]),
    st.sampled_from(["", "?n=1&a=2", "?a=%C3%A8&a="]),
)


def test_the_published_vector_is_accepted() -> None:
    assert signature_of(TOKEN.encode(), VECTOR_URL, VECTOR_FORM) == VECTOR_SIGNATURE
    assert SignatureCheck(TOKEN).accepts(VECTOR_URL, VECTOR_FORM, VECTOR_SIGNATURE)


@pytest.mark.parametrize(
    "url",
    [
        "http://mycompany.com/myapp.php?foo=1&bar=2",
        "https://www.mycompany.com/myapp.php?foo=1&bar=2",
        "https://mycompany.com/myapp.php/?foo=1&bar=2",
        "https://mycompany.com/myapp.php?bar=2&foo=1",
        "https://mycompany.com/myapp.php",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    assert not SignatureCheck(TOKEN).accepts(url, VECTOR_FORM, VECTOR_SIGNATURE)


@pytest.mark.parametrize("signature", [None, b"", b"RSOYDt4T1cUTdK1PDd93/VVr8B9=", b"\xff\xfe", VECTOR_SIGNATURE * 2])
def test_a_missing_or_wrong_signature_is_refused(signature: bytes | None) -> None:
    assert not SignatureCheck(TOKEN).accepts(VECTOR_URL, VECTOR_FORM, signature)


def test_another_token_is_refused() -> None:
    assert not SignatureCheck("54321").accepts(VECTOR_URL, VECTOR_FORM, VECTOR_SIGNATURE)


@pytest.mark.parametrize("change", [{"Extra": [""]}, {"Digits": ["1234 "]}, {"Digits": ["1234", "5"]}])
def test_a_changed_form_is_refused(change: dict[str, list[str]]) -> None:
    assert not SignatureCheck(TOKEN).accepts(VECTOR_URL, Form({**VECTOR_FORM.values, **change}), VECTOR_SIGNATURE)


@hypothesis.given(url=urls, form=forms)
def test_signatures_are_those_of_the_twilio_package(url: str, form: Form) -> None:
    pairs = [(name, value) for name, values in form.values.items() for value in values]
    theirs = RequestValidator(TOKEN).compute_signature(url, MultiDict(pairs))
    assert signature_of(TOKEN.encode(), url, form) == theirs.encode()


@hypothesis.given(
    url=urls, form=forms, signed_url=urls, signed_form=forms, same=st.tuples(st.booleans(), st.booleans())
)
def test_what_is_accepted_is_what_the_twilio_package_accepts(
    url: str, form: Form, signed_url: str, signed_form: Form, same: tuple[bool, bool]
) -> None:
    signed_url, signed_form = url if same[0] else signed_url, form if same[1] else signed_form
    signature = RequestValidator(TOKEN).compute_signature(signed_url, signed_form)
    theirs = RequestValidator(TOKEN).validate(url, form, signature)
    assert SignatureCheck(TOKEN).accepts(url, form, signature.encode()) == theirs
