"""What may be done to an order, or to a draft, while a saga is under way for it: one table.

A row for each operation, a column for each kind of saga. Where the column's letters stand the operation is refused with
a Conflict until such a saga has ended; a dot lets both go on side by side. Whoever looks holds the lock of the order,
under which every saga of it is begun, so that the answer stays true until the transaction ends.
"""

from services.chassis.errors import Conflict

KINDS = {
    "PO": "place_order",
    "CP": "capture_placed",
    "CA": "capture",
    "RF": "refund",
    "CO": "cancel_order",
    "FU": "fulfill",
    "FC": "cancel_fulfillment",
    "RR": "receive_return",
    "RN": "return_now",
    "SW": "create_swap",
    "SC": "complete_swap",
    "SP": "process_swap_payment",
    "SX": "cancel_swap",
    "CL": "create_claim",
    "CX": "cancel_claim",
    "ER": "request_edit",
    "EC": "confirm_edit",
    "ES": "settle_edit",
    "EL": "clear_edit",
}
# An edit that is confirmed keeps everybody from its order until the stock has followed the lines (EC, ES). Who replaces
# lines waits for whatever may have its eye on one of them, which is all but what moves nothing but money. Who reserves
# stock of a line does, too, but need not wait for an edit whose lines are not in place yet. `write_fulfillments` and
# `replace_lines` are checked again in the last steps of sagas, which leave themselves out of account; `end_saga` is the
# last step of one that may have moved money since it was checked: nothing stops it.
TABLE = """
                     PO CP CA RF CO FU FC RR RN SW SC SP SX CL CX ER EC ES EL
change_draft         PO .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
delete_draft         PO .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
pay_draft            PO .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .

update_order         .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
complete_order       .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
archive_order        .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
add_shipping_method  .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
capture              .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
refund               .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
cancel_order         .  CP CA RF CO FU FC .  .  .  .  .  .  CL .  .  EC ES .

reserve_line         PO .  .  .  CO FU FC RR RN SW SC SP SX CL CX .  .  ES .
fulfill_order        .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
fulfill_swap         .  .  .  .  CO .  .  .  .  .  SC SP SX .  .  .  EC ES .
fulfill_claim        .  .  .  .  CO .  .  .  .  .  .  .  .  .  CX .  EC ES .
write_fulfillments   .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
dispatch_order       .  .  .  .  CO .  FC .  .  .  .  .  .  .  .  .  EC ES .
ship                 .  .  .  .  CO .  FC .  .  .  .  .  .  .  .  .  EC ES .
cancel_fulfillment   .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .

create_return        .  .  .  .  CO .  .  RR RN SW .  .  .  CL .  .  EC ES .
receive_return       .  .  .  .  CO .  .  RR RN SW .  .  .  CL .  .  EC ES .
cancel_return        .  .  .  .  CO .  .  RR RN SW .  .  .  CL .  .  EC ES .

create_swap          .  .  .  .  CO .  .  RR RN SW .  .  .  CL .  .  EC ES .
change_swap_cart     .  .  .  .  CO .  .  .  .  .  SC SP SX .  .  .  EC ES .
complete_swap        .  .  .  .  CO .  .  .  .  .  SC SP SX .  .  .  EC ES .
process_swap_payment .  .  .  .  CO .  .  .  .  .  SC SP SX .  .  .  EC ES .
cancel_swap          .  .  .  .  CO FU FC .  .  .  SC SP SX .  .  .  EC ES .

create_claim         .  .  .  .  CO .  .  RR RN SW .  .  .  CL .  .  EC ES .
update_claim         .  .  .  .  CO .  .  .  .  .  .  .  .  .  CX .  EC ES .
cancel_claim         .  .  .  .  CO FU FC .  .  .  .  .  .  .  CX .  EC ES .

create_edit          .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  .  EC ES .
describe_edit        .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
change_edit          .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  ER EC ES .
cancel_edit          .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  ER EC ES .
delete_edit          .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  ER EC ES .
request_edit         .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  ER EC ES .
confirm_edit         .  .  .  .  CO .  .  .  .  .  .  .  .  .  .  ER EC ES .
replace_lines        PO .  .  .  CO FU FC RR RN SW SC SP SX CL CX ER EC ES .

end_saga             .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .  .
"""


def read(table: str) -> dict[str, frozenset[str]]:
    """The kinds of sagas that each operation waits for."""
    columns, *rows = (line.split() for line in table.splitlines() if line)
    return {
        operation: frozenset(KINDS[column] for column, cell in zip(columns, cells, strict=True) if cell == column)
        for operation, *cells in rows
    }


WAITS_FOR = read(TABLE)


def conflict(kind: str) -> Conflict:
    """What whoever has to wait for a saga of this kind is answered."""
    return Conflict(f"Another request ({kind.replace('_', ' ')}) is at work on this order; try again when it is done.")
