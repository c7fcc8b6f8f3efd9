from hypothesis import given
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from twilio_simulator.signature import signature_of


def test_the_signature_is_that_of_twilios_own_example() -> None:
    parameters = {
        "CallSid": "CA1234567890ABCDE",
        "Digits": "1234",
        "From": "+14158675309",
        "To": "+18005551212",
        "Caller": "+14158675309",
    }
    signature = signature_of("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", parameters)
    assert signature == "RSOYDt4T1cUTdK1PDd93/VVr8B8="


@given(st.dictionaries(st.text(min_size=1), st.text()))
def test_twilios_validator_accepts_the_signature_of_any_parameters(parameters: dict[str, str]) -> None:
    url = "https://example.org/twilio/status?n=1&a=2"
    assert RequestValidator("12345").validate(url, parameters, signature_of("12345", url, parameters))
