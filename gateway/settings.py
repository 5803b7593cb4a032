"""What the gateway is told from outside, besides what every process is told (services/chassis/settings.py)."""

import re
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import NoDecode

from services.chassis.settings import Settings

ORIGIN = re.compile(r"https?://[^/\s*,]+")
SERVICES = ("orders", "catalog", "payments", "inventory")


class GatewaySettings(Settings):
    """Settings of one gateway process, read from the environment (prefix `MERCER_`)."""

    port: int = 9000
    session_secret: SecretStr = Field(
        min_length=32,
        description="signs tokens and invites, keys the digests of API tokens: changing it ends all of them",
    )
    orders_url: str = "http://127.0.0.1:9001"
    catalog_url: str = "http://127.0.0.1:9002"
    payments_url: str = "http://127.0.0.1:9003"
    inventory_url: str = "http://127.0.0.1:9004"
    max_upload_bytes: int = Field(default=50 * 1024 * 1024, gt=0, description="body of a request to /admin/uploads")
    upstream_seconds: float = Field(default=30.0, gt=0, description="time without a byte, from either side, until 504")
    upstream_connections: int = Field(default=100, gt=0, description="connections to each service; more requests wait")
    secure_cookies: bool = Field(default=False, description="mark cookies Secure even without X-Forwarded-Proto: https")
    trusted_proxies: Annotated[list[IPv4Network | IPv6Network], NoDecode] = Field(
        default=[],
        description="networks, comma separated, whose X-Forwarded-For tells the client's address for the sign-in limit",
    )
    cors_origins: Annotated[frozenset[str], NoDecode] = Field(
        default=frozenset(),
        description="origins of front ends, comma separated (https://admin.example.com), that browsers may let in",
    )
    admin_url: str | None = Field(
        default=None,
        pattern=r"^https?://",
        description="where people find the admin front end; mails link to its pages /invite and /reset-password",
    )
    admin_email: str | None = None
    admin_password: SecretStr | None = None

    @field_validator("trusted_proxies", mode="before")
    @classmethod
    def split(cls, value: object) -> object:
        """`10.0.0.0/8,::1` as it stands in the environment."""
        return (
            [ip_network(part.strip()) for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        )

    @field_validator("cors_origins", mode="before")
    @classmethod
    def origins(cls, value: object) -> object:
        """`https://a.example.com,http://localhost:7000`. Raises ValueError for what is no origin: `*` would let
        every page act with its visitor's session."""
        if not isinstance(value, str):
            return value
        given = frozenset(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        for origin in given:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin} is no origin; write one as https://admin.example.com")
        return given

    def urls(self) -> dict[str, str]:
        """Base URL of each service, without a slash at the end."""
        return {name: str(getattr(self, f"{name}_url")).rstrip("/") for name in SERVICES}
