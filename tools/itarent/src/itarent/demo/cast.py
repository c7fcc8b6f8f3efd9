"""The renters come in as people do: register, save searches, join the sandbox, prove their phone by a message."""

import asyncio
from http import HTTPStatus
from typing import Any

import httpx

from itarent.demo.renters import Renter
from twilio_simulator.client import SimulatorClient

PROVEN_WITHIN_S = 30.0


async def bring_in(renter: Renter, password: str, api: httpx.AsyncClient, simulator: SimulatorClient) -> None:
    """Have the renter registered, linked and with searches; what is there from an earlier start is kept."""
    me = {"Authorization": f"Bearer {await _access_token(renter, password, api)}"}
    await simulator.join(renter.phone, renter.name)
    await _prove_phone(renter, me, api, simulator)
    saved = checked(await api.get("/subscriptions", headers=me)).json()
    if not saved["items"]:
        for search in renter.searches:
            checked(await api.post("/subscriptions", headers=me, json=search))


async def _access_token(renter: Renter, password: str, api: httpx.AsyncClient) -> str:
    account = {"email": renter.email, "password": password}
    answer = await api.post("/auth/register", json={**account, "language": renter.language})
    if answer.status_code == HTTPStatus.CONFLICT:
        answer = await api.post("/auth/token", json=account)
    token: str = checked(answer).json()["access_token"]
    return token


async def _prove_phone(renter: Renter, me: dict[str, str], api: httpx.AsyncClient, simulator: SimulatorClient) -> None:
    """Write from the phone: the code if it is not proven yet, else a greeting, which opens the 24 hours again."""
    if (await _link(me, api))["phone_number"] == renter.phone:
        await simulator.write(renter.phone, "Ciao!")
        return
    claim = checked(await api.post("/whatsapp/link", headers=me, json={"phone_number": renter.phone})).json()
    await simulator.write(renter.phone, claim["claim"]["code"])
    async with asyncio.timeout(PROVEN_WITHIN_S):
        while (await _link(me, api))["phone_number"] != renter.phone:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.1)


async def _link(me: dict[str, str], api: httpx.AsyncClient) -> dict[str, Any]:
    link: dict[str, Any] = checked(await api.get("/whatsapp/status", headers=me)).json()["link"]
    return link


def checked(answer: httpx.Response) -> httpx.Response:
    """The answer, or an error that shows the problem that the api described."""
    if answer.is_error:
        raise RuntimeError(f"{answer.request.method} {answer.request.url.path}: {answer.status_code} {answer.text}")
    return answer
