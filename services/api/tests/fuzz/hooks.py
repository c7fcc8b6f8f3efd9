"""What schemathesis does not know by itself: the rules that go beyond the schema."""

import re
from typing import Any, Final

import schemathesis

RULES: Final = re.compile(
    "There is no such time zone"
    "|Quiet hours that begin when they end"
    "|This is not a cursor"
    "|is above maximum"
    "|ISTAT knows no comune|Several comuni are called"
    "|This search matches"
    "|Give minutes"
    "|phone number|No phone has this number|WhatsApp does not work with"
    "|This is not the code"
    "|U\\+0000"
    "|valid integer"  # 3.0 is one to JSON Schema
)


@schemathesis.check
def only_rules_beyond_the_schema_refuse(
    _context: schemathesis.CheckContext, response: schemathesis.Response, case: "schemathesis.Case[Any]"
) -> None:
    """A request that fits the schema is refused by one of these rules, or not at all."""
    if response.status_code != 422 or case.meta is None or not case.meta.generation.mode.is_positive:
        return
    problem = response.json()
    said = [fault["detail"] for fault in problem.get("errors", ())] or [problem["detail"]]
    strange = [sentence for sentence in said if not RULES.search(sentence)]
    assert not strange, f"The description allows what the api refuses: {strange}"
