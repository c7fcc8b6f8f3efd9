"""Settings: how and when messages come, and the account itself."""

import re
from http import HTTPStatus
from typing import Any, Final
from zoneinfo import available_timezones

from fastapi import APIRouter
from fastapi.responses import Response
from pydantic import ValidationError

from api.bearers import Bearer
from api.pages.forms import Form, Sent, faults_of
from api.pages.visits import Member, SignedIn
from api.problems import Problem
from api.routes import me
from common.events import Grouping, Recipient

router = APIRouter(prefix="/settings")

MINUTE_S: Final = 60
INTERVALS_MIN: Final = (0, 15, 30, 60, 120, 240, 480, 1440)
_FIELDS: Final = {
    ("quiet_hours",): "quiet_from",
    ("quiet_hours", "start"): "quiet_from",
    ("quiet_hours", "end"): "quiet_until",
    ("interval_seconds",): "interval",
}


@router.get("")
async def page(member: SignedIn) -> Response:
    return await _page(member, _form_of(member.renter))


@router.post("")
async def change(member: SignedIn, form: Sent) -> Response:
    try:
        sent = me.ProfileChange.model_validate(_change(form))
    except ValidationError as error:
        return await _page(member, form.refused(faults_of(error, member.said, _FIELDS)))
    await me.change_profile(member.services, member.renter, sent)
    return member.go("/settings", "settings_saved")


@router.post("/resume")
async def resume(member: SignedIn, _form: Sent) -> Response:
    """End a pause."""
    await member.services.recipients.change(member.user_id, {"paused_until": None})
    return member.go("/settings", "resumed")


@router.post("/password")
async def change_password(member: SignedIn, form: Sent) -> Response:
    """A new password, for who knows the old one; other devices are signed out."""
    try:
        sent = me.PasswordChange.model_validate({name: form.raw(name) for name in me.PasswordChange.model_fields})
        await me.change_password(member.services, Bearer(member.user_id, member.sign_in_id), sent)
    except ValidationError as error:
        return await _page(member, _form_of(member.renter).refused(faults_of(error, member.said)))
    except Problem as problem:
        if problem.details.status != HTTPStatus.FORBIDDEN:
            raise
        faults = {"current_password": member.said.faults.wrong_password}
        return await _page(member, _form_of(member.renter).refused(faults))
    return member.go("/settings", "password_changed")


@router.get("/export")
async def export(member: SignedIn) -> Response:
    """Everything that is kept about the renter, as a file."""
    exported = await me.export(member.services, member.user_id)
    return me.DownloadedJson(exported.model_dump(mode="json"))


@router.get("/delete")
async def ask_before_erasing(member: SignedIn) -> Response:
    return member.page("erase.html", form=Form())


@router.post("/delete")
async def erase(member: SignedIn, form: Sent) -> Response:
    """Erase the account, for who knows its password."""
    try:
        sent = me.ErasureRequest.model_validate({"password": form.raw("password")})
        await me.erase(member.services, Bearer(member.user_id, member.sign_in_id), sent)
    except (ValidationError, Problem) as error:
        if isinstance(error, Problem) and error.details.status != HTTPStatus.FORBIDDEN:
            raise
        refused = form.refused({"password": member.said.faults.wrong_password})
        return member.page("erase.html", HTTPStatus.UNPROCESSABLE_ENTITY, form=refused)
    await member.sign_out()
    return member.go("/", "erased")


def _change(form: Form) -> dict[str, Any]:
    """The profile that a form stands for; without quiet hours both of their ends are ignored."""
    quiet = {"start": form.value("quiet_from"), "end": form.value("quiet_until")} if form.has("quiet", "on") else None
    interval = form.value("interval")
    minutes = _minutes(interval)
    return {
        "language": form.value("language"),
        "time_zone": form.value("time_zone"),
        "quiet_hours": quiet,
        "interval_seconds": interval or None if minutes is None else minutes * MINUTE_S,
        "grouping": form.value("grouping", Grouping.USER),
    }


def _minutes(written: str) -> int | None:
    return int(written) if re.fullmatch(r"\d{1,9}", written) else None


def _form_of(renter: Recipient) -> Form:
    quiet, interval = renter.quiet_hours, renter.interval_seconds
    return Form(
        {
            "language": [renter.language],
            "grouping": [renter.grouping],
            "time_zone": [renter.time_zone],
            "quiet": ["on"] if quiet else [],
            "quiet_from": [f"{quiet.start:%H:%M}" if quiet else "22:00"],
            "quiet_until": [f"{quiet.end:%H:%M}" if quiet else "07:30"],
            "interval": [str(interval // MINUTE_S)] if interval is not None else [],
        }
    )


async def _page(member: Member, form: Form) -> Response:
    own = _minutes(form.value("interval"))
    account = await member.services.accounts.of(member.user_id)
    intervals = sorted({*INTERVALS_MIN, *([] if own is None else [own])})
    return member.page(
        "settings.html",
        HTTPStatus.UNPROCESSABLE_ENTITY if form.faults else HTTPStatus.OK,
        form=form,
        account=account,
        zones=sorted(available_timezones()),
        intervals=intervals,
    )
