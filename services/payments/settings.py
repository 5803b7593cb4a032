"""Settings that only payments has, besides those of every process (services/chassis/settings.py)."""

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from services.chassis.settings import Settings


class PaymentsSettings(Settings):
    """Settings of one process of payments, read from the environment."""

    port: int = 9003


class StripeSettings(BaseSettings):
    """What stripe_provider.py needs, from the environment (prefix `MERCER_`); an empty variable is as good as none."""

    model_config = SettingsConfigDict(env_prefix="MERCER_", extra="ignore", env_ignore_empty=True)

    stripe_api_key: SecretStr | None = None
    stripe_api_base: str = "https://api.stripe.com"
    stripe_webhook_secret: SecretStr | None = None
