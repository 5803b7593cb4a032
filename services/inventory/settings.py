"""Settings of inventory, which are those of every process (services/chassis/settings.py)."""

from services.chassis.settings import Settings


class InventorySettings(Settings):
    """Settings of one process of inventory, read from the environment."""

    port: int = 9004
