"""The templates' files beside what Twilio knows of each, and what is to be done so that Meta approves all of them."""

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from sender.contents import Content, Contents, NotTaken, differs, standings_of
from sender.templates import MISSING, Approval, Standing, Template, Templates


@dataclass(frozen=True)
class Known:
    """A template's file, and Twilio's template of the same name. `older`: how many former versions Twilio still has."""

    template: Template
    content: Content | None
    older: int

    @property
    def standing(self) -> Standing:
        return self.content.standing if self.content else MISSING

    @property
    def drifted(self) -> bool:
        """Whether somebody has changed the text at Twilio, so that it is not what the file says."""
        return self.content is not None and differs(self.template, self.content)


class Done(StrEnum):
    """What submitting came to."""

    SUBMITTED = "submitted"
    NOTHING_TO_DO = "nothing to do"
    CHANGE_THE_FILE = "change its file: a rejected or disabled text is not taken again"
    FAILED = "failed"


@dataclass(frozen=True)
class Result:
    template: Template
    done: Done
    detail: str = ""


def known(files: Templates, found: Sequence[Content]) -> list[Known]:
    """Each file with Twilio's template of its name: the approved one, should there be several."""
    standings = standings_of(files, found)
    by_sid = {content.sid: content for content in found}
    return [
        Known(
            template,
            by_sid.get(standings.of(*key).sid or ""),
            sum(_is_older(content, template) for content in found),
        )
        for key, template in files.items()
    ]


def _is_older(content: Content, template: Template) -> bool:
    return content.name.startswith(f"{template.family}_") and content.name != template.name


async def submitted(contents: Contents, templates: Iterable[Known]) -> AsyncIterator[Result]:
    """Create what Twilio lacks and ask Meta to approve it. Can be repeated: what has been done is found by its name."""
    for each in templates:
        try:
            yield await _submit(contents, each)
        except NotTaken as error:
            yield Result(each.template, Done.FAILED, str(error))


async def _submit(contents: Contents, known: Known) -> Result:
    match known.standing.approval:
        case Approval.MISSING:
            sid = await contents.create(known.template)
        case Approval.UNSUBMITTED:
            assert known.content is not None
            sid = known.content.sid
        case Approval.REJECTED | Approval.DISABLED:
            return Result(known.template, Done.CHANGE_THE_FILE, known.standing.reason)
        case _:
            return Result(known.template, Done.NOTHING_TO_DO)
    await contents.request_approval(sid, known.template)
    return Result(known.template, Done.SUBMITTED)
