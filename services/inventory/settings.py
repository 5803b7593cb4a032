"""What inventory is told from outside: nothing but what every process is told (services/chassis/settings.py)."""

from services.chassis.settings import Settings


class InventorySettings(Settings):
    """Settings of one process of inventory, read from the environment."""

    port: int = 9004
