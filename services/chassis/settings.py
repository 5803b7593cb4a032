"""Settings of one process, read from the environment (prefix `MERCER_`)."""

import os
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a service is told from outside. The gateway adds its own in `gateway/settings.py`."""

    model_config = SettingsConfigDict(env_prefix="MERCER_", extra="ignore")

    host: str = "127.0.0.1"
    port: int
    database_url: SecretStr
    rabbitmq_url: SecretStr
    secret: SecretStr = Field(min_length=32, description="signs the actor tokens between gateway and services")
    namespace: str = "mercer"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    pool_size: int = Field(default=10, ge=2, description="database connections of one process")
    command_deadline: float = Field(default=5.0, gt=0, description="seconds a caller waits for a command's reply")
    shutdown_seconds: float = Field(default=20.0, gt=0, description="time that requests in flight get to finish")
    max_body_bytes: int = Field(default=4 * 1024 * 1024, gt=0)
    reserve_stock: Literal["on_placement", "manual"] = "on_placement"


PORTS = {"gateway": 9000, "orders": 9001, "catalog": 9002, "payments": 9003, "inventory": 9004}


def settings_for(service: str) -> Settings:
    """Settings of `service` from the environment, its port defaulting to the documented one."""
    port = int(os.environ.get("MERCER_PORT") or PORTS[service])
    return Settings(port=port)  # the rest comes from the environment
