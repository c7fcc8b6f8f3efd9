"""The rule of the product: whether a listing fits a search, and what each criterion says about it.

`match` is the verdict of `explain` without its words. Both read the one table `common.rules.RULES`.
"""

from enum import StrEnum
from typing import Any, assert_never

from common.listing import Listing
from common.model import Value
from common.rules import RULES, Finding, Rule
from common.search import Criterion, Search, UnknownPolicy


class Decision(StrEnum):
    PASS = "pass"  # noqa: S105 - a verdict, not a secret
    FLAGGED = "flagged"  # passes, and the message says that it is unknown
    FAIL = "fail"


class Verdict(Value):
    """What one criterion decided, and in one sentence why: what was wanted and what was found."""

    criterion: Criterion
    decision: Decision
    why: str


class Explanation(Value):
    """One verdict for each criterion that the search restricts, and always for status and place."""

    verdicts: tuple[Verdict, ...]

    @property
    def matches(self) -> bool:
        return all(verdict.decision is not Decision.FAIL for verdict in self.verdicts)

    @property
    def unknown(self) -> tuple[Criterion, ...]:
        """The criteria that passed flagged, because the listing does not say."""
        return tuple(verdict.criterion for verdict in self.verdicts if verdict.decision is Decision.FLAGGED)


def match(search: Search, listing: Listing) -> bool:
    """Whether the listing fits the search: `explain(search, listing).matches`, at the first refusal done."""
    for rule in RULES:
        finding = rule.find(search, listing)
        if finding is None or finding is Finding.SATISFIED:
            continue
        if decide(finding, rule.policy(search)) is Decision.FAIL:
            return False
    return True


def explain(search: Search, listing: Listing) -> Explanation:
    judged = ((rule, rule.find(search, listing)) for rule in RULES)
    return Explanation(
        verdicts=tuple(_verdict(rule, finding, search, listing) for rule, finding in judged if finding is not None)
    )


def decide(finding: Finding, policy: UnknownPolicy) -> Decision:
    match finding:
        case Finding.SATISFIED:
            return Decision.PASS
        case Finding.VIOLATED:
            return Decision.FAIL
        case Finding.UNKNOWN:
            return _OF_UNKNOWN[policy]
        case _:
            assert_never(finding)


_OF_UNKNOWN = {
    UnknownPolicy.PASS: Decision.PASS,
    UnknownPolicy.FLAG: Decision.FLAGGED,
    UnknownPolicy.FAIL: Decision.FAIL,
}


def _verdict(rule: Rule[Any, Any], finding: Finding, search: Search, listing: Listing) -> Verdict:
    found = rule.found(search, listing)
    why = f"Wanted {rule.wanted(search)}; " + (f"found {found}" if found else "the listing does not say")
    if finding is Finding.UNKNOWN and found:
        why += ", which does not decide it"
    return Verdict(criterion=rule.criterion, decision=decide(finding, rule.policy(search)), why=f"{why}.")
