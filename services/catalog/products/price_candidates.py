"""Which prices of a variant can apply, as SQL that reads share: `m` is a row of `prices`, `l` its price list, if any.

The variant's own prices can, and those of lists that hold now for whoever asks. prices.py chooses among them.
"""

CANDIDATES = "prices m left join price_lists l on l.id = m.price_list_id"
INCLUDES_TAX = """(
    coalesce(l.includes_tax, false)
    or coalesce((select r.includes_tax from regions r where r.id = m.region_id), false)
    or (select c.includes_tax from currencies c where c.code = m.currency_code)
)"""
FOR_ALL = "not exists (select from price_list_customer_groups g where g.price_list_id = l.id)"


def holds(groups: str | None = None) -> str:
    """The price is of no list, or of one that is active, now, and for everybody or for one of the customer `groups`."""
    whom = FOR_ALL
    if groups:
        whom = f"""({FOR_ALL} or exists (
            select from price_list_customer_groups g
            where g.price_list_id = l.id and g.customer_group_id = any({groups}::text[])
        ))"""
    return f"""(l.id is null or (
        l.status = 'active' and (l.starts_at is null or l.starts_at <= now())
        and (l.ends_at is null or l.ends_at > now()) and {whom}
    ))"""
