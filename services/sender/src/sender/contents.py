"""Templates at Twilio: its Content API, and Meta's approval as Twilio tells it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sender.templates import MISSING, Approval, Standing, Standings, Template, Templates
from sender.twilio import LookupFailed, Refused, Twilio

PAGE: Final = 200


@dataclass(frozen=True)
class Content:
    """A template as Twilio has it, with where its approval is."""

    sid: str
    name: str
    language: str
    types: Mapping[str, Any]
    standing: Standing


class NotTaken(Exception):  # noqa: N818 - named by what is the case
    """Twilio did not take a template or a request for its approval."""


class Contents:
    """The account's templates."""

    def __init__(self, twilio: Twilio) -> None:
        self._api = twilio.contents

    async def all(self) -> list[Content]:
        """Every template of the account.

        Raises:
            LookupFailed: Twilio did not answer, so nothing is known.
        """
        try:
            found = await self._api.content_and_approvals.list_async(page_size=PAGE)
        except Exception as error:  # whatever it is, nothing is known
            raise LookupFailed(_words(error)) from error
        return [_content(each) for each in found]

    async def create(self, template: Template) -> str:
        """Create a template at Twilio, and return its ContentSid. It can be used once it has been approved.

        Raises:
            NotTaken: Twilio refused, or did not answer.
        """
        contents = self._api.contents
        request = contents.ContentCreateRequest(
            {
                "friendly_name": template.name,
                "language": template.language.value,
                "variables": template.samples,
                "types": dict(template.types),
            }
        )
        try:
            return str((await contents.create_async(request)).sid)
        except Exception as error:
            raise NotTaken(_words(error)) from error

    async def request_approval(self, sid: str, template: Template) -> Approval:
        """Submit a template to Meta.

        Raises:
            NotTaken: Twilio refused, or did not answer.
        """
        approvals = self._api.contents(sid).approval_create
        request = approvals.ContentApprovalRequest({"name": template.name, "category": template.category.value})
        try:
            return _approval((await approvals.create_async(request)).status)
        except Exception as error:
            raise NotTaken(_words(error)) from error


def standings_of(wanted: Templates, found: Iterable[Content]) -> Standings:
    """How each of our templates stands, by its name: the first that is approved where Twilio has several."""
    by_name: dict[str, Standing] = {}
    for content in found:
        if content.name not in by_name or content.standing.content_sid:
            by_name[content.name] = content.standing
    return Standings({key: by_name.get(template.name, MISSING) for key, template in wanted.items()})


def differs(template: Template, content: Content) -> bool:
    """Whether somebody has changed the text at Twilio. What Twilio adds to it does not count."""
    return not _holds(content.types, template.types)


def _holds(theirs: Any, ours: Any) -> bool:  # noqa: ANN401 - JSON
    match ours:
        case Mapping():
            return isinstance(theirs, Mapping) and all(_holds(theirs.get(name), each) for name, each in ours.items())
        case list():
            return (
                isinstance(theirs, list)
                and len(theirs) == len(ours)
                and all(_holds(their, our) for their, our in zip(theirs, ours, strict=True))
            )
        case _:
            return bool(theirs == ours)


def _content(found: Any) -> Content:  # noqa: ANN401 - the library has no types
    approval: Mapping[str, Any] = found.approval_requests or {}
    return Content(
        sid=str(found.sid),
        name=str(found.friendly_name or ""),
        language=str(found.language or ""),
        types=found.types or {},
        standing=Standing(
            _approval(approval.get("status") or Approval.UNSUBMITTED),
            str(found.sid),
            str(approval.get("rejection_reason") or ""),
        ),
    )


def _approval(word: object) -> Approval:
    try:
        return Approval(str(word).lower())
    except ValueError:  # a state that Twilio has added since
        return Approval.PENDING


def _words(error: Exception) -> str:
    """What went wrong, without what was sent."""
    return str(error) if isinstance(error, Refused) else type(error).__name__
