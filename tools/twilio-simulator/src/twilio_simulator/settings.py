"""What the simulator is told by its environment."""

from datetime import timedelta
from pathlib import Path

from pydantic import AnyHttpUrl, Field, SecretStr
from pydantic_settings import BaseSettings

from twilio_simulator.limits import Limits
from twilio_simulator.messages import Account, Template
from twilio_simulator.simulator import Behaviour


class Settings(BaseSettings):
    """The account has no defaults; the limits are Twilio's own (0 is without limit)."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(default=4010, ge=0, le=65_535)
    twilio_account_sid: str = Field(pattern=r"^AC[0-9a-f]{32}$")
    twilio_auth_token: SecretStr
    twilio_number: str = Field(default="+14155238886", pattern=r"^\+[1-9]\d{6,14}$")
    twilio_trial: bool = Field(default=False, description="verified recipients only, 50 messages a day")
    twilio_sandbox: bool = Field(default=True, description="recipients must have joined")
    twilio_sandbox_join: str = Field(default="silver-harbour", description="the words after `join`")
    twilio_templates: dict[str, str] = Field(default={}, description="JSON: ContentSid → text with {{1}}")
    inbound_webhook_url: AnyHttpUrl | None = None
    state_file: Path | None = Field(default=None, description="keeps messages and phones between starts")
    status_pace_seconds: float = Field(default=0.4, ge=0)
    latency_seconds: float = Field(default=0, ge=0, description="before an answer; Twilio's is about 0.1")
    requests_per_second: float = Field(default=2000, ge=0)
    concurrent_requests: int = Field(default=0, ge=0)
    messages_per_second: float = Field(default=80, ge=0)
    queue_seconds: float = Field(default=4 * 3600, ge=0)

    def account(self) -> Account:
        return Account(
            sid=self.twilio_account_sid,
            number=self.twilio_number,
            sandbox=self.twilio_sandbox,
            trial=self.twilio_trial,
            templates={sid: Template(body) for sid, body in self.twilio_templates.items()},
        )

    def behaviour(self) -> Behaviour:
        return Behaviour(
            pace=timedelta(seconds=self.status_pace_seconds),
            latency=timedelta(seconds=self.latency_seconds),
            limits=Limits(
                requests_per_second=self.requests_per_second or None,
                concurrent_requests=self.concurrent_requests or None,
                messages_per_second=self.messages_per_second or None,
                queue_seconds=self.queue_seconds,
            ),
        )
