"""Places of categories among their siblings: 0, 1, 2 ... without gaps, whatever is made, moved and deleted.

Every change of the tree locks the table against other such changes: they are rare, and two at once could give two
siblings one rank or make a category its own ancestor. Products go in and out of categories meanwhile.
"""

from services.catalog.bodies import MAX_QUANTITY
from services.chassis.db import Db
from services.chassis.errors import NotAllowed, NotFound

LOCK_TREE = "lock table product_categories in share row exclusive mode"
COUNT = "select count(*) from product_categories where parent_category_id is not distinct from $1"
# From rank $2 to rank $3 of the parent $1, all move by $4.
SHIFT = """
update product_categories set rank = rank + $4
where parent_category_id is not distinct from $1 and rank between $2 and $3 and id <> $5
"""
PLACE = "update product_categories set parent_category_id = $2, rank = $3 where id = $1"
ANCESTORS = """
with recursive above as (
    select id, parent_category_id from product_categories where id = $1
    union select c.id, c.parent_category_id from product_categories c join above a on c.id = a.parent_category_id
) select id from above
"""


async def lock_tree(db: Db) -> None:
    """Until the commit nobody else changes the tree."""
    await db.execute(LOCK_TREE)


async def last_rank(db: Db, parent_id: str | None) -> int:
    """The rank of one more child of the parent. Raises NotFound for an unknown parent."""
    if parent_id is not None and not await db.fetchval("select true from product_categories where id = $1", parent_id):
        raise NotFound(f"There is no product category {parent_id}.")
    rank: int = await db.fetchval(COUNT, parent_id)
    return rank


async def move(
    db: Db, category_id: str, old_place: tuple[str | None, int], parent_id: str | None, rank: int | None
) -> None:
    """Put a category at `rank` (the end, when None or beyond it) of a parent; it leaves `old_place`."""
    old_parent, old_rank = old_place
    if parent_id == old_parent:
        if rank is None:
            return
        new_rank = min(rank, await last_rank(db, parent_id) - 1)
        if new_rank < old_rank:
            await db.execute(SHIFT, parent_id, new_rank, old_rank, 1, category_id)
        else:
            await db.execute(SHIFT, parent_id, old_rank, new_rank, -1, category_id)
    else:
        await check_parent(db, category_id, parent_id)
        end = await last_rank(db, parent_id)
        new_rank = end if rank is None else min(rank, end)
        await close_gap(db, category_id, old_place)
        await db.execute(SHIFT, parent_id, new_rank, MAX_QUANTITY, 1, category_id)
    await db.execute(PLACE, category_id, parent_id, new_rank)


async def check_parent(db: Db, category_id: str, parent_id: str | None) -> None:
    """Raises NotAllowed when the parent is the category itself or below it."""
    if parent_id is not None and category_id in {row["id"] for row in await db.fetch(ANCESTORS, parent_id)}:
        raise NotAllowed("A category cannot be below itself.")


async def close_gap(db: Db, category_id: str, old_place: tuple[str | None, int]) -> None:
    """Move up the siblings behind the place that a category leaves."""
    parent_id, rank = old_place
    await db.execute(SHIFT, parent_id, rank + 1, MAX_QUANTITY, -1, category_id)
