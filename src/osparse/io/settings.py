"""A run's configuration: one YAML file and ``key=value`` overrides, read into a frozen dataclass.

Every problem is collected and reported together: unknown and repeated keys, missing keys, wrong types, values out of
range. A field without a default must be given; nothing is guessed. A field states its range with :func:`setting`, and
a dataclass states rules between its fields with a method ``problems() -> list[str]``.

    @dataclass(frozen=True)
    class Optimiser:
        lr: float = setting(low=0, above=True)
        \"\"\"Peak learning rate, per step.\"\"\"
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

import yaml

from osparse.errors import ConfigError
from osparse.io.files import read_text

T = TypeVar("T")
TAG = "task"
"""The key that tells which of several dataclasses a list's item is."""
_MISSING = dataclasses.MISSING


def setting(
    default: Any = _MISSING, *, low: float | None = None, high: float | None = None, above: bool = False
) -> Any:
    """A dataclass field within [low, high], or (low, high] with ``above``."""
    metadata = {"low": low, "high": high, "above": above}
    return (
        dataclasses.field(metadata=metadata)
        if default is _MISSING
        else dataclasses.field(default=default, metadata=metadata)
    )


def read_settings(
    kind: type[T], path: Path, overrides: Sequence[str] = (), complete: Callable[[dict[str, Any]], None] | None = None
) -> T:
    """Read ``path``, apply the overrides in order, check all of it.

    An override is ``key.inner=value`` with a YAML value, or ``key.inner=``, which deletes the key; an item of a list is
    named by its position or by its task. ``complete`` adds, after that, the settings that follow from others.

    Raises:
        ConfigError: with every problem found.
    """
    raw, problems = read_raw(path, overrides)
    if complete is not None:
        complete(raw)
    made = _make(kind, raw, "", problems)
    if problems:
        raise ConfigError(str(path), problems)
    return typing.cast(T, made)


def read_raw(path: Path, overrides: Sequence[str] = ()) -> tuple[dict[str, Any], list[str]]:
    """The YAML mapping with the overrides applied, not checked yet, and the problems of reading it.

    Raises :class:`ConfigError` if the file cannot be read as YAML.
    """
    problems: list[str] = []
    raw = _read_yaml(path, problems)
    for override in overrides:
        _override(raw, override, problems)
    return raw, problems


def checked(kind: type[T], raw: Any) -> tuple[T | None, list[str]]:
    """``raw`` (dicts, lists and scalars, as JSON has them) as a ``kind``, and every problem; None if there is any."""
    problems: list[str] = []
    made = _make(kind, raw, "", problems)
    return (None if problems else typing.cast(T, made)), problems


def to_plain(value: Any) -> Any:
    """A settings object as JSON-ready dicts, lists and scalars."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple):
        return [to_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class _Loader(yaml.SafeLoader):
    """YAML 1.2 numbers (``1e-4`` is one) and no repeated keys."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.MarkedYAMLError(problem=f"given twice: {', '.join(twice)}", problem_mark=node.start_mark)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)$|^[-+]?(\d+\.\d*|\.\d+)$|^[-+]?\.(inf|Inf)$|^\.(nan|NaN)$"),
    list("-+0123456789."),
)


def _read_yaml(path: Path, problems: list[str]) -> dict[str, Any]:
    try:
        raw = yaml.load(read_text(path), _Loader)
    except FileNotFoundError:
        raise ConfigError(str(path), ["the file does not exist; osparse configs lists the packaged ones"]) from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as problem:
        raise ConfigError(str(path), [f"not readable as YAML: {problem}"]) from None
    if not isinstance(raw, dict):
        problems.append(f"the settings must be a mapping, got {type(raw).__name__}")
        return {}
    return raw


def _override(raw: dict[str, Any], override: str, problems: list[str]) -> None:
    name, equals, text = override.partition("=")
    if not equals or not name:
        problems.append(f"`overrides` must be of the form key=value, got {override!r}")
        return
    try:
        value = yaml.load(text, _Loader)
    except yaml.YAMLError:
        problems.append(f"`overrides={override}`: the value is not YAML")
        return
    if not (_set(raw, name.split("."), value) if text.strip() else _delete(raw, name.split("."))):
        problems.append(f"`overrides={override}`: there is no {name} in the file")


def _set(raw: dict[str, Any], keys: Sequence[str], value: Any) -> bool:
    """Set a key, made with its parents where a mapping lacks it; False if a list has no such item."""
    *parents, last = keys
    place: Any = raw
    for part in parents:
        place = _step(place, part, make=True)
    key = _key(place, last)
    if key is not None:
        place[key] = value
    return key is not None


def _delete(raw: dict[str, Any], keys: Sequence[str]) -> bool:
    """Delete a key or a list's item; False if it is not in the file."""
    *parents, last = keys
    place: Any = raw
    for part in parents:
        place = _step(place, part, make=False)
    key = _key(place, last)
    if key is None or (isinstance(place, dict) and key not in place):
        return False
    del place[key]
    return True


def _key(place: Any, part: str) -> Any:
    """``part`` as the key of a mapping or the index of a list's item; None if it is neither."""
    if isinstance(place, list):
        return _position(place, part)
    return part if isinstance(place, dict) else None


def _step(place: Any, part: str, *, make: bool) -> Any:
    if isinstance(place, dict):
        return place.setdefault(part, {}) if make else place.get(part)
    if isinstance(place, list):
        position = _position(place, part)
        return place[position] if position is not None else None
    return None


def _position(items: list[Any], part: str) -> Any:
    """Index of a list's item by number, or by its task where one item alone has it; None if there is none."""
    if part.isdigit() and int(part) < len(items):
        return int(part)
    named = [i for i, item in enumerate(items) if isinstance(item, dict) and item.get(TAG) == part]
    return named[0] if len(named) == 1 else None


def _make(kind: Any, raw: Any, where: str, problems: list[str]) -> Any:
    """``raw`` as a ``kind``; appends to ``problems`` and returns None if it cannot be."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return _make_union(inner, raw, where, problems)
    if origin is Literal:
        return (
            raw
            if raw in inner and type(raw) in map(type, inner)
            else _wrong(where, f"one of {', '.join(map(repr, inner))}", raw, problems)
        )
    if origin is tuple:
        if not isinstance(raw, list):
            return _wrong(where, "a list", raw, problems)
        kinds = [inner[0]] * len(raw) if inner[1:] == (Ellipsis,) else inner
        if len(kinds) != len(raw):
            return _wrong(where, f"a list of {len(kinds)}", raw, problems)
        items = enumerate(zip(kinds, raw, strict=True))
        return tuple(_make(item_kind, item, f"{where}.{i}", problems) for i, (item_kind, item) in items)
    if origin is dict:
        return _make_dict(inner[1], raw, where, problems)
    if kind is Any:
        return raw
    if dataclasses.is_dataclass(kind):
        return _make_dataclass(kind, raw, where, problems)
    if kind is float and type(raw) is int:
        return float(raw)
    if kind is Path and isinstance(raw, str) and raw:
        return Path(raw)
    return raw if type(raw) is kind else _wrong(where, kind.__name__, raw, problems)


def _make_dict(kind: Any, raw: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(raw, Mapping) or not all(isinstance(key, str) for key in raw):
        return _wrong(where, "a mapping", raw, problems)
    return {key: _make(kind, item, f"{where}.{key}" if where else key, problems) for key, item in raw.items()}


def _make_union(choices: tuple[Any, ...], raw: Any, where: str, problems: list[str]) -> Any:
    words = [word for choice in choices if typing.get_origin(choice) is Literal for word in typing.get_args(choice)]
    rest = [c for c in choices if c is not type(None) and typing.get_origin(c) is not Literal]
    if (raw is None and type(None) in choices) or (isinstance(raw, str) and raw in words):
        return raw
    if len(rest) == 1 and words and isinstance(raw, str):
        return _wrong(where, f"{rest[0].__name__} or {' or '.join(map(repr, words))}", raw, problems)
    if len(rest) == 1:
        return _make(rest[0], raw, where, problems)
    tasks = {typing.get_args(typing.get_type_hints(choice)[TAG])[0]: choice for choice in rest}
    task = raw.get(TAG) if isinstance(raw, Mapping) else None
    if task not in tasks:
        return _wrong(f"{where}.{TAG}", f"one of {', '.join(tasks)}", task, problems)
    return _make(tasks[task], raw, where, problems)


def _make_dataclass(kind: Any, raw: Any, where: str, problems: list[str]) -> Any:
    if not isinstance(raw, Mapping):
        return _wrong(where or "the file", "a mapping of settings", raw, problems)
    fields = {field.name: field for field in dataclasses.fields(kind)}
    hints = typing.get_type_hints(kind)
    prefix = f"{where}." if where else ""
    before = len(problems)
    for key in raw:
        if key not in fields:
            problems.append(f"{prefix}{key}: unknown; known here: {', '.join(sorted(fields))}")
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name in raw:
            values[name] = _make(hints[name], raw[name], prefix + name, problems)
            _check_range(values[name], field, prefix + name, problems)
        elif field.default is _MISSING and field.default_factory is _MISSING:
            problems.append(f"{prefix}{name}: missing; it has no default")
    if len(problems) > before:
        return None
    made = kind(**values)
    problems += [f"{prefix}{problem}" for problem in getattr(made, "problems", list)()]
    return made


def _check_range(value: Any, field: dataclasses.Field[Any], where: str, problems: list[str]) -> None:
    low, high, above = (field.metadata.get(key) for key in ("low", "high", "above"))
    if not isinstance(value, (int, float)) or isinstance(value, bool) or (low is None and high is None):
        return
    too_low = low is not None and not (value > low if above else value >= low)
    if too_low or (high is not None and not value <= high) or value != value:
        left = "(" if above or low is None else "["
        bounds = f"{left}{'-inf' if low is None else low:}, {'inf)' if high is None else f'{high}]'}"
        problems.append(f"{where}: {value} is not within {bounds}")


def _wrong(where: str, kind: str, raw: Any, problems: list[str]) -> None:
    problems.append(f"{where}: must be {kind}, got {raw!r}")
