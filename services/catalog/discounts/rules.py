"""The rule of a discount: what it takes off, and from what. A discount shares it with its dynamic codes."""

from typing import Literal, Self

from pydantic import model_validator

from services.catalog.bodies import Amount
from services.catalog.discounts.conditions import ConditionBody, RuleCondition, put_conditions
from services.catalog.discounts.rows import Discount
from services.chassis.db import Db
from services.chassis.errors import InvalidData
from services.chassis.http import ABSENT, Body


class RuleBody(Body):
    description: str | None = None
    type: Literal["fixed", "percentage", "free_shipping"]
    """It cannot change later."""
    value: Amount
    """Minor units for a `fixed` rule, percent for a `percentage`, at most 100; of no effect for `free_shipping`."""
    allocation: Literal["total", "item"]
    """Whether a `fixed` value is shared over all lines, or taken off every unit."""
    conditions: list[ConditionBody] | None = None
    """What it is for; all of them have to hold."""

    @model_validator(mode="after")
    def not_more_than_all(self) -> Self:
        check_value(self.type, self.value, ValueError)
        return self


class RuleUpdate(Body):
    id: str
    """Has to be the rule that the discount has."""
    description: str | None = None
    value: Amount = ABSENT
    """Minor units for a `fixed` rule, percent for a `percentage`, at most 100."""
    allocation: Literal["total", "item"] = ABSENT
    """Whether a `fixed` value is shared over all lines, or taken off every unit."""
    conditions: list[RuleCondition] | None = None
    """Those with an id are changed, the others added. The conditions not named stay."""


UPDATE_RULE = """
update discount_rules t set
    (description, value, allocation) = (
        select n.description, n.value, n.allocation from jsonb_populate_record(t, $2::text::jsonb) n
    ),
    updated_at = now()
where id = $1
"""


def check_value(type_: str, value: int, error: type[Exception] = InvalidData) -> None:
    """Raises `error` for more than 100 percent."""
    if type_ == "percentage" and value > 100:
        raise error("value: a percentage is at most 100")


async def update_rule(db: Db, discount: Discount, rule: RuleUpdate) -> None:
    """Change the rule, for all discounts that share it; its type stays. Raises NotFound, InvalidData or Duplicate."""
    if rule.id != discount.rule_id:
        raise InvalidData(f"rule: {rule.id} is not the rule of this discount.")
    if rule.value is not None:
        check_value(discount.type, rule.value)
    await db.execute(UPDATE_RULE, rule.id, rule.model_dump_json(exclude_unset=True, exclude={"id", "conditions"}))
    if rule.conditions:
        await put_conditions(db, rule.id, rule.conditions)
