"""How an operation on payments gets to its provider, exactly once.

An operation is prepared under the locks of its payments (what is refused is refused there), the provider is asked, and
its answers are settled. For a provider in the box all three happen in one transaction. A remote one is asked in between
two transactions, by a saga; its payments stand in `provider_work` meanwhile, and nobody else touches them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Literal

from aiohttp import web

from services.chassis import saga_rows
from services.chassis.db import Db
from services.chassis.errors import InvalidData, NotAllowed, Unavailable
from services.chassis.ids import new_id
from services.chassis.keys import POOL
from services.chassis.sagas import Saga, Step, begin, intention, run
from services.payments.provider_protocol import Data, Provider, Row
from services.payments.providers import provider

Reply = dict[str, Any]

IDLE = "select not exists (select from provider_work where payment_id = any($1))"
OCCUPY = "insert into provider_work (payment_id, work_id) select unnest($1::text[]), $2"
FREE = "delete from provider_work where work_id = $1"
WORK = "select work_id from provider_work where payment_id = any($1)"


@dataclass(frozen=True)
class Part:
    """What to ask one payment's provider."""

    payment: Row
    amount: int


@dataclass(frozen=True)
class Work:
    """An operation that may go ahead. `facts` is what settling needs besides the providers' answers, `uses` what at
    the provider nobody else may use meanwhile."""

    parts: list[Part]
    facts: dict[str, Any] = field(default_factory=dict)
    uses: list[str] = field(default_factory=list)
    id: str = field(default_factory=lambda: new_id("work"))

    @property
    def remote(self) -> bool:
        return any(provider(part.payment["provider_id"]).remote for part in self.parts)


@dataclass(frozen=True, eq=False)
class Operation:
    """What to ask of the providers, and what their answers change here."""

    name: Literal["authorize", "capture", "cancel", "refund"]
    settle: Callable[[Db, Work, list[Data]], Awaitable[Reply]]

    @property
    def kind(self) -> str:
        """Of which kind its sagas are."""
        return f"provider_{self.name}"

    @cached_property
    def steps(self) -> tuple[Step, ...]:
        """The saga of a remote provider. `occupy` is there to be compensated; the payments are occupied from the
        start."""

        async def occupy(app: web.Application, saga: Saga) -> dict[str, Any]:
            return {}

        async def free(app: web.Application, saga: Saga) -> None:
            await app[POOL].execute(FREE, saga.subject)

        async def ask(app: web.Application, saga: Saga) -> dict[str, Any]:
            return {"answers": await self.ask(work_of(saga), again=saga.attempts > 0)}

        async def settle(db: Db, saga: Saga) -> Reply:
            await db.execute(FREE, saga.subject)
            return await self.settle(db, work_of(saga), saga.results["ask"]["answers"])

        return (
            Step("occupy", do=occupy, compensate=free),
            Step("ask", do=ask, no_return=True),
            Step("settle", commit=settle),
        )

    async def ask(self, work: Work, *, again: bool = False) -> list[Data]:
        """The providers' answers, in the order of the parts. Fewer answers than parts: the rest was refused when money
        had moved already, and what moved has to be settled. `again`: they may have been asked before, long ago."""
        answers: list[Data] = []
        for part in work.parts:
            payment_provider, key = provider(part.payment["provider_id"]), f"{work.id}:{part.payment['id']}"
            try:
                if (
                    self.name == "authorize"
                    and again
                    and (data := await find_authorized(payment_provider, part.payment))
                ):
                    answers.append(data)
                elif self.name == "refund":
                    answers.append(await payment_provider.refund(part.payment, part.amount, key))
                else:
                    answers.append(await getattr(payment_provider, self.name)(part.payment, key))
            except (NotAllowed, InvalidData):
                if not answers:
                    raise
                break
        return answers


async def find_authorized(payment_provider: Provider, payment: Row) -> Data | None:
    """What the provider has made of the payment already, where it can tell."""
    find = getattr(payment_provider, "find_authorized", None)
    authorized: Data | None = await find(payment) if find else None
    return authorized


def work_of(saga: Saga) -> Work:
    """The work that a saga was begun with."""
    return Work([Part(**part) for part in saga.state["parts"]], saga.state["facts"], id=saga.state["id"])


async def perform(
    app: web.Application,
    operation: Operation,
    prepare: Callable[[Db], Awaitable[Work | Reply]],
    request: web.Request | None = None,
) -> Reply:
    """Prepare in a transaction, ask the provider, settle. A reply instead of work means that it was done before.

    With the `request` that asks for it, its Idempotency-Key is honoured.
    """
    async with intention(request) if request else transaction_of(app) as (db, saga):
        if saga is None:
            work = await prepare(db)
            if not isinstance(work, Work):
                return work
            if not work.remote:
                return await operation.settle(db, work, await operation.ask(work))
            saga = await begin(db, operation.kind, work.id, asdict(work), request)
            await db.execute(OCCUPY, [part.payment["id"] for part in work.parts] + work.uses, work.id)
    return await run(app, operation.steps, saga)


@asynccontextmanager
async def transaction_of(app: web.Application) -> AsyncIterator[tuple[Db, None]]:
    """The transaction of a command, which nobody began before."""
    async with app[POOL].acquire() as db, db.transaction():
        yield db, None


async def check_idle(db: Db, payment_ids: list[str]) -> None:
    """Raises Unavailable while a remote provider is at work on one of the payments, which the caller has locked."""
    if not await db.fetchval(IDLE, payment_ids):
        raise Unavailable("The payment provider is at work on this payment; ask again later.", outcome_unknown=True)


async def wake(db: Db, payment_ids: list[str]) -> None:
    """Have work on these payments that waits for its next attempt go on at once."""
    await saga_rows.wake(db, [row["work_id"] for row in await db.fetch(WORK, payment_ids)])
