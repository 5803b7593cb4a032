"""Settings that only the catalog has, besides those of every process (services/chassis/settings.py)."""

from functools import cache
from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import Settings


class CatalogSettings(Settings):
    """Settings of one process of the catalog, read from the environment."""

    port: int = 9002


class FileSettings(BaseSettings):
    """Where files are kept, from the environment (prefix `MERCER_`); an empty variable is as good as none."""

    model_config = SettingsConfigDict(env_prefix="MERCER_", extra="ignore", env_ignore_empty=True)

    files: str = Field(default="disk", description="disk, s3 or the name of an installed provider")
    files_folder: Path = Path("uploads")
    files_url: str = Field(default="http://localhost:9000", description="where clients find the gateway, for links")
    max_upload_bytes: int = Field(default=50 * 1024 * 1024, gt=0, description="all files of one request")
    s3_bucket: str = ""
    s3_region: str = "us-east-1"
    s3_endpoint: str | None = Field(default=None, description="of another S3 than Amazon's")
    s3_access_key_id: SecretStr | None = Field(default=None, description="without it, what the machine itself may do")
    s3_secret_access_key: SecretStr | None = None

    @field_validator("files_url")
    @classmethod
    def without_slash(cls, url: str) -> str:
        return url.rstrip("/")


@cache
def file_settings() -> FileSettings:
    """The file settings of this process, read once."""
    return FileSettings()
