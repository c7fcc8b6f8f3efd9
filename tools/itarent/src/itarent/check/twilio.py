"""Twilio's steps: settings, account, number, webhook, a test message directly, and one through the running system."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, assert_never

import httpx
from pydantic import ValidationError

from common.events import MessageStatus
from common.settings import SettingFault, TwilioAccount, faults_of
from common.twilio_errors import Advice, advice_of, advice_without_answer
from itarent.check.probe import ARRIVED, OUTSIDE_WINDOW, Probe, Stalled, Unheard
from itarent.check.report import Finding, Step, described, failed, ok, skipped, warning
from itarent.check.services import pause_of
from itarent.check.where import Where
from itarent.environment import SENDER, WEBHOOK
from sender.comparison import CHECKING
from sender.contents import Contents, standings_of
from sender.outcomes import (
    Accepted,
    Delayed,
    InDoubt,
    Misconfigured,
    OptedOut,
    Outcome,
    OutsideWindow,
    RateLimited,
    Rejected,
    Stale,
    TemplateUnusable,
    Unavailable,
)
from sender.settings import Settings as SenderSettings
from sender.statuses import FAILURES
from sender.templates import Purpose, templates
from sender.twilio import Found, LookupFailed, Request, Twilio
from status_webhook.form import Form
from status_webhook.settings import Settings as WebhookSettings
from status_webhook.signature import signature_of

SANDBOX: Final = "whatsapp:+14155238886"
ANSWER_WITHIN_S: Final = 10.0
ARRIVES_WITHIN_S: Final = 20.0

Environments = Mapping[str, Mapping[str, str]]
Ended = Outcome | Found | LookupFailed
"""What became of a test message: it was not taken, it was and this is how it stands, or nobody can say how."""


def relevant_faults(environments: Environments) -> list[SettingFault]:
    """What is wrong with the settings that are about Twilio, of the sender and of the webhook, each once.

    `environments` are those of a local system, by service; without any this process's own and `.env` count.
    """
    found = [
        *faults_of(SenderSettings, environments.get(SENDER)),
        *faults_of(WebhookSettings, environments.get(WEBHOOK)),
    ]
    ours = {name.upper() for name in TwilioAccount.model_fields}
    return list(dict.fromkeys(fault for fault in found if ours.intersection(fault.names)))


def account_in_force(environments: Environments) -> TwilioAccount | None:
    """The account that messages are sent with; None where its settings are wrong."""
    told = environments.get(SENDER, {})
    given: dict[str, Any] = {name: told[name.upper()] for name in TwilioAccount.model_fields if told.get(name.upper())}
    with contextlib.suppress(ValidationError):
        return TwilioAccount(**given)
    return None


@dataclass
class TwilioCheck:
    """Asks Twilio through the code that sends. `to` is the phone for test messages, `where` the running system."""

    settings: TwilioAccount | None
    faults: list[SettingFault]
    to: str | None
    where: Where | None
    told: Callable[[str], None]
    changed: Sequence[str] = ()
    """Settings that name something else by now than what the running system was started with."""
    within_s: float = ANSWER_WITHIN_S

    def steps(self) -> list[Step]:
        """In the order in which one is the ground of the next."""
        cure = advice_without_answer(asked=False).cure
        return [
            Step("settings", self.check_settings, cure),
            Step("account", self.check_account, cure, needs=("settings",)),
            Step("sender", self.check_sender, cure, needs=("account",)),
            Step("webhook", self.check_webhook, cure, needs=("settings",)),
            Step("message", self.send_directly, cure, needs=("account",), within_seconds=60),
            Step("system", self.send_through_the_system, SYSTEM_CURE, needs=("message",), within_seconds=90),
        ]

    async def check_settings(self) -> list[Finding]:
        return [*self._settings(), *self._changes()]

    def _changes(self) -> list[Finding]:
        says = (
            f"{', '.join(self.changed)}: changed since the system was started, which goes on with what it was told then"
        )
        return [warning(says, "Stop the system and start it again.")] if self.changed else []

    def _settings(self) -> list[Finding]:
        if self.faults or self.settings is None:
            return [failed(f"{', '.join(fault.names)}: {fault.problem}", fault.cure) for fault in self.faults] or [
                failed("the settings cannot be read", "See .env.example.")
            ]
        if not self.settings.whatsapp_enabled:
            off = warning("WHATSAPP_ENABLED=false: nothing is sent", "Set WHATSAPP_ENABLED=true to send.")
            return [off] if self.settings.has_account else [skipped(off.says, off.cure)]
        return [ok(f"account {_short(self.settings.whatsapp_business_account_id)} at {self.settings.twilio_base_url}")]

    async def check_account(self) -> list[Finding]:
        try:
            async with self._twilio() as twilio:
                account = await twilio.account()
        except LookupFailed as failure:
            return [_failed(advice_about(failure))]
        if not account.active:
            return [_failed(advice_of(20005), f"the account is {account.status}. ")]
        if account.trial:
            return [
                ok(f"the account is active: {account.name}"),
                warning(
                    "it is a trial account: 50 messages a day, to verified numbers only",
                    "Upgrade it on console.twilio.com before real renters come.",
                ),
            ]
        return [ok(f"the account is active: {account.name}")]

    async def check_sender(self) -> list[Finding]:
        number = self._account.whatsapp_phone_number_id
        if number == SANDBOX:
            return [ok(f"{number} is Twilio's sandbox: it writes to phones that have joined it, for three days")]
        try:
            async with self._twilio() as twilio:
                senders = {each.address: each for each in await twilio.whatsapp_senders()}
        except LookupFailed as failure:
            return [skipped(f"Twilio does not say whether {number} is ours ({failure}): the test message will tell")]
        if number not in senders:
            return [_failed(advice_of(63007), f"{number} is not among the account's {len(senders)} senders. ")]
        if not senders[number].online:
            cure = "Messaging → Senders → WhatsApp senders in the Twilio console says what it waits for."
            return [failed(f"{number} is ours, and its status is {senders[number].status}", cure)]
        return [ok(f"{number} is a WhatsApp sender of this account, and online")]

    # --- the webhook -------------------------------------------------------------------------------------------------

    async def check_webhook(self) -> list[Finding]:
        url = self._account.webhook_public_url
        if url is None:
            return [
                warning(
                    "WEBHOOK_PUBLIC_URL is not set: Twilio cannot call us, so statuses are asked for, nobody can write "
                    "to us (no STOP, no replies), and phones are proven by a code that is sent to them",
                    "Give the status-webhook an address that the Internet reaches, and set WEBHOOK_PUBLIC_URL to it.",
                )
            ]
        async with httpx.AsyncClient(timeout=self.within_s) as http:
            try:
                signed = await self._call_webhook(http, url, self._account.whatsapp_api_token.get_secret_value())
                forged = await self._call_webhook(http, url, "not-the-auth-token")
            except httpx.HTTPError as error:
                return [
                    failed(
                        f"{url} cannot be reached: {described(error)}",
                        "Does the status-webhook run, and does the tunnel, proxy or ingress lead to it?",
                    )
                ]
        return [_of_signed(url, signed), *_of_forged(forged)]

    async def _call_webhook(self, http: httpx.AsyncClient, base_url: str, auth_token: str) -> httpx.Response:
        """Call the webhook as Twilio does, with a form that makes it publish nothing."""
        token = self._account.whatsapp_webhook_verify_token
        query = httpx.QueryParams({"t": token.get_secret_value()} if token else {})
        url = f"{base_url}/twilio/check" + (f"?{query}" if query else "")
        form = {"AccountSid": self._account.whatsapp_business_account_id}
        signature = signature_of(auth_token.encode(), url, Form({name: [value] for name, value in form.items()}))
        return await http.post(url, data=form, headers={"X-Twilio-Signature": signature.decode()})

    # --- test messages -----------------------------------------------------------------------------------------------

    async def send_directly(self) -> list[Finding]:
        if not self._account.whatsapp_enabled:
            return [skipped("WHATSAPP_ENABLED=false: nothing is sent")]
        if self.to is None:
            return [skipped("no phone is named that a test message could go to", "--to +39… , or WHATSAPP_TEST_NUMBER")]
        async with self._twilio() as twilio:
            ended = await self._sent(twilio, Request(self.to, status_callback=None, body=CHECKING))
            if _is_outside_window(ended) and (template := await _approved_template(twilio, self.to)):
                self.told("more than 24 hours since this phone wrote to us: sent again as a template")
                ended = await self._sent(twilio, template)
        return [_of_ended(ended)]

    async def _sent(self, twilio: Twilio, request: Request) -> Ended:
        outcome = await twilio.create(request)
        if not isinstance(outcome, Accepted):
            return outcome
        self.told(f"Twilio has taken the test message: {outcome.status}")
        try:
            return await self._until_ended(twilio, outcome)
        except LookupFailed as failure:
            return failure

    async def _until_ended(self, twilio: Twilio, accepted: Accepted) -> Found:
        """The message when it has arrived or failed, or as it is when the time is over."""
        deadline = asyncio.get_running_loop().time() + ARRIVES_WITHIN_S
        while True:
            found = await twilio.fetch(accepted.sid)
            if found.status in ARRIVED | FAILURES or asyncio.get_running_loop().time() > deadline:
                return found
            await asyncio.sleep(0.2)

    async def send_through_the_system(self) -> list[Finding]:
        if self.where is None or self.to is None:
            return [
                skipped("no system that uses this account runs here", "Start it: `itarent up` or `itarent worker`.")
            ]
        async with Probe.among(self.where.kafka, self.where.topics, self.to, self.told) as probe:
            try:
                await probe.introduce()
                report = await probe.until_arrived(await probe.ask_for_test(), self._wanted)
            except Unheard as unheard:
                return [await self._paused() or failed(str(unheard), unheard.cure)]
            except Stalled as stalled:
                return [failed(str(stalled), stalled.cure)]
        return [ok(f"Kafka, the sender and Twilio: {report.status}")]

    async def _paused(self) -> Finding | None:
        """What an earlier message has caused holds up this one."""
        advice = await pause_of(self.where) if self.where else None
        if not advice:
            return None
        return failed(f"the sender waits: {advice.what}", f"{advice.cure} {NOT_TO_WAIT}")

    @property
    def _wanted(self) -> frozenset[MessageStatus]:
        """Without callbacks the system hears of `delivered` only when it asks, which it does not do at once."""
        taken = frozenset({MessageStatus.ACCEPTED, MessageStatus.QUEUED, MessageStatus.SENDING, MessageStatus.SENT})
        return ARRIVED if self._account.webhook_public_url else ARRIVED | taken

    @property
    def _account(self) -> TwilioAccount:
        assert self.settings is not None  # else no step that needs it runs
        return self.settings

    def _twilio(self) -> contextlib.AbstractAsyncContextManager[Twilio]:
        return Twilio.connected(
            self._account.twilio_base_url,
            self._account.whatsapp_business_account_id,
            self._account.whatsapp_api_token.get_secret_value(),
            self._account.whatsapp_phone_number_id,
            timeout_s=self.within_s,
            in_flight=1,
        )


NOT_TO_WAIT: Final = "When that is mended, `itarent ledger resume` has it try at once."
SYSTEM_CURE: Final = "Does the system run? `itarent check system` says what does not."


def advice_about(failure: LookupFailed) -> Advice:
    """What to say when Twilio could not be asked something."""
    if failure.http_status is None:
        return advice_without_answer(asked=failure.asked)
    return advice_of(failure.code, http_status=failure.http_status)


def advice_of_outcome(outcome: Outcome) -> Advice:
    """What to say about a message that was not taken."""
    match outcome:
        case Unavailable():
            return advice_without_answer(asked=False)
        case InDoubt() | Accepted():
            return advice_without_answer(asked=True)
        case Misconfigured(code=code, http_status=http_status):
            return advice_of(code, http_status=http_status)
        case RateLimited(code=code):
            return advice_of(code, http_status=HTTPStatus.TOO_MANY_REQUESTS)
        case Delayed(code=code) | OutsideWindow(code=code) | TemplateUnusable(code=code):
            return advice_of(code)
        case OptedOut(code=code) | Stale(code=code) | Rejected(code=code):
            return advice_of(code)
        case _:
            assert_never(outcome)


def _failed(advice: Advice, before: str = "") -> Finding:
    return failed(f"{before}{advice.what}", advice.cure)


async def _approved_template(twilio: Twilio, to: str) -> Request | None:
    """The test message as the first of its templates that Meta has approved; None where there is none."""
    try:
        standings = standings_of(templates(), await Contents(twilio).all())
    except LookupFailed:
        return None
    for (purpose, language), template in templates().items():
        if purpose is Purpose.TEST and (sid := standings.content_sid(purpose, language)):
            return Request(to, status_callback=None, content_sid=sid, content_variables=template.samples)
    return None


def _is_outside_window(ended: Ended) -> bool:
    return isinstance(ended, OutsideWindow) or (isinstance(ended, Found) and ended.error_code == OUTSIDE_WINDOW)


def _of_ended(ended: Ended) -> Finding:
    match ended:
        case Found():
            return _of_message(ended)
        case LookupFailed():
            return _failed(advice_about(ended), "the message was taken, and its status cannot be asked for. ")
        case _:
            return _failed(advice_of_outcome(ended))


def _of_message(found: Found) -> Finding:
    if found.status in FAILURES:
        return _failed(advice_of(found.error_code), f"{found.status}: ")
    if found.status in ARRIVED:
        return ok(f"the test message is {found.status}")
    return warning(
        f"the test message is {found.status}, and no phone has confirmed it within {ARRIVES_WITHIN_S:.0f} s",
        "Is the phone on and online, and has it WhatsApp? The message's status stands under Monitor → Logs.",
    )


def _of_signed(url: str, answer: httpx.Response) -> Finding:
    if answer.is_success:
        return ok(f"{url} takes what Twilio signs")
    reason = answer.text.strip()[:300] if answer.headers.get("content-type", "").startswith("text/plain") else ""
    cures = {
        HTTPStatus.FORBIDDEN: "Sender and webhook must have the same WEBHOOK_PUBLIC_URL, WHATSAPP_API_TOKEN and "
        "WHATSAPP_WEBHOOK_VERIFY_TOKEN.",
        HTTPStatus.NOT_FOUND: "Something else answers there: WEBHOOK_PUBLIC_URL must lead to the status-webhook.",
    }
    cure = cures.get(HTTPStatus(answer.status_code), "Look into the log of the status-webhook.")
    return failed(f"{url} refuses what Twilio signs ({answer.status_code}). {reason}".rstrip(), cure)


def _of_forged(answer: httpx.Response) -> list[Finding]:
    if answer.is_success:
        says = "the webhook takes what somebody else has signed"
        return [failed(says, "Something else answers there: WEBHOOK_PUBLIC_URL must lead to the status-webhook.")]
    return []


def _short(sid: str) -> str:
    return f"{sid[:6]}…{sid[-4:]}"
