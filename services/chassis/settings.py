"""Settings of one process, read from the environment (prefix `MERCER_`)."""

from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What every process reads from the environment; a service adds its own, and its port, in its `settings.py`.

    An empty variable is as good as none, so that a compose file can name them all.
    """

    model_config = SettingsConfigDict(env_prefix="MERCER_", extra="ignore", env_ignore_empty=True)

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
