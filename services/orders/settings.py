"""Settings that only orders has, besides those of every process (services/chassis/settings.py)."""

from typing import Literal

from aiohttp import web
from pydantic import Field

from services.chassis.keys import SETTINGS
from services.chassis.settings import Settings


class OrdersSettings(Settings):
    """Settings of one process of orders, read from the environment."""

    port: int = 9001
    reserve_stock: Literal["on_placement", "manual"] = Field(
        default="on_placement", description="whether placing an order reserves its stock, or people do so later"
    )


def orders_settings(app: web.Application) -> OrdersSettings:
    settings = app[SETTINGS]
    assert isinstance(settings, OrdersSettings), "the application was made with another service's settings"
    return settings
