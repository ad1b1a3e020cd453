"""The docstrings of a model's fields, for what documents them: reading the source takes too long for a cold start."""

import ast
import inspect
import textwrap

from pydantic import BaseModel


def docs_of(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstrings of a model's fields. One that is defined again without a docstring keeps that it had."""
    docs: dict[str, str] = {}
    for kind in reversed(model.__mro__):
        if issubclass(kind, BaseModel) and kind is not BaseModel:
            [definition] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
            assert isinstance(definition, ast.ClassDef)  # noqa: S101 - for the type checker
            for statement, following in zip(definition.body, definition.body[1:], strict=False):
                match statement, following:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        docs[name] = inspect.cleandoc(text)
    return docs
