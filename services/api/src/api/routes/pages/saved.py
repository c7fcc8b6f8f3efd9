"""What a renter keeps."""

from fastapi import APIRouter
from fastapi.responses import Response

from api.pages.forms import Sent
from api.pages.visits import SignedIn

router = APIRouter(prefix="/saved")


@router.get("")
async def page(member: SignedIn) -> Response:
    """The flats that were answered with SALVA, newest first."""
    return member.page("saved.html", flats=await member.services.choices.saved_by(member.user_id))


@router.post("/remove")
async def remove(member: SignedIn, form: Sent) -> Response:
    """Keep a flat no longer; one that is not kept stays so."""
    await member.services.choices.forget(member.user_id, form.value("listing_id"))
    return member.go("/saved", "unsaved")
