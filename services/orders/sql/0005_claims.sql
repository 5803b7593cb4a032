-- The states of a claim (services/orders/claim_rules.py, status.py), and that it gives back no less than nothing.
alter table claims
    add check (payment_status in ('na', 'not_refunded', 'refunded')),
    add check (fulfillment_status in (
        'not_fulfilled', 'partially_fulfilled', 'fulfilled', 'partially_shipped', 'shipped', 'partially_returned',
        'returned', 'canceled', 'requires_action')),
    add check (refund_amount >= 0),
    add check (type = 'refund' or coalesce(refund_amount, 0) = 0);
