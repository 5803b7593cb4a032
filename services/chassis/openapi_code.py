"""What the code of a handler says about its operation: body, query parameters, answers and errors.

Nothing is declared a second time: the handler's own source is followed, with what it calls, up to the few functions of
the chassis that every request and answer passes (openapi_meaning.py). Values that cannot be known before a request are
UNKNOWN; an answer that stays so fails a test, and is then declared in `ANSWERS` of its noun's file.
"""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType
from typing import Any

from services.chassis.errors import ApiError
from services.chassis.openapi_functions import (
    arguments,
    code_of,
    computable,
    filter_schema,
    is_filter,
    is_told,
    settled,
    signature,
    source_of,
)
from services.chassis.openapi_meaning import SPECIAL, Given, computed
from services.chassis.openapi_values import (
    DEEPEST,
    MOST,
    QUERY,
    UNKNOWN,
    Alternatives,
    Closure,
    Followed,
    Json,
    Listed,
    Memory,
    Operation,
    Query,
    Scope,
    Sent,
    Several,
    Shaped,
    Unknown,
    attribute,
    combined,
    compared,
    distinct,
    is_known,
    joined,
    key_of,
    member,
    members,
    statements_in,
)


@functools.cache
def followed_filter(condition: Any) -> dict[str, Any]:
    """Of a filter that a noun has written itself: what it makes of the value."""
    follower = Follower()
    list(follower.called(condition, [UNKNOWN, UNKNOWN, UNKNOWN], {}))
    found = [s for n, s in enumerate(follower.found.values) if s not in follower.found.values[:n]]
    return found[0] if len(found) == 1 else {"anyOf": found} if found else {}


class Follower:
    """Follows one handler. What it finds is in `found`. A memory lets several share what they have followed."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.found = Operation()
        self._deep: list[Any] = []
        self._memory = {} if memory is None else memory

    def schema_of(self, condition: Any) -> dict[str, Any]:
        """The JSON schema of a filter's values."""
        return filter_schema(condition) or followed_filter(condition)

    # Statements: each returns whether the next one can be reached.

    def run(self, body: list[ast.stmt], scope: Scope, returned: Alternatives) -> bool:
        return all(self.step(statement, scope, returned) for statement in body)

    def step(self, node: ast.stmt, scope: Scope, returned: Alternatives) -> bool:  # noqa: C901 - as `values`
        match node:
            case ast.Return(value=value):
                returned += self.value(value, scope) if value else [None]
                return False
            case ast.Raise(exc=exc):
                self.raised(self.value(exc, scope) if exc else [])
                return False
            case ast.Continue() | ast.Break():
                return False
            case ast.Assign(targets=targets, value=value):
                values = self.value(value, scope)
                for target in targets:
                    self.bind(target, values, scope)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self.bind(target, self.value(value, scope), scope)
            case ast.AugAssign(target=target, value=value):
                self.value(value, scope)
                self.bind(target, [UNKNOWN], scope)
            case ast.Expr(value=value):
                self.value(value, scope)
            case ast.If(test=test, body=body, orelse=orelse):
                blocks = [body if truth else orelse for truth in self.truths(test, scope)]
                return self.either(blocks, scope, returned)
            case ast.For(target=target, iter=over, body=body) | ast.AsyncFor(target=target, iter=over, body=body):
                turns = self.value(over, scope)[0]
                for turn in turns if isinstance(turns, tuple) and len(turns) <= MOST else [UNKNOWN]:
                    self.bind(target, [turn], scope)
                    self.either([body, node.orelse], scope, returned)
            case ast.While(test=test, body=body, orelse=orelse):
                self.value(test, scope)
                return self.either([body, orelse], scope, returned)
            case ast.With(items=items, body=body) | ast.AsyncWith(items=items, body=body):
                for item in items:
                    self.value(item.context_expr, scope)
                    if item.optional_vars:
                        self.bind(item.optional_vars, [UNKNOWN], scope)
                return self.run(body, scope, returned)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=last):
                blocks = [[*body, *orelse], *(handler.body for handler in handlers)]
                return self.either(blocks, scope, returned) and self.run(last, scope, returned)
            case ast.Match(subject=subject, cases=cases):
                self.value(subject, scope)
                return self.either([*(case.body for case in cases), []], scope, returned)
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                scope.names[node.name] = [Closure(node, scope)]
        return True

    def either(self, blocks: list[list[ast.stmt]], scope: Scope, returned: Alternatives) -> bool:
        """One of the blocks runs; afterwards a name is what any of those made it that go on."""
        ends = []
        for block in blocks:
            inner = Scope(dict(scope.names), scope.outside)
            if self.run(block, inner, returned):
                ends.append(inner.names)
        if not ends:
            return False
        names = set().union(*ends)
        scope.names.update({name: distinct(v for end in ends for v in end.get(name, [])) for name in names})
        return True

    def bind(self, target: ast.expr, values: Alternatives, scope: Scope) -> None:
        match target:
            case ast.Name(id=name):
                scope.names[name] = values
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                for n, part in enumerate(parts):
                    self.bind(part, distinct(member(value, n) for value in values), scope)
            case ast.Starred(value=inner):
                self.bind(inner, [UNKNOWN], scope)
            case ast.Subscript(value=ast.Name(id=name), slice=index):
                key = self.value(index, scope)[0]
                held = [v for v in scope.look_up(name) if isinstance(v, dict)]
                if held and is_known(key) and all(map(is_known, values)):
                    scope.names[name] = distinct({**one, key: value} for one in held for value in values)

    def raised(self, errors: Alternatives) -> None:
        classes = (error if inspect.isclass(error) else type(error) for error in errors)
        self.found.errors.update(cls for cls in classes if issubclass(cls, ApiError))

    # Expressions: each returns the values that it can have.

    def value(self, node: ast.expr, scope: Scope) -> Alternatives:
        return distinct(self.values(node, scope)) or [UNKNOWN]

    def truths(self, node: ast.expr, scope: Scope) -> list[bool]:
        found = self.value(node, scope)
        return sorted({truth for value in found for truth in ([bool(value)] if is_known(value) else [True, False])})

    def values(self, node: ast.expr, scope: Scope) -> Iterator[Any]:  # noqa: C901 - one case per kind of expression
        match node:
            case ast.Constant(value=value):
                yield value
            case ast.Name(id=name):
                yield from scope.look_up(name)
            case ast.Await(value=inner) | ast.NamedExpr(value=inner):
                found = self.value(inner, scope)
                if isinstance(node, ast.NamedExpr):
                    self.bind(node.target, found, scope)
                yield from found
            case ast.Attribute(value=inner, attr=name):
                for value in self.value(inner, scope):
                    yield getattr(value, name, UNKNOWN) if is_known(value) else attribute(value, name)
            case ast.Subscript(value=inner, slice=index):
                keys = self.value(index, scope)
                for value, key in itertools.product(self.value(inner, scope), keys):
                    self.read_from(value, key)
                    yield member(value, key)
            case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                make = {ast.Tuple: tuple, ast.List: list, ast.Set: set}[type(node)]
                for items in itertools.islice(self.spread(parts, scope), MOST):
                    yield make(items) if all(map(is_known, items)) else Several(tuple(items))
            case ast.Dict(keys=keys, values=parts):
                yield self.mapping(keys, parts, scope)
            case ast.JoinedStr(values=parts):
                pieces = [self.value(p.value if isinstance(p, ast.FormattedValue) else p, scope) for p in parts]
                for chosen in itertools.islice(itertools.product(*pieces), MOST):
                    yield joined(chosen, parts)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                for truth in self.truths(test, scope):
                    yield from self.value(body if truth else orelse, scope)
            case ast.BoolOp(op=op, values=parts):
                yield from self.either_of(isinstance(op, ast.Or), parts, scope)
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                yield from (not truth for truth in self.truths(inner, scope))
            case ast.Compare(left=left, ops=[op], comparators=[right]):
                for a, b in itertools.product(self.value(left, scope), self.value(right, scope)):
                    if isinstance(op, ast.In | ast.NotIn) and isinstance(a, str):
                        self.read_from(b, a)
                    yield from compared(op, a, b)
            case ast.BinOp(left=left, op=op, right=right):
                for a, b in itertools.product(self.value(left, scope), self.value(right, scope)):
                    yield combined(op, a, b)
            case ast.Call():
                yield from self.call(node, scope)
            case ast.Lambda():
                yield Closure(node, scope)
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                yield self.comprehension(node, scope)
            case _:
                yield UNKNOWN

    def either_of(self, is_or: bool, parts: list[ast.expr], scope: Scope) -> Iterator[Any]:
        """`a or b`, `a and b`."""
        for n, part in enumerate(parts):
            found = self.value(part, scope)
            last = n == len(parts) - 1
            yield from (v for v in found if last or not is_known(v) or bool(v) == is_or)
            if all(is_known(v) and bool(v) == is_or for v in found):
                return

    def comprehension(self, node: Any, scope: Scope) -> Any:
        """What is called inside counts; of what comes out, a part of the query and a list of something are kept."""
        inner = Scope(dict(scope.names), scope.outside)
        first = node.generators[0]
        over = self.value(first.iter, inner)
        turns = over[0] if isinstance(over[0], tuple) and len(over[0]) <= 4 * MOST else [UNKNOWN]
        found: Alternatives = []
        for turn in turns:
            self.bind(first.target, [turn], inner)
            for generator in node.generators[1:]:
                self.value(generator.iter, inner)
                self.bind(generator.target, [UNKNOWN], inner)
            for condition in (c for generator in node.generators for c in generator.ifs):
                self.value(condition, inner)
            if isinstance(node, ast.DictComp):
                self.value(node.key, inner)
                self.value(node.value, inner)
            else:
                found = self.value(node.elt, inner)
        if isinstance(node, ast.DictComp):
            return QUERY if isinstance(over[0], Query) else UNKNOWN
        return Listed(found[0]) if len(found) == 1 and isinstance(found[0], Shaped) else UNKNOWN

    def mapping(self, keys: list[ast.expr | None], parts: list[ast.expr], scope: Scope) -> Any:
        """A dict display: known, or an object of which the keys are known."""
        items: dict[Any, Any] = {}
        for key, part in zip(keys, parts, strict=True):
            value = self.value(part, scope)[0]
            if key is None:
                if isinstance(value, Shaped):
                    items.update(value.items)
                elif isinstance(value, Mapping):
                    items.update(value)
                else:
                    return UNKNOWN
            else:
                name = self.value(key, scope)[0]
                if not is_known(name):
                    return UNKNOWN
                items[name] = value
        return items if all(map(is_known, items.values())) else Shaped(items)

    def spread(self, parts: list[ast.expr], scope: Scope) -> Iterator[list[Any]]:
        """The members of a display or the arguments of a call, `*x` taken apart."""
        choices = []
        for part in parts:
            if isinstance(part, ast.Starred):
                found = self.value(part.value, scope)
                choices.append([members(v) for v in found])
            else:
                choices.append([[v] for v in self.value(part, scope)])
        for chosen in itertools.product(*choices):
            yield [item for items in chosen for item in items]

    # Calls

    def call(self, node: ast.Call, scope: Scope) -> Iterator[Any]:
        functions = self.value(node.func, scope)
        if isinstance(node.func, ast.Attribute):
            owner = self.value(node.func.value, scope)
            found = self.method(node.func.attr, owner, node, scope)
            if found is not None:
                yield from found
                return
        named = [k for k in node.keywords if k.arg]
        for function in functions:
            positional = itertools.islice(self.spread(node.args, scope), MOST)
            by_name = list(itertools.islice(itertools.product(*(self.value(k.value, scope) for k in named)), MOST))
            for args, values in itertools.islice(itertools.product(positional, by_name), 2 * MOST):
                yield from self.called(function, args, {k.arg or "": v for k, v in zip(named, values, strict=True)})

    def method(self, name: str, owners: Alternatives, node: ast.Call, scope: Scope) -> Alternatives | None:
        """Calls of methods that say something: reads of the query, uploads, joins of known texts."""
        first = self.value(node.args[0], scope)[0] if node.args else None
        if name in ("get", "pop") and isinstance(first, str) and any(isinstance(o, Query) for o in owners):
            self.found.knows(first)
            default = self.value(node.args[1], scope) if len(node.args) > 1 else []
            return [Sent(first), *default]
        if name == "items" and isinstance(owners[0], Mapping):
            return [tuple(owners[0].items())]
        if name in ("copy", "items") and any(isinstance(o, Query) for o in owners):
            return owners
        if name == "multipart":
            self.found.multipart = True
            return [UNKNOWN]
        if name == "decode" and any(isinstance(o, Json) for o in owners):
            return owners
        if name in ("fetchval", "fetchrow", "fetch", "execute") and all(isinstance(o, Unknown) for o in owners):
            said = [value for argument in node.args for value in self.value(argument, scope)]
            rows = [statement.row for value in said for statement in statements_in(value)]
            return distinct(Several((row, UNKNOWN, UNKNOWN)) for row in rows) or [UNKNOWN]
        return None

    def called(self, function: Any, args: list[Any], named: dict[str, Any]) -> Iterator[Any]:
        if len(args) == 3 and isinstance(args[1], Sent) and isinstance(function, FunctionType):
            self.found.knows(args[1].name, self.schema_of(function))
        if is_filter(function):
            self.found.values.append(self.schema_of(function))
            yield UNKNOWN
            return
        if function is functools.partial:
            yield functools.partial(args[0], *args[1:], **named) if callable(args[0]) else UNKNOWN
            return
        if isinstance(function, functools.partial):
            args, named, function = [*function.args, *args], {**function.keywords, **named}, function.func
        if known := SPECIAL.get(function) if getattr(function, "__hash__", None) else None:
            yield known(self, arguments(function, args, named))
        elif isinstance(function, Closure):
            yield from self.enter(function.node, function.scope.names, function.scope.outside, args, named)
        elif inspect.isclass(function) and issubclass(function, ApiError):
            yield function
        elif computable(function, args, named):
            for by_name in settled(function, named):
                yield computed(function, args, by_name)
        elif isinstance(target := code_of(function), FunctionType):
            yield from self.follow(target, args, named)
        else:
            yield UNKNOWN

    def follow(self, function: FunctionType, args: list[Any], named: dict[str, Any]) -> Iterator[Any]:
        """Into a function of ours."""
        node = source_of(function) if is_told(function) else None
        if node is None:
            yield UNKNOWN
            return
        key = function, tuple(map(key_of, args)), tuple((name, key_of(named[name])) for name in sorted(named))
        known = self._memory.get(key)
        # Followed from deeper inside it may have come to less.
        if known is None or known.deep > len(self._deep):
            outer, self.found = self.found, Operation()
            outside = dict(function.__globals__)
            if function.__closure__:
                outside |= inspect.getclosurevars(function).nonlocals
            parameters = signature(function).parameters.items()
            defaults = {name: [p.default] for name, p in parameters if p.default is not p.empty}
            returned = self.enter(node, defaults, outside, args, named)
            known = self._memory[key] = Followed(len(self._deep), returned, self.found, (args, named))
            self.found = outer
        self.found.add(known.found)
        yield from known.returned

    def enter(
        self, node: Any, names: dict[str, Alternatives], outside: Mapping[str, Any], args: list[Any], named: Given
    ) -> Alternatives:
        """Not into itself again, and not too deep."""
        if node in self._deep or len(self._deep) >= DEEPEST:
            return [UNKNOWN]
        self._deep.append(node)
        try:
            return list(self.inside(node, Scope(dict(names), outside), args, named))
        finally:
            self._deep.pop()

    def inside(self, node: Any, scope: Scope, args: list[Any], named: Given) -> Iterator[Any]:
        wanted = node.args
        positional = [a.arg for a in (*wanted.posonlyargs, *wanted.args)]
        for name in (*positional, *(a.arg for a in wanted.kwonlyargs)):
            scope.names.setdefault(name, [UNKNOWN])
        scope.names.update({name: [value] for name, value in zip(positional, args, strict=False)})
        scope.names.update({name: [value] for name, value in named.items()})
        if wanted.vararg:
            scope.names[wanted.vararg.arg] = [Several(tuple(args[len(positional) :]))]
        if isinstance(node, ast.Lambda):
            yield from self.value(node.body, scope)
            return
        returned: Alternatives = []
        if self.run(node.body, scope, returned):
            returned.append(None)
        yield from distinct(returned)

    def read_from(self, value: Any, key: Any) -> None:
        """`query["name"]`, `"name" in query`."""
        if isinstance(value, Query) and isinstance(key, str):
            self.found.knows(key)


def operation_of(handler: Callable[..., Any], memory: Memory | None = None) -> Operation:
    """What the code of `handler` says about its operation."""
    follower = Follower(memory)
    list(follower.called(handler, [UNKNOWN], {}))
    return follower.found
