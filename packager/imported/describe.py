"""What an imported model is, in one table, and whether osparse can verify it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from osparse.contracts.imported import ImportedModel, ImportedPart
from osparse.errors import BundleError, MissingExtraError
from osparse.packager.imported.graph import ServedGraph, open_graph
from osparse.packager.imported.zip_contents import ZipContents, layout_of

Description = dict[str, dict[str, Any]]
"""Part -> what it is: ``function_name``, ``model_format``, ``layout``, ``output_shape`` and so on."""


def describe(imported: ImportedModel) -> Description:
    """Each zip opened, its model run on three ids; ``cannot_verify`` says why, where something does not open."""
    return {name: _part(imported, name, part) for name, part in imported.parts.items()}


def _part(imported: ImportedModel, name: str, part: ImportedPart) -> dict[str, Any]:
    path = imported.zip_path(name)
    said: dict[str, Any] = {
        "name": part.name, "function_name": part.function_name, "model_format": part.model_format,
        "size": part.size, "sha256": part.sha256, "config": part.config, "origin": part.origin,
    }  # fmt: skip
    try:
        contents = ZipContents.read(path)
        said |= _of_contents(contents, part)
        if name == "encoder":
            said |= _of_graph(open_graph(path, part.model_format), contents)
    except (BundleError, MissingExtraError) as problem:
        said["cannot_verify"] = str(problem)
    return said


def _of_contents(contents: ZipContents, part: ImportedPart) -> dict[str, Any]:
    return {
        "layout": layout_of(contents, part),
        "files": list(contents.names),
        "tokenizer": contents.model_type,
        "vocabulary": len(contents.tokens),
        "max_length": contents.length,
        "idf_weights": None if contents.idf is None else len(contents.idf),
    }


def _of_graph(graph: ServedGraph, contents: ZipContents) -> dict[str, Any]:
    ids = np.arange(3, dtype=np.int64)[None] % max(1, len(contents.tokens))
    shape = list(graph.run(ids, np.ones_like(ids)).shape)
    facts: dict[str, Any] = {
        "output": graph.output, "output_shape": shape, "parameters": graph.parameters, "layers": graph.layers
    }  # fmt: skip
    if len(shape) != 2 or shape[1] < len(contents.tokens):
        facts["cannot_verify"] = (
            f"the model answers {shape}, required is one weight for each of {len(contents.tokens):,} tokens"
        )
    return facts


def rows(description: Description) -> list[tuple[str, str, str]]:
    """(part, what, value) for the table."""
    return [(name, what, value) for name, said in description.items() for what, value in _lines(said)]


def _lines(said: dict[str, Any]) -> Sequence[tuple[str, str]]:
    yes = "yes: osparse verify, with a reference for its weights"
    lines = [
        ("from", _origin(said["origin"])),
        ("model", f"{said['function_name']}, {said['model_format']}, {said['size']:,} bytes, sha256 "
         f"{said['sha256'][:12]}"),
    ]  # fmt: skip
    if said["config"]:
        lines.append(("registered with", ", ".join(sorted(said["config"]))))
    if "layout" in said:
        weights = "no idf.json" if said["idf_weights"] is None else f"idf.json with {said['idf_weights']:,} weights"
        lines += [
            ("made by", f"{said['layout']} ({', '.join(said['files'])})"),
            (
                "tokenizer",
                f"{said['tokenizer']}, {said['vocabulary']:,} tokens, cut at {said['max_length']} ids; {weights}",
            ),
        ]
    if "output_shape" in said:
        size = f", {said['parameters']:,} parameters" if said["parameters"] else ""
        layers = f", layers: {said['layers']}" if said["layers"] else ""
        lines.append(("output", f"{said['output'] or 'without a name'} {tuple(said['output_shape'])}{size}{layers}"))
    return [*lines, ("can be verified", f"no: {said['cannot_verify']}" if "cannot_verify" in said else yes)]


def _origin(origin: dict[str, Any]) -> str:
    if "model_id" in origin:
        return f"{origin['name']} (id {origin['model_id']}, {origin['state']}) on {origin['cluster']}"
    return str(origin.get("file", "a file"))
