"""How a letter uses its recipient: which fields it only prints, and which it decides with.

Read off the templates' syntax trees. A field that is printed bare can become a slot in a letter that is
rendered once for many; a field the letter decides with belongs to the key of the variant. Whatever this
reading does not understand makes the letter be rendered per recipient: slower, never wrong.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from jinja2 import Environment, nodes

from mailer.rendering.values import Attributes

RECIPIENT = "recipient"
_ATTRIBUTES = "attributes"
_ANY = object()
_TRANSPARENT = (nodes.Template, nodes.Block, nodes.For, nodes.With, nodes.Scope)
_OPAQUE: Mapping[type[nodes.Node], str] = {
    nodes.FilterBlock: "a filter block",
    nodes.AssignBlock: "a set block",
    nodes.Macro: "a macro",
    nodes.CallBlock: "a call block",
    nodes.EvalContextModifier: "an autoescape block",
    nodes.ScopedEvalContextModifier: "an autoescape block",
}
"""What may change all that is printed inside it, and what people call it."""
_HOW: Mapping[type[nodes.Node], str] = {
    nodes.Filter: "filters {}",
    nodes.Test: "tests {} with is",
    nodes.Call: "hands {} to a function or macro",
    nodes.Compare: "compares {} with more than constants",
    nodes.Getattr: "takes {} apart",
    nodes.Getitem: "takes {} apart",
    nodes.Concat: "joins {} with something",
    nodes.BinExpr: "reckons with {}",
    nodes.List: "puts {} into a list",
    nodes.Tuple: "puts {} into a list",
    nodes.Dict: "puts {} into a list",
    nodes.For: "loops over {}",
    nodes.Assign: "gives {} another name",
    nodes.With: "gives {} another name",
    nodes.Include: "includes a part by {}",
}
"""What an expression or statement does with what stands in it."""
_ALWAYS_KEYS = {"language": "chooses its templates by {}"}


@dataclass(frozen=True, slots=True)
class FieldUse:
    """How the templates use the recipient's fields; attributes are named ``attributes.x``."""

    slots: frozenset[str]
    """Printed bare and nothing else, or printed and asked whether they are there."""
    presence: frozenset[str]
    """Asked whether they are there."""
    compared: Mapping[str, frozenset[object]]
    """Only compared with constants: by field, the constants."""
    keys: Mapping[str, str]
    """Used in some other way: the value itself belongs to the variant. By field, how: ``filters {}``."""
    whole: str | None
    """Why the letter must be rendered per recipient whatever its fields; None if it need not."""


@dataclass(slots=True)
class _Reader:
    """Walks the trees of one letter.

    ``within`` names what may change all that is printed here; None where it reaches the letter as it is.
    """

    printed: set[str] = field(default_factory=set)
    asked: set[str] = field(default_factory=set)
    compared: dict[str, set[object]] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    whole: str | None = None
    hidden_blocks: dict[str, str] = field(default_factory=dict)

    def read(self, node: nodes.Node, *, within: str | None) -> None:
        """Read a statement."""
        match node:
            case nodes.Block() if node.name in self.hidden_blocks:
                self._children(node, within=self.hidden_blocks[node.name])
            case nodes.Output():
                for child in node.nodes:
                    self._print(child, within=within)
            case nodes.If():
                self._ask(node.test)
                for part in (*node.body, *node.elif_, *node.else_):
                    self.read(part, within=within)
            case nodes.Include() if within is not None:
                self.whole = self.whole or f"includes a part inside {within}"
            case nodes.Expr():
                self._use(node, "decides with {}")
            case _ if (opaque := _OPAQUE.get(type(node))) is not None:
                self._children(node, within=opaque)
            case _ if isinstance(node, _TRANSPARENT):
                self._children(node, within=within)
            case _:
                self._children(node, within=within or "a statement")

    def _children(self, node: nodes.Node, *, within: str | None) -> None:
        how = _HOW.get(type(node), "decides with {}")
        for child in node.iter_child_nodes():
            if isinstance(child, nodes.Expr):
                self._use(child, how)
            else:
                self.read(child, within=within)

    def _print(self, node: nodes.Node, *, within: str | None) -> None:
        """An expression whose value is printed as it is."""
        name = _field_of(node)
        match node:
            case _ if name is not None and within is None:
                self.printed.add(name)
            case nodes.CondExpr():
                self._ask(node.test)
                self._print(node.expr1, within=within)
                if node.expr2 is not None:
                    self._print(node.expr2, within=within)
            case nodes.Or() if _field_of(node.left) is not None:
                self._ask(node.left)
                self._print(node.left, within=within)
                self._print(node.right, within=within)
            case nodes.Call(node=nodes.Name(name="super")):
                pass
            case _:
                self._use(node, f"prints {{}} in {within}" if within else "reckons with {}")

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
                self._use(node, "decides with {}")

    def _use(self, node: nodes.Node, how: str) -> None:
        """An expression that may do anything with what it contains."""
        name = _field_of(node)
        if name is not None:
            self.used.setdefault(name, how)
            return
        match node:
            case nodes.Name(name="recipient"):
                self.whole = self.whole or "uses the recipient as a whole"
            case nodes.Name(name="self" | "super"):
                self.whole = self.whole or "prints one of its blocks through self or a filter"
        how = next((_HOW[kind] for kind in type(node).__mro__ if kind in _HOW), how)
        for child in node.iter_child_nodes():
            self._use(child, how)


def read_fields(environment: Environment, files: Iterable[str]) -> FieldUse:
    """How these templates, taken together, use the recipient.

    Raises:
        TemplateSyntaxError: a file is no template.
    """
    trees = [environment.parse(text) for text in files]
    reader = _Reader()
    for tree in trees:
        reader.hidden_blocks |= dict(_blocks_in_opaque(tree))
    for tree in trees:
        reader.read(tree, within=None)
    keys = dict(reader.used)
    for name in reader.printed & _ALWAYS_KEYS.keys():
        keys[name] = _ALWAYS_KEYS[name]
    for name in reader.compared:
        if name in reader.printed:
            keys.setdefault(name, "prints and compares {}")
        elif name in reader.asked:
            keys.setdefault(name, "compares {} and asks for it")
    return FieldUse(
        slots=frozenset(reader.printed - keys.keys()),
        presence=frozenset(reader.asked - keys.keys()),
        compared={
            name: frozenset(constants) for name, constants in reader.compared.items() if name not in keys
        },
        keys=keys,
        whole=reader.whole,
    )


def _blocks_in_opaque(node: nodes.Node, within: str | None = None) -> Iterable[tuple[str, str]]:
    """The blocks that stand inside something opaque, and inside what."""
    if within is not None and isinstance(node, nodes.Block):
        yield node.name, within
    within = _OPAQUE.get(type(node), within)
    for child in node.iter_child_nodes():
        yield from _blocks_in_opaque(child, within)


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
    """The recipient's field an expression reads: ``name``, ``attributes.nummer``; else None.

    ``attributes.get`` and ``attributes['items']`` may be what hands out any attribute, or all of them.
    """
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
        return None if hasattr(Attributes, name) else f"{_ATTRIBUTES}.{name}"
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
