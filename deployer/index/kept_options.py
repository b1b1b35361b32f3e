"""The options of a deploy that are not named stay as they are in the index that is there, or that is replaced."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import fields, replace
from typing import Any

from osparse.contracts.deployment import Deployment, Mode
from osparse.deployer.index.layout import Serving
from osparse.errors import InputError

_INGEST = re.compile(
    r"-ingest(?:-remote(?:-ids)?)?(?:-chunks)?(?:-prune[\d.e-]+?)?(?:-top\d+)?(-skip)?(?:-batch(\d+))?(?:-text[0-9a-f]{8})?"
    r"(?:-fields[0-9a-f]{8})?$"
)
"""As ``Serving.ingest_variant`` makes it."""
OPTIONS = (
    "field",
    "chunk_text",
    "window_weight",
    "two_phase",
    "hybrid",
    "prune_ratio",
    "nonzeros",
    "skip_existing",
    "ingest_batch",
    "text_template",
    "sparse_fields",
)
"""Those that an index's ``_meta`` holds."""


def serving_of(deployment: Deployment) -> Serving:
    """The options that an index was deployed with; of one whose ``_meta`` is older, as its pipelines' names say."""
    named = _INGEST.search(deployment.ingest_pipeline or "")
    kind, _, value = (deployment.prune or "").partition(" ")
    return Serving(
        field=deployment.vector,
        chunk_text=deployment.chunks,
        window_weight=deployment.window_weight,
        two_phase=deployment.two_phase or (deployment.search_pipeline or "").endswith("-2p"),
        hybrid=deployment.hybrid,
        prune_ratio=float(value) if kind == "max_ratio" else None,
        nonzeros=int(value) if kind == "top_k" else None,
        skip_existing=deployment.skip_existing or bool(named and named[1]),
        ingest_batch=int(named[2]) if named and named[2] else deployment.ingest_batch,
        text_template=deployment.text_template,
        boost=deployment.boost,
        sparse_fields=deployment.fields,
    )


def settle(
    before: Deployment | None, mode: Mode, serving: Serving | Mapping[str, Any] | None
) -> tuple[Serving, list[str]]:
    """The options to deploy with, and notes on those that were kept or turned off.

    Args:
        before: Of the index that exists or is replaced; None for the first one under a name.
        mode: The mode to deploy in; of another one's options, only ``hybrid`` and ``nonzeros`` have a
            meaning in it.
        serving: All options at once: nothing is kept then. Or option -> value of those that are named.

    Raises:
        InputError: a name is no option.
    """
    old = serving_of(before) if before is not None else Serving()
    if isinstance(serving, Serving):
        return serving, _notes(old, serving, OPTIONS)
    choices = serving or {}
    unknown = sorted({*choices} - {option.name for option in fields(Serving)})
    if unknown:
        raise InputError(f"{', '.join(unknown)}: no such option of a deployment")
    same = before is None or (before.mode == "client") == (mode == "client")
    kept = old if same else Serving(hybrid=old.hybrid, nonzeros=old.nonzeros)
    new = replace(_without_other_rule(kept, choices), **choices)
    return new, _notes(old, new, choices)


def _without_other_rule(old: Serving, choices: Mapping[str, Any]) -> Serving:
    """An index has one rule of pruning: the one that is named takes the place of the other."""
    named = {name for name in ("prune_ratio", "nonzeros") if choices.get(name) is not None}
    if named == {"nonzeros"}:
        return replace(old, prune_ratio=None)
    return replace(old, nonzeros=None) if named == {"prune_ratio"} else old


def _notes(old: Serving, new: Serving, named: Collection[str]) -> list[str]:
    plain = Serving()
    chosen = [name for name in OPTIONS if getattr(old, name) != getattr(plain, name)]
    kept = [name for name in chosen if getattr(new, name) == getattr(old, name) and name not in named]
    off = [name for name in chosen if getattr(new, name) == getattr(plain, name)]
    shown = [f"{_flag(name)}{_value(getattr(new, name))}" for name in kept]
    return [
        *([f"kept from the index before: {', '.join(shown)}"] if kept else []),
        *([f"turned off: {', '.join(map(_flag, off))}"] if off else []),
    ]


def _flag(name: str) -> str:
    return name.replace("_", "-")


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f" {', '.join(field.path for field in value)}"
    return "" if value is True else f" {value}".replace("\n", r"\n")
