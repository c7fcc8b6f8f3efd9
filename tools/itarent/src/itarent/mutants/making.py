"""Mutants of a module: its source with one small mistake each, of the kind that people make. Pure."""

import ast
import marshal
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True)
class Mutant:
    module: str
    """As `matcher.places`."""
    line: int
    text: str
    """The line, without its indentation."""
    before: str
    after: str
    code: bytes
    """Marshalled, to be executed as the module."""

    def __str__(self) -> str:
        return f"{self.module}:{self.line}  {self.before}  →  {self.after}"


COMPARISONS: Final[Mapping[type[ast.cmpop], tuple[type[ast.cmpop], ...]]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}

OPERATORS: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
}

NAMES: Final = {"min": "max", "max": "min", "any": "all", "all": "any", "minimum": "maximum", "maximum": "minimum"}

NO_BEHAVIOUR: Final = {"annotation", "returns", "decorator_list", "type_params", "bases", "keywords_of_class"}
"""What the checker reads, and not the interpreter."""


def mutants_of(module: str, source: str, path: str) -> Iterator[Mutant]:
    """Every mutant, in the order of the source."""
    tree, lines = ast.parse(source), source.splitlines()
    for parent, field, at, node in _places(tree):
        for mutated in _mutations(node):
            ast.copy_location(mutated, node)
            ast.fix_missing_locations(mutated)
            _put(parent, field, at, mutated)
            yield Mutant(
                module,
                node.lineno,
                lines[node.lineno - 1].strip(),
                _one_line(node),
                _one_line(mutated),
                marshal.dumps(compile(tree, path, "exec")),
            )
            _put(parent, field, at, node)


def _places(parent: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, Any]]:
    """Each expression and statement with the place where it hangs in the tree."""
    for field, value in ast.iter_fields(parent):
        if field in NO_BEHAVIOUR:
            continue
        children = list(enumerate(value)) if isinstance(value, list) else [(None, value)]
        for at, node in children:
            if isinstance(node, ast.expr | ast.stmt):
                yield parent, field, at, node
            if isinstance(node, ast.AST):
                yield from _places(node)


def _put(parent: ast.AST, field: str, at: int | None, node: ast.AST) -> None:
    if at is None:
        setattr(parent, field, node)
    else:
        getattr(parent, field)[at] = node


def _one_line(node: ast.AST) -> str:
    return " ".join(ast.unparse(node).split())


def _mutations(node: ast.AST) -> Iterator[Any]:
    yield from _of_statement(node) if isinstance(node, ast.stmt) else _of_expression(node)


def _of_expression(node: ast.AST) -> Iterator[Any]:
    match node:
        case ast.Compare():
            yield from _of_comparison(node)
        case ast.BoolOp(operator, values):
            yield ast.BoolOp(ast.Or() if isinstance(operator, ast.And) else ast.And(), values)
        case ast.UnaryOp(ast.Not() | ast.Invert() | ast.USub(), operand):
            yield operand
        case ast.BinOp() if type(node.op) in OPERATORS and not _names_types(node):
            yield ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        case ast.Constant(bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(int(value)):
            yield from (ast.Constant(value + 1), ast.Constant(value - 1))
        case ast.Name(name, context) if name in NAMES:
            yield ast.Name(NAMES[name], context)
        case ast.Attribute(value, name, context) if name in NAMES and isinstance(value, ast.Name) and value.id == "np":
            yield ast.Attribute(value, NAMES[name], context)


def _of_comparison(node: ast.Compare) -> Iterator[ast.Compare]:
    for place, operator in enumerate(node.ops):
        for other in COMPARISONS[type(operator)]:
            yield ast.Compare(node.left, [*node.ops[:place], other(), *node.ops[place + 1 :]], node.comparators)


def _of_statement(node: ast.stmt) -> Iterator[ast.stmt]:
    match node:
        case ast.AugAssign(target, operator, value):
            yield ast.AugAssign(target, OPERATORS[type(operator)](), value)
            yield ast.Pass()
        case ast.Expr(ast.Call()) | ast.Raise() | ast.Assign([ast.Attribute() | ast.Subscript(), *_]):
            yield ast.Pass()
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case _:
            return


def _names_types(node: ast.BinOp) -> bool:
    """`InCircle | InPolygon`: types are written with capitals."""
    return isinstance(node.op, ast.BitOr) and ast.unparse(node.right).rpartition(".")[2][:1].isupper()
