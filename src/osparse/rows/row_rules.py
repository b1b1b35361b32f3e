"""What becomes of the fields of a row before anything else looks at it: other names, fields left out, the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from osparse.errors import InputError
from osparse.rows.text_template import TextTemplate, template_of


@dataclass(frozen=True)
class RowRules:
    """Fields are renamed first; every other rule uses the new names."""

    id_field: str | None = None
    """The name of the id; None takes ``id`` or ``_id``."""
    text_field: str | None = None
    """The name of the text; None takes ``text``. Without effect where there is a template."""
    template: TextTemplate | None = None
    """How the text is made of other fields."""
    exclude: tuple[str, ...] = ()
    """Fields that are not kept; ``a.b`` is the field b of the object a."""
    rename: Mapping[str, str] = field(default_factory=dict)
    """Name in the file -> name that counts."""
    _seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Raises :class:`InputError` for rules that contradict each other."""
        doubled = sorted({new for new in self.rename.values() if [*self.rename.values()].count(new) > 1})
        if doubled:
            raise InputError(f"`rename` gives two fields the name {', '.join(doubled)}")
        needed = {*self.template.fields} if self.template else {self.text_field or "text"}
        if lost := sorted(needed.intersection(self.exclude)):
            raise InputError(f"`exclude` leaves out {', '.join(lost)}, which the text is made of; keep it")

    @property
    def template_text(self) -> str | None:
        """The template as shards and indices record it; None without one."""
        return None if self.template is None else str(self.template)

    def renamed(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row with the names that count; raises :class:`ValueError` where it has a field of the new name too."""
        self._seen.update(name for name in self.rename if name in row)
        made = {self.rename.get(name, name): value for name, value in row.items()}
        if len(made) < len(row):
            taken = sorted(new for old, new in self.rename.items() if old in row and new in row)
            raise ValueError(f"`rename` gives a field the name {', '.join(taken)}, which the row has; rename that too")
        return made

    def kept(self, row: dict[str, Any]) -> dict[str, Any]:
        """The row without the fields left out."""
        for name in self.exclude:
            row = self._without(row, name, name)
        return row

    def unused(self) -> list[str]:
        """Names of ``exclude`` and ``rename`` that no row had."""
        return [name for name in (*self.rename, *self.exclude) if name not in self._seen]

    def _without(self, row: Mapping[str, Any], name: str, whole: str) -> dict[str, Any]:
        if name in row:
            self._seen.add(whole)
            return {other: value for other, value in row.items() if other != name}
        first, _, rest = name.partition(".")
        below = row.get(first)
        if not rest or not isinstance(below, (Mapping, list)):
            return dict(row)
        if isinstance(below, list):
            left: Any = [self._without(one, rest, whole) if isinstance(one, Mapping) else one for one in below]
        else:
            left = self._without(below, rest, whole)
        return {**row, first: left}


def make_rules(
    id_field: str | None = None,
    text_field: str | Sequence[str] | None = None,
    template: str | None = None,
    exclude: Sequence[str] = (),
    rename: Mapping[str, str] | None = None,
) -> RowRules:
    """The rules that the options of a command ask for.

    Args:
        text_field: One name, or several fields that make the text together, each on a line of its own.

    Raises:
        InputError: options that contradict each other.
    """
    names = [text_field] if isinstance(text_field, str) else [*(text_field or ())]
    made = template_of(names, template)
    return RowRules(id_field, names[0] if names and made is None else None, made, tuple(exclude), rename or {})


def parse_renames(texts: Sequence[str]) -> dict[str, str]:
    """``OLD=NEW`` -> {OLD: NEW}; raises :class:`InputError`."""
    renames: dict[str, str] = {}
    for text in texts:
        old, equals, new = text.partition("=")
        if not equals or not old.strip() or not new.strip() or old in renames:
            raise InputError(f"`rename` must be OLD=NEW, each OLD once, got {text!r}")
        renames[old.strip()] = new.strip()
    return renames
