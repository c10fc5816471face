"""How a letter uses its recipient: which fields it only prints, and which it decides with.

Read off the templates' syntax trees. A field that is printed bare can become a slot in a letter that is
rendered once for many; a field the letter decides with belongs to the key of the variant. Whatever this
reading does not understand makes the letter be rendered per recipient: slower, never wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, nodes

RECIPIENT = "recipient"
_ATTRIBUTES = "attributes"
_ANY = object()
_TRANSPARENT = (nodes.Template, nodes.Block, nodes.For, nodes.With, nodes.Scope)
_OPAQUE = (
    nodes.FilterBlock,
    nodes.AssignBlock,
    nodes.Macro,
    nodes.CallBlock,
    nodes.EvalContextModifier,
    nodes.ScopedEvalContextModifier,
)


@dataclass(frozen=True, slots=True)
class FieldUse:
    """How the templates use the recipient's fields; attributes are named ``attributes.x``."""

    slots: frozenset[str]
    """Printed bare and nothing else, or printed and asked whether they are there."""
    presence: frozenset[str]
    """Asked whether they are there."""
    compared: Mapping[str, frozenset[object]]
    """Only compared with constants: by field, the constants."""
    keys: frozenset[str]
    """Used in some other way: the value itself belongs to the variant."""
    whole: str | None
    """Why the letter must be rendered per recipient whatever its fields; None if it need not."""


@dataclass(slots=True)
class _Reader:
    """Walks the trees of one letter."""

    printed: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    compared: dict[str, set[object]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    whole: str | None = None
    hidden_blocks: set[str] = field(default_factory=set)

    def read(self, node: nodes.Node, *, bare: bool) -> None:
        """Read a statement; ``bare`` says that what is printed here reaches the letter unchanged."""
        match node:
            case nodes.Block() if node.name in self.hidden_blocks:
                self._children(node, bare=False)
            case nodes.Output():
                for child in node.nodes:
                    self._print(child, bare=bare)
            case nodes.If():
                self._ask(node.test)
                for part in (*node.body, *node.elif_, *node.else_):
                    self.read(part, bare=bare)
            case nodes.Include() if not bare:
                self.whole = self.whole or "it includes a part inside a filter, macro or set block"
            case nodes.Expr():
                self._use(node)
            case _ if isinstance(node, _OPAQUE):
                self._children(node, bare=False)
            case _ if isinstance(node, _TRANSPARENT):
                self._children(node, bare=bare)
            case _:
                self._children(node, bare=False)

    def _children(self, node: nodes.Node, *, bare: bool) -> None:
        for child in node.iter_child_nodes():
            self.read(child, bare=bare)

    def _print(self, node: nodes.Node, *, bare: bool) -> None:
        """An expression whose value is printed as it is."""
        name = _field_of(node)
        match node:
            case _ if name is not None and bare:
                self.printed.add(name)
            case nodes.CondExpr():
                self._ask(node.test)
                self._print(node.expr1, bare=bare)
                if node.expr2 is not None:
                    self._print(node.expr2, bare=bare)
            case nodes.Or() if _field_of(node.left) is not None:
                self._ask(node.left)
                self._print(node.left, bare=bare)
                self._print(node.right, bare=bare)
            case nodes.Call(node=nodes.Name(name="super")):
                pass
            case _:
                self._use(node)

    def _ask(self, node: nodes.Node) -> None:
        """An expression of which only truth or falsehood matters."""
        name = _field_of(node)
        match node:
            case _ if name is not None:
                self.asked.add(name)
            case nodes.Not():
                self._ask(node.node)
            case nodes.And() | nodes.Or():
                self._ask(node.left)
                self._ask(node.right)
            case nodes.Compare() if (told := _comparison(node)) is not None:
                self.compared.setdefault(told[0], set()).update(told[1])
            case _:
                self._use(node)

    def _use(self, node: nodes.Node) -> None:
        """An expression that may do anything with what it contains."""
        name = _field_of(node)
        if name is not None:
            self.used.add(name)
            return
        match node:
            case nodes.Name(name="recipient"):
                self.whole = self.whole or "it uses the recipient as a whole"
            case nodes.Name(name="self" | "super"):
                self.whole = self.whole or "it prints one of its blocks through self or a filter"
        for child in node.iter_child_nodes():
            self._use(child)


def read_fields(environment: Environment, files: Iterable[str]) -> FieldUse:
    """How these templates, taken together, use the recipient.

    Raises:
        TemplateSyntaxError: a file is no template.
    """
    trees = [environment.parse(text) for text in files]
    reader = _Reader()
    for tree in trees:
        reader.hidden_blocks |= set(_blocks_in_opaque(tree))
    for tree in trees:
        reader.read(tree, bare=True)
    keys = reader.used | (set(reader.compared) & reader.printed)
    compared = {
        name: frozenset(constants)
        for name, constants in reader.compared.items()
        if name not in keys and name not in reader.asked
    }
    keys |= set(reader.compared) - set(compared)
    return FieldUse(
        slots=frozenset(reader.printed - keys),
        presence=frozenset(reader.asked - keys),
        compared=compared,
        keys=frozenset(keys),
        whole=reader.whole,
    )


def _blocks_in_opaque(node: nodes.Node, *, inside: bool = False) -> Iterable[str]:
    if inside and isinstance(node, nodes.Block):
        yield node.name
    inside = inside or isinstance(node, _OPAQUE)
    for child in node.iter_child_nodes():
        yield from _blocks_in_opaque(child, inside=inside)


def _comparison(node: nodes.Compare) -> tuple[str, set[object]] | None:
    """The field and the constants of ``field == constant`` or ``field in (constants)``."""
    name = _field_of(node.expr)
    if name is None:
        return None
    constants: set[object] = set()
    for operand in node.ops:
        value = _constant(operand.expr)
        if operand.op in {"eq", "ne"} and value is not _ANY and not isinstance(value, tuple):
            constants.add(value)
        elif operand.op in {"in", "notin"} and isinstance(value, tuple):
            constants.update(value)
        else:
            return None
    return name, constants


def _constant(node: nodes.Expr) -> Any:
    if isinstance(node, nodes.Const) and isinstance(node.value, str | int | None):
        return node.value
    if isinstance(node, nodes.Tuple | nodes.List):
        items = tuple(_constant(item) for item in node.items)
        return _ANY if _ANY in items else items
    return _ANY


def _field_of(node: nodes.Node) -> str | None:
    """The recipient's field an expression reads: ``name``, ``attributes.nummer``; else None."""
    step = _step(node)
    if step is None:
        return None
    owner, name = step
    if isinstance(owner, nodes.Name) and owner.name == RECIPIENT:
        return None if name == _ATTRIBUTES else name
    outer = _step(owner)
    if outer is None:
        return None
    root, attributes = outer
    if isinstance(root, nodes.Name) and root.name == RECIPIENT and attributes == _ATTRIBUTES:
        return f"{_ATTRIBUTES}.{name}"
    return None


def _step(node: nodes.Node) -> tuple[nodes.Node, str] | None:
    if isinstance(node, nodes.Getattr):
        return node.node, node.attr
    if (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and isinstance(node.arg.value, str)
    ):
        return node.node, node.arg.value
    return None
