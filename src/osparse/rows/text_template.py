"""The text that is encoded, put together from fields of a row: ``{title}\\n{body}``.

The rules are plain enough for a script of an ingest pipeline to follow them to the letter (template
``ingest_compose_text``): documents that other programs write through the pipeline get the same text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osparse.errors import InputError

TEXT_FIELD = "text"
"""Where an index keeps the text that is encoded."""
_PARTS = re.compile(r"\{\{|\}\}|\{([^{}]+)\}|[^{}]+|(.)", re.DOTALL)
_ESCAPES = {r"\n": "\n", r"\t": "\t", "\\\\": "\\"}
_TRIMMED = "".join(map(chr, range(33)))
"""What Java's ``String.trim`` takes off."""
RENAME = "rename the row's text, as `rename=text=body`, and name that"


@dataclass(frozen=True)
class TextTemplate:
    """Fields of a row in their places between fixed text."""

    pieces: tuple[str, ...]
    """Fixed text and fields in turn, fixed text first and last, empty where two fields meet."""

    @classmethod
    def parse(cls, template: str) -> TextTemplate:
        """``{name}`` is a field, a dot in its name a step into an object; ``{{`` and ``}}`` are braces.

        Raises:
            InputError: a brace that is not closed, no field, or the field ``text``, where the result is stored.
        """
        pieces = [""]
        for part in _PARTS.finditer(template):
            if part[2]:
                raise InputError(
                    f"`template` has a single {part[2]!r}; double it, or close the name of a field: {template!r}"
                )
            if part[1]:
                pieces += [part[1], ""]
            else:
                pieces[-1] += part[0][:1] if part[0] in ("{{", "}}") else part[0]
        if len(pieces) == 1:
            raise InputError(f"`template` must name a field, such as {{title}}, got {template!r}")
        made = cls(tuple(pieces))
        if TEXT_FIELD in made.fields:
            raise InputError(f"`template` names the field text, which holds what the template makes; {RENAME}")
        return made

    @classmethod
    def of_fields(cls, fields: Sequence[str]) -> TextTemplate:
        """The fields, each on a line of its own; raises :class:`InputError` as :meth:`parse`."""
        return cls.parse("\n".join(f"{{{name}}}" for name in fields))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields in order, each once."""
        return tuple(dict.fromkeys(self.pieces[1::2]))

    def __str__(self) -> str:
        fixed = [piece.replace("{", "{{").replace("}", "}}") for piece in self.pieces]
        return "".join(f"{{{piece}}}" if i % 2 else fixed[i] for i, piece in enumerate(self.pieces))

    @property
    def short(self) -> str:
        """Eight hex digits that tell templates apart in names."""
        return hashlib.sha256(str(self).encode()).hexdigest()[:8]

    def text_of(self, row: Mapping[str, Any]) -> str | None:
        """The row's text without white space around it; None where it has none of the fields.

        A field without a value counts as empty, a list as its elements with spaces between.

        Raises:
            ValueError: a field that is neither a text nor a whole number nor true or false, nor a list of such.
        """
        values = {name: _value(row, name) for name in self.fields}
        if all(value is None for value in values.values()):
            return None
        shown = {name: _shown(name, value) for name, value in values.items()}
        return "".join(shown[piece] if i % 2 else piece for i, piece in enumerate(self.pieces)).strip(_TRIMMED)


def unescaped(text: str) -> str:
    r"""A template as typed on a command line: ``\n`` is a line end, ``\t`` a tab, ``\\`` a backslash."""
    return re.sub(r"\\[nt\\]", lambda found: _ESCAPES[found[0]], text)


def template_of(fields: Sequence[str], template: str | None) -> TextTemplate | None:
    """The template that two options ask for; None where they ask for none.

    One field without a template is no template: it is stored under another name.

    Raises:
        InputError: the template does not name exactly the fields, or cannot be read.
    """
    if template is None:
        return TextTemplate.of_fields(fields) if len(fields) > 1 else None
    made = TextTemplate.parse(template)
    if fields and {*fields} != {*made.fields}:
        raise InputError(
            f"`template` names {', '.join(made.fields)} and `text_field` {', '.join(fields)}; name the same fields, or "
            "leave `text_field` out"
        )
    return made


def _value(row: Mapping[str, Any], name: str) -> Any:
    if name in row:
        return row[name]
    value: Any = row
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _shown(name: str, value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(_plain(name, one) for one in value if one is not None)
    return "" if value is None else _plain(name, value)


def _plain(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)):
        return str(value)
    raise ValueError(f"{name} is part of the text and must be a text or a whole number, found {value!r}")
