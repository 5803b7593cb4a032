"""What this service does when something happened elsewhere or here: keep copies of regions, make gift cards."""

from collections.abc import Mapping

from services.chassis.consumers import Listener
from services.chassis.copies import on_copies, resent
from services.payments import gift_card_issue

LISTENERS: Mapping[str, Listener] = {
    **dict.fromkeys(("region.created", "region.updated", "region.deleted"), on_copies),
    **resent("region"),
    "order.placed": gift_card_issue.on_order_placed,
    "payment.payment_captured": gift_card_issue.on_payment_captured,
    gift_card_issue.CONTINUED: gift_card_issue.on_continued,
}
