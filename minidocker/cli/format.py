"""``--format``: Docker's output formats, with the part of Go's templates that people type.

    table = Table({"ID": "CONTAINER ID", "Names": "NAMES"}, ["ID", "Names"])
    print(table.render(rows, "table {{.ID}}\\t{{.Names}}"))      # also "", "json" and a bare template
    print(Template("{{.State.Pid}} {{json .Args}}").render(inspected))

An action holds fields (``.A.B``), strings, numbers, the functions below, ``|`` and brackets. ``range``, ``if`` and variables are
refused: ``--format json`` and a JSON tool do that better. Go's own description: https://pkg.go.dev/text/template
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from minidocker.errors import SpecError

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?P<number>-?\d+)|(?P<field>(?:\.\w+)+|\.)|(?P<word>\w+)|(?P<mark>[|()]))"""
)
_ACTION = re.compile(r"""\{\{(-(?=\s))?((?:"(?:[^"\\\n]|\\.)*"|`[^`]*`|(?!\}\}|\{\{).)*?)((?<=\s)-)?\}\}""", re.DOTALL)
_REFUSED = frozenset(["range", "if", "else", "end", "with", "define", "template", "block", "break", "continue"])
_ELSEWHERE = "use --format json and a JSON tool for what needs more than fields, json, index, join, len, lower, upper, println"

Evaluator = Callable[[Any], Any]


def _broken(why: str, *, hint: str = _ELSEWHERE) -> SpecError:
    return SpecError(f"template parsing error: {why}", hint=hint)


def go_text(value: Any) -> str:
    """*value* as Go's ``fmt`` prints it: ``true``, ``[a b]``, ``map[k:v]``."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "map[" + " ".join(f"{key}:{go_text(value[key])}" for key in sorted(value)) + "]"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(go_text(item) for item in value) + "]"
    return str(value)


def go_json(value: Any) -> str:
    """*value* as one line of JSON without blanks, as Go's encoder writes it."""
    plain = {k: v for k, v in value.items() if not callable(v)} if isinstance(value, Mapping) else value
    return json.dumps(plain, separators=(",", ":"), ensure_ascii=False)


def _index(container: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(container, Mapping):
            container = container.get(str(key), "")
        elif isinstance(container, (list, tuple)) and isinstance(key, int) and 0 <= key < len(container):
            container = container[key]
        else:
            raise _broken(f"cannot index {go_text(container)[:60]} with {key!r}", hint="")
    return container


def _join(items: Any, separator: Any) -> str:
    if not isinstance(items, (list, tuple)):
        raise _broken(f"join needs a list, not {go_text(items)[:60]}", hint="")
    return go_text(separator).join(go_text(item) for item in items)


def _length(value: Any) -> int:
    if not isinstance(value, (str, list, tuple, Mapping)):
        raise _broken(f"len of {go_text(value)[:60]}", hint="")
    return len(value)


_FUNCTIONS: dict[str, tuple[int, int, Callable[..., Any]]] = {  # name: least and most arguments, what it does
    "json": (1, 1, go_json),
    "index": (2, 9, _index),
    "join": (2, 2, _join),
    "len": (1, 1, _length),
    "lower": (1, 1, lambda value: go_text(value).lower()),
    "upper": (1, 1, lambda value: go_text(value).upper()),
    "println": (0, 9, lambda *values: " ".join(go_text(value) for value in values) + "\n"),
}


def _walk(value: Any, path: str) -> Any:
    """Follow ``.A.B`` from *value*."""
    for name in path.split(".")[1:]:
        if not name:
            continue
        if not isinstance(value, Mapping) or name not in value:
            known = ", ".join(value) if isinstance(value, Mapping) else ""
            raise _broken(f'"{path}": no field "{name}"', hint=f"fields here: {known}" if known else "")
        value = value[name]
    return value


class _Parser:
    """Recursive descent over the tokens of one action. Each method returns a function from data to a value."""

    def __init__(self, action: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        while action[at:].strip():
            found = _TOKEN.match(action, at)
            if not found:
                raise _broken(f"unexpected {action[at:].strip()[:20]!r}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()
        self.at = 0

    def peek(self) -> tuple[str, str]:
        return self.tokens[self.at] if self.at < len(self.tokens) else ("end", "")

    def whole(self) -> Evaluator:
        result = self.pipeline()
        if self.peek()[0] != "end":
            raise _broken(f"unexpected {self.peek()[1]!r}")
        return result

    def pipeline(self) -> Evaluator:
        steps = [self.command()]
        while self.peek() == ("mark", "|"):
            self.at += 1
            steps.append(self.command())

        def evaluate(data: Any) -> Any:
            value = steps[0](data)()
            for step in steps[1:]:
                value = step(data)(value)
            return value

        return evaluate

    def command(self) -> Callable[[Any], Callable[..., Any]]:
        """A function or field with its arguments; what stands left of ``|`` comes as the last one."""
        kind, text = self.peek()
        if kind == "word" and text not in ("true", "false", "nil"):
            if text not in _FUNCTIONS:
                raise _broken(f"{{{{{text}}}}} is not supported" if text in _REFUSED else f'function "{text}" not defined')
            self.at += 1
            return self._call_function(text, self.operands())
        first, rest = self.operand(), self.operands()

        def apply(data: Any) -> Callable[..., Any]:
            def call(*piped: Any) -> Any:
                value, arguments = first(data), [item(data) for item in rest] + list(piped)
                if callable(value):
                    return value(*arguments) if len(arguments) == 1 else _wrong_count(text)
                return value if not arguments else _wrong_count(text)

            return call

        return apply

    @staticmethod
    def _call_function(name: str, arguments: list[Evaluator]) -> Callable[[Any], Callable[..., Any]]:
        least, most, function = _FUNCTIONS[name]

        def apply(data: Any) -> Callable[..., Any]:
            def call(*piped: Any) -> Any:
                values = [item(data) for item in arguments] + list(piped)
                return function(*values) if least <= len(values) <= most else _wrong_count(name)

            return call

        return apply

    def operands(self) -> list[Evaluator]:
        found = []
        while self.peek()[0] != "end" and self.peek() not in (("mark", "|"), ("mark", ")")):
            found.append(self.operand())
        return found

    def operand(self) -> Evaluator:
        kind, text = self.peek()
        self.at += 1
        if kind == "field":
            return lambda data: _walk(data, text)
        if kind == "string":
            value = _unquote(text)
            return lambda data: value
        if kind == "number":
            number = int(text)
            return lambda data: number
        if (kind, text) == ("mark", "("):
            return self._bracket()
        if kind == "word" and text in ("true", "false", "nil"):
            constant = {"true": True, "false": False, "nil": None}[text]
            return lambda data: constant
        raise _broken(f"unexpected {text!r}" if text else "missing value for command")

    def _bracket(self) -> Evaluator:
        inner = self.pipeline()
        if self.peek() != ("mark", ")"):
            raise _broken("unclosed left paren")
        self.at += 1
        kind, path = self.peek()
        if kind != "field" or path == ".":
            return inner
        self.at += 1
        return lambda data: _walk(inner(data), path)  # (index .Mounts 0).Source


def _wrong_count(name: str) -> Any:
    raise _broken(f"wrong number of arguments for {name}")


def _unquote(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(json.loads(text))
    except ValueError as error:
        raise _broken(f"invalid string {text}") from error


class Template:
    """A parsed template. SpecError if it cannot be understood, when it is parsed or, for unknown fields, when it is rendered."""

    def __init__(self, text: str) -> None:
        self.parts: list[str | Evaluator] = []
        at, trim = 0, False
        for found in _ACTION.finditer(text):
            self._add_text(text[at : found.start()], trim_left=trim, trim_right=bool(found[1]))
            if not found[2].strip().startswith("/*"):
                self.parts.append(_Parser(found[2]).whole())
            at, trim = found.end(), bool(found[3])
        self._add_text(text[at:], trim_left=trim, trim_right=False)

    def _add_text(self, text: str, *, trim_left: bool, trim_right: bool) -> None:
        if "{{" in text:
            raise _broken("unclosed action", hint='write it as "{{.Field}}"')
        text = text.lstrip(" \t\r\n") if trim_left else text
        self.parts.append(text.rstrip(" \t\r\n") if trim_right else text)

    def render(self, data: Any) -> str:
        """The text with every action replaced by its value in *data*."""
        return "".join(part if isinstance(part, str) else go_text(part(data)) for part in self.parts)


def align(lines: Sequence[Sequence[str]], *, least: int = 10) -> str:
    """Cells under each other, as Docker aligns them: at least 10 columns, 3 blanks between, nothing after the last."""
    widths = [max([least - 3] + [len(line[i]) for line in lines if i < len(line) - 1]) + 3 for i in range(max(map(len, lines), default=0))]
    return "".join(  # the last column has a width too, which nobody uses
        "".join(cell.ljust(width) for cell, width in zip(line[:-1], widths, strict=False)) + line[-1] + "\n" for line in lines
    )


class Table:
    """What a list verb can show: *headers* names every field, *columns* those of the plain table."""

    def __init__(self, headers: Mapping[str, str], columns: Sequence[str]) -> None:
        self.headers, self.columns = headers, columns

    def render(self, rows: Iterable[Mapping[str, Any]], format: str = "") -> str:
        """*rows* as *format* says: "" or "table", "table TEMPLATE", "json" (one object a line), or a template for each row."""
        format = format.strip(" ")
        if format in ("", "table"):
            format = "table " + "\t".join(f"{{{{.{name}}}}}" for name in self.columns)
        if format == "json":
            return "".join(go_json({name: row[name] for name in sorted(row)}) + "\n" for row in rows)
        is_table = format.startswith("table ")
        template = Template(format.removeprefix("table ").strip(" ").replace("\\t", "\t").replace("\\n", "\n"))
        if not is_table:
            return "".join(template.render(row) + "\n" for row in rows)
        head = {**self.headers, "Label": lambda name: name}
        return align([template.render(item).split("\t") for item in [head, *rows]])
