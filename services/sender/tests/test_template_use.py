"""Outside the 24 hours: the approved template in the reader's language, or nothing, with a reason."""

from datetime import UTC, datetime

import pytest

from common.events import DirectPurpose, Language, Recipient
from sender.approvals import Approvals
from sender.contents import Contents
from sender.templates import Approval, Purpose, Standing, Standings, templates
from testkit.waiting import eventually
from twilio_simulator import Fault, FaultKind

from .conftest import Sender, direct_for, flat_for, renter

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


async def away(sender: Sender, **changes: object) -> Recipient:
    """Somebody who has not written for more than a day, as the sender and the simulated Twilio both know."""
    somebody = renter(window_opened_at=LONG_AGO, **changes)
    await sender.know(somebody)
    await sender.simulator.expire(somebody.phone or "", "window")
    return somebody


async def _sids(sender: Sender) -> dict[str, str]:
    """ContentSid by the template's name."""
    async with sender.twilio() as twilio:
        return {content.name: content.sid for content in await Contents(twilio).all()}


@pytest.mark.parametrize("language", Language)
async def test_a_digest_goes_out_as_the_template_of_its_readers_language(sender: Sender, language: Language) -> None:
    somebody = await away(sender, language=language)
    event = flat_for(somebody.user_id)
    async with sender.with_templates(Purpose.DIGEST) as templated, templated.dispatching():
        await templated.tell(event)
        await templated.until(event, stage="taken", as_template=True, attempt=1)
    template = templates()[Purpose.DIGEST, language]
    [accepted] = await sender.simulator.messages()
    assert accepted.content_sid == (await _sids(sender))[template.name]
    assert accepted.body.startswith(template.body.partition("{{1}}")[0])
    assert "https://bot.example/m/" in accepted.body
    attempt = await sender.pool.fetchrow("SELECT content_sid, charge FROM attempts")
    assert attempt
    assert tuple(attempt) == (accepted.content_sid, "utility")
    assert await sender.disposition(event) == ("grouped", "")


async def test_a_test_message_goes_out_as_its_template_and_is_found_by_its_reference(sender: Sender) -> None:
    somebody = await away(sender)
    asked = direct_for(somebody.user_id, DirectPurpose.TEST)
    await sender.simulator.script(Fault(FaultKind.RESET_TAKEN))
    async with sender.with_templates(Purpose.TEST) as templated, templated.dispatching():
        await templated.tell(asked)

        async def found_again() -> bool:
            return (await templated.message(asked))["sid"] is not None

        await eventually(found_again)
    [accepted] = await sender.simulator.messages()
    assert "Rif. " in accepted.body
    assert (await sender.message(asked))["attempt"] == 1


async def test_a_digest_waits_while_its_template_is_reviewed_and_goes_out_when_it_is_approved(sender: Sender) -> None:
    somebody = await away(sender)
    event = flat_for(somebody.user_id)
    template = templates()[Purpose.DIGEST, somebody.language]
    async with sender.twilio() as twilio:
        contents = Contents(twilio)
        sid = await contents.create(template)
        await sender.simulator.judge_template(sid, "pending")
        approvals = Approvals(contents, sender.pool)
        await approvals.check()
        waiting = sender.but(approvals=approvals)
        async with waiting.dispatching():
            await waiting.tell(event)
            await waiting.until(event, stage="waiting", detail="template_pending")
            await sender.simulator.judge_template(sid, "approved")
            await approvals.check()
            await waiting.until(event, stage="taken")
    [accepted] = await sender.simulator.messages()
    assert accepted.content_sid == sid


@pytest.mark.parametrize(
    ("approval", "of_a_digest", "of_a_test"),
    [
        ("unsubmitted", "outside_window", "outside_window"),
        ("rejected", "template_rejected", "template_rejected"),
        ("disabled", "template_disabled", "template_disabled"),
        ("paused", "", "template_paused"),
    ],
)
async def test_a_template_that_is_not_approved_is_not_used(
    sender: Sender, approval: str, of_a_digest: str, of_a_test: str
) -> None:
    somebody = await away(sender)
    flat, asked = flat_for(somebody.user_id), direct_for(somebody.user_id, DirectPurpose.TEST)
    async with sender.with_templates(Purpose.DIGEST, Purpose.TEST) as templated:
        assert templated.approvals
        for sid in (await _sids(sender)).values():
            await sender.simulator.judge_template(sid, approval)
        await templated.approvals.check()
        await templated.tell(flat, asked)
        async with templated.dispatching():
            await templated.until(asked, stage="ended", detail=of_a_test)
            if of_a_digest:
                await templated.until(flat, stage="ended", detail=of_a_digest)
            else:
                await templated.until(flat, stage="waiting", detail=f"template_{approval}")
    assert await sender.simulator.messages() == []


@pytest.mark.parametrize(("verdict", "waits"), [("paused", True), ("disabled", False)])
async def test_a_template_that_is_refused_is_not_used_again(sender: Sender, verdict: str, *, waits: bool) -> None:
    first, second = await away(sender), await away(sender)
    events = [flat_for(first.user_id), flat_for(second.user_id)]
    async with sender.with_templates(Purpose.DIGEST) as templated:
        assert templated.approvals
        for sid in (await _sids(sender)).values():
            await sender.simulator.judge_template(sid, verdict)
        async with templated.dispatching():
            await templated.tell(events[0])
            expected = {"stage": "waiting" if waits else "ended", "detail": f"template_{verdict}"}
            refused = await templated.until(events[0], **expected | ({"stage": "retrying"} if waits else {}))
            assert refused["attempt"] == 1
            await templated.tell(events[1])
            await templated.until(events[1], **expected, attempt=0)
        await templated.approvals.check()
        assert templated.approvals.standings().of(Purpose.DIGEST, first.language).approval == verdict
    assert await sender.simulator.messages() == []
    assert await sender.pool.fetchval("SELECT micros::int FROM spending") == 0


async def test_twilios_approval_is_not_trusted_for_a_while_after_a_refusal(sender: Sender) -> None:
    async with sender.with_templates(Purpose.DIGEST) as templated:
        assert templated.approvals
        template = templates()[Purpose.DIGEST, Language.ITALIAN]
        sid = (await _sids(sender))[template.name]
        templated.approvals.refuse(sid, 63041)
        await templated.approvals.check()
        assert templated.approvals.standings().of(Purpose.DIGEST, Language.ITALIAN) == Standing(Approval.PAUSED, sid)
        assert templated.approvals.standings().content_sid(Purpose.DIGEST, Language.ENGLISH)


async def test_templates_are_unknown_until_twilio_has_been_asked(sender: Sender) -> None:
    async with sender.but(token="f" * 32).twilio() as twilio:
        approvals = Approvals(Contents(twilio), sender.pool)
        await approvals.check()
    assert approvals.standings() == Standings()
    somebody = await away(sender)
    event = flat_for(somebody.user_id)
    waiting = sender.but(approvals=approvals)
    await waiting.tell(event)
    async with waiting.dispatching():
        await waiting.until(event, stage="waiting", detail="template_unknown")
