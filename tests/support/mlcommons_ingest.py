"""What an ingest pipeline makes of a document on its way into an index, as neural-search does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlcommons_chunking import most_tokens, pieces
from mlcommons_search import Index, Refused, no_such_index
from mlcommons_state import State


@dataclass(frozen=True)
class Place:
    """Where a document goes: the index (None: there is none of that name), the name asked for, and the id."""

    index: Index | None
    asked: str
    id: str = "_id"

    @property
    def form(self) -> str:
        """How the encoder names tokens: the server looks the field up in the index of the literal name asked for.

        It finds none for an alias or a wildcard, and a sparse_vector field then gets words where it needs ids.
        """
        found = self.index is not None and self.index.name in self.asked.split(",")
        return "TOKEN_ID" if found and self.index and self.index.fields("sparse_vector") else "WORD"

    @property
    def stored(self) -> dict[str, Any]:
        """The document as it is now. Raises :class:`Refused` if there is no such index."""
        if self.index is None:
            raise no_such_index(self.asked)
        return self.index.documents.get(self.id, {})


class Ingestion(State):
    """Processors, in the order of the pipeline."""

    def ingested(self, place: Place, source: dict[str, Any], named: str | None = None) -> dict[str, Any]:
        """``source`` after the pipeline that the request names, or else the index's default, and the final one."""
        settings = place.index.settings if place.index else {}
        for name in (named or settings.get("default_pipeline"), settings.get("final_pipeline")):
            if name and name != "_none":
                source = self._by_name(name, source, place)
        return self._semantic(place, source)

    def _semantic(self, place: Place, source: dict[str, Any]) -> dict[str, Any]:
        """A semantic field is encoded without a pipeline, into ``<field>_semantic_info.embedding``."""
        for field in place.index.fields("semantic") if place.index else ():
            model_id, text = place.index.models_named()[field]["model_id"], source.get(field)  # type: ignore[union-attr]
            if isinstance(text, str) and text.strip():
                info = {"model": {"id": model_id}, "embedding": self._running(model_id).predict(text, place.form)}
                source = {**source, f"{field}_semantic_info": info}
        return source

    def _by_name(self, name: str, source: dict[str, Any], place: Place) -> dict[str, Any]:
        if name not in self.ingest:
            raise Refused(400, "illegal_argument_exception", f"pipeline with id [{name}] does not exist")
        return self.through(self.ingest[name], source, place)

    def through(self, pipeline: dict[str, Any], source: dict[str, Any], place: Place) -> dict[str, Any]:
        for processor in pipeline["processors"]:
            ((kind, body),) = processor.items()
            if kind == "remove" and "if" in body:
                source = {name: value for name, value in source.items() if name != body["field"] or value != {}}
            elif kind == "remove":
                names = body["field"] if isinstance(body["field"], list) else [body["field"]]
                source = {name: value for name, value in source.items() if name not in names}
            elif kind == "set":
                source = {**source, body["field"]: body["value"]}
            elif kind == "script":
                source = _composed(body, source)
            elif not _left_alone(body, source):
                source = self._of_field_map(kind, body, source, place)
        return source

    def _of_field_map(self, kind: str, body: dict[str, Any], source: dict[str, Any], place: Place) -> dict[str, Any]:
        for text_field, target in body["field_map"].items():
            if kind == "text_chunking":
                limit = body["algorithm"]["fixed_token_length"]["token_limit"]
                most = most_tokens(place.index, place.asked)
                source = {**source, target: pieces(source.get(text_field), limit, most)}
                continue
            check_names(source)
            stored = place.stored if body.get("skip_existing") else {}
            if target in stored and stored.get(text_field) == source.get(text_field):
                source = {**source, target: stored[target]}
                continue
            source = self._encoded(source, text_field, target, body["model_id"], place.form)
        return source

    def _encoded(
        self, source: dict[str, Any], text_field: str, target: str, model_id: str, form: str
    ) -> dict[str, Any]:
        text = source.get(text_field)
        if text is None or text == "":
            return source
        if isinstance(text, dict):
            reason = (
                f"[{text_field}] configuration doesn't match actual value type, configuration type is: java.lang.String, "
                "actual value type is: java.util.HashMap"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        if isinstance(text, list):
            return {**source, target: [{"sparse_encoding": self._running(model_id).predict(t, form)} for t in text]}
        if not isinstance(text, str):
            reason = f"map type field [{text_field}] is neither string nor nested type, cannot process it"
            raise Refused(400, "illegal_argument_exception", reason)
        return {**source, target: self._running(model_id).predict(text, form)}


def _composed(body: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """What osparse's script of a template does, the only script that is known here."""
    pieces = body["params"]["pieces"]
    values = [_value(source, name) for name in pieces[1::2]]
    if all(value is None for value in values):
        return source
    text = pieces[0]
    for name, value, fixed in zip(pieces[1::2], values, pieces[2::2], strict=True):
        parts = value if isinstance(value, list) else [value]
        text += " ".join(_said(name, part) for part in parts if part is not None) + fixed
    return {**source, body["params"]["target"]: text.strip("".join(map(chr, range(33))))}


def _value(source: dict[str, Any], name: str) -> Any:
    value: Any = source
    for step in [name] if name in source else name.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return value


def _said(name: str, value: Any) -> str:
    if isinstance(value, (dict, list, float)):
        cause = ("illegal_argument_exception", f"{name} is part of the text and must be a text or a whole number")
        raise Refused(400, "script_exception", "runtime error", cause)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _left_alone(body: dict[str, Any], source: dict[str, Any]) -> bool:
    """What osparse's condition of an encoder says: a blank text."""
    return "if" in body and isinstance(source.get("text"), str) and not source["text"].strip()


def check_names(value: Any) -> None:
    """neural-search takes the whole document apart at dots, the vector that it has already with it."""
    if isinstance(value, list):
        for below in value:
            check_names(below)
    if isinstance(value, dict):
        for name, below in value.items():
            if not name.strip():
                raise Refused(400, "illegal_argument_exception", "Field name cannot be null or empty")
            if not all(part.strip() for part in name.split(".")):
                raise Refused(400, "illegal_argument_exception", f"Field name '{name}' contains invalid dot usage")
            check_names(below)


def check_processor(processor: dict[str, Any]) -> None:
    ((kind, body),) = processor.items()
    if kind in ("text_chunking", "remove", "set", "script"):
        return
    if kind != "sparse_encoding":
        raise Refused(400, "parse_exception", f"No processor type exists with name [{kind}]")
    for key in ("model_id", "field_map"):
        if key not in body:
            raise Refused(400, "parse_exception", f"[{key}] required property is missing")
    kind, ratio = body.get("prune_type"), body.get("prune_ratio")
    wrong = None
    if ratio is not None and kind is None:
        wrong = "prune_ratio field is not supported when prune_type is not provided"
    elif kind not in (None, "none", "max_ratio", "alpha_mass", "top_k", "abs_value"):
        wrong = f"Unknown prune type: {kind}"
    elif kind in ("max_ratio", "alpha_mass") and ratio is not None and not 0 <= ratio < 1:
        wrong = f"Illegal prune_ratio {ratio:.6f} for prune_type: {kind}. prune_ratio should be in the range [0, 1)."
    if wrong:
        cause = ("illegal_argument_exception", wrong)
        raise Refused(500, "exception", f"java.lang.IllegalArgumentException: {wrong}", cause)
