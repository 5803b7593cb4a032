"""Notifications: what customers are told, by whichever providers are installed."""

from services.orders.notifications import events, notifications

OPERATIONS = [
    *notifications.OPERATIONS,
]
LISTENERS = {
    **events.LISTENERS,
}
