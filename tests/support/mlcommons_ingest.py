"""What an ingest pipeline makes of a document on its way into an index, as neural-search does it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from mlcommons_chunking import most_tokens, pieces
from mlcommons_index import Index
from mlcommons_refusals import Refused, no_such_index
from mlcommons_remote import RemoteRuntime
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
        return self._semantic(source, place.index) if place.index else source

    def _semantic(self, source: dict[str, Any], index: Index) -> dict[str, Any]:
        """A semantic field encodes whatever is indexed, with or without a pipeline, and replaces a vector given."""
        for name, field in index.mappings.get("properties", {}).items():
            text = source.get(name)
            if field.get("type") == "semantic" and isinstance(text, str) and text.strip():
                vector = self._vectors(field["model_id"], [text], "WORD")[0]
                stated = {
                    "name": self.models[field["model_id"]]["name"],
                    "id": field["model_id"],
                    "type": self.models[field["model_id"]]["algorithm"],
                }
                info = {
                    "model": stated,
                    "embedding": thinned(vector, field.get("sparse_encoding_config", {})),
                }
                source = {**source, f"{name}_semantic_info": info}
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
            elif kind == "script" and body.get("description") in ("part", "join"):
                source = _guarded(body, source)
            elif kind == "script" and body.get("description") == "texts":
                source = _field_texts(body["params"], source)
            elif kind == "script" and body.get("description") in ("hide", "show"):
                source = _renamed(body["params"]["fields"], body["description"] == "hide", source)
            elif kind == "script":
                source = _composed(body, source)
            elif not _left_alone(body, source):
                source = self._of_field_map(kind, body, source, place)
        return source

    def _of_field_map(self, kind: str, body: dict[str, Any], source: dict[str, Any], place: Place) -> dict[str, Any]:
        if kind != "text_chunking":
            check_names(source)
        for text_field, target in body["field_map"].items():
            if kind == "text_chunking":
                limit = body["algorithm"]["fixed_token_length"]["token_limit"]
                most = most_tokens(place.index, place.asked)
                source = {**source, target: pieces(source.get(text_field), limit, most)}
                continue
            stored = place.stored if body.get("skip_existing") else {}
            if target in stored and stored.get(text_field) == source.get(text_field):
                source = {**source, target: stored[target]}
                continue
            source = self._encoded(source, text_field, target, body["model_id"], place.form)
            made = source.get(target)
            if isinstance(made, list):
                kept: Any = [{name: thinned(vector, body) for name, vector in piece.items()} for piece in made]
                source = {**source, target: kept}
            elif isinstance(made, dict):
                source = {**source, target: thinned(made, body)}
        return source

    def _remote(self, model_id: str) -> bool:
        return bool(self.models.get(model_id, {}).get("algorithm") == "REMOTE")

    def _encoded(
        self, source: dict[str, Any], text_field: str, target: str, model_id: str, form: str
    ) -> dict[str, Any]:
        text = source.get(text_field)
        if text is None or text == "" or (self._remote(model_id) and isinstance(text, str) and not text.strip()):
            return source
        if isinstance(text, dict):
            reason = (
                f"[{text_field}] configuration doesn't match actual value type, configuration type is: java.lang.String, "
                "actual value type is: java.util.HashMap"
            )
            raise Refused(400, "illegal_argument_exception", reason)
        if isinstance(text, list):
            vectors = self._vectors(model_id, text, form)
            return {**source, target: [{"sparse_encoding": vector} for vector in vectors]}
        if not isinstance(text, str):
            reason = f"map type field [{text_field}] is neither string nor nested type, cannot process it"
            raise Refused(400, "illegal_argument_exception", reason)
        return {**source, target: self._vectors(model_id, [text], form)[0]}

    def _vectors(self, model_id: str, texts: list[Any], form: str) -> list[dict[str, float | None]]:
        """Of a remote model in one call, with its format named only where that is not WORD; blank texts are not sent."""
        runtime = self._running(model_id)
        if not isinstance(runtime, RemoteRuntime):
            return [runtime.predict(text, form) for text in texts]
        key = (model_id, form, *texts)
        if key in self.called:
            made = self.called[key]
            if isinstance(made, Refused):
                raise made
            return [made]
        return [dict(row) for row in runtime.encode(texts, form if form != "WORD" else None)]

    def call_remote_in_batches(self, documents: list[tuple[Place, dict[str, Any], str | None]]) -> None:
        """Of a bulk: the texts for a remote model, ``batch_size`` of them in a call, sorted by length within it.

        A processor that has a condition gets its documents one by one; their calls are made when they come.
        """
        self.called.clear()
        waiting: dict[tuple[str, str], list[str]] = {}
        size = 1
        for place, source, named in documents:
            pipeline = self.ingest.get(
                str(named or (place.index.settings if place.index else {}).get("default_pipeline"))
            )
            before: list[Any] = []
            for processor in pipeline["processors"] if pipeline else []:
                body = processor.get("sparse_encoding")
                if body is None:
                    before.append(processor)
                    continue
                remote = self.models.get(body["model_id"], {}).get("algorithm") == "REMOTE"
                try:
                    made = self.through({"processors": before}, source, place)
                except Refused:
                    break
                texts = [text for name in body["field_map"] if isinstance(text := made.get(name), str) and text.strip()]
                if remote and "if" not in body and texts:
                    size = body.get("batch_size", 1)
                    waiting.setdefault((body["model_id"], place.form), []).extend(texts)
                break
        for (model_id, form), texts in waiting.items():
            for start in range(0, len(texts), size):
                self._call_together(model_id, form, sorted(texts[start : start + size], key=len))

    def _call_together(self, model_id: str, form: str, texts: list[str]) -> None:
        runtime = self._running(model_id)
        assert isinstance(runtime, RemoteRuntime)
        try:
            made: Any = runtime.encode(texts, form if form != "WORD" else None)
        except Refused as refused:
            made = [refused] * len(texts)
        self.called |= {(model_id, form, text): one for text, one in zip(texts, made, strict=False)}


def _guarded(body: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """What osparse's two scripts do that keep ML Commons from expanding ``${parameters.NAME}`` in a text."""
    mark = "\u2060"

    def part(text: str) -> str:
        return text.replace("$" + mark, "$" + mark * 2).replace("${parameters.", f"${mark}{{parameters.")

    def join(value: Any) -> Any:
        if isinstance(value, list):
            return [join(one) for one in value]
        if not isinstance(value, str):
            return value
        return value.replace(f"${mark}{{parameters.", "${parameters.").replace("$" + mark * 2, "$" + mark)

    if body["description"] == "part":
        name = body["if"].split("'")[1]
        return {**source, name: part(source[name])} if isinstance(source.get(name), str) else source
    return {**source, **{name: join(source[name]) for name in body["params"]["fields"] if name in source}}


def thinned(vector: dict[str, Any], body: dict[str, Any]) -> dict[str, Any]:
    """What ``prune_type`` leaves: max_ratio the weights of at least so much of the largest, top_k so many of them."""
    if body.get("prune_type") == "top_k":
        return dict(sorted(vector.items(), key=lambda pair: -pair[1])[: int(body["prune_ratio"])])
    if body.get("prune_type") != "max_ratio":
        return vector
    largest = max(vector.values(), default=1.0)
    ratio = np.float32(body["prune_ratio"])
    return {token: weight for token, weight in vector.items() if np.float32(weight) / np.float32(largest) >= ratio}


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


def _field_texts(params: dict[str, Any], source: dict[str, Any]) -> dict[str, Any]:
    """What osparse's script of several sparse fields does: each has its text in a field of its own."""
    text, names = source.get(params["text_field"]), [*params["copies"], *params["composed"]]
    source = {**source, **(dict.fromkeys(params["copies"], text) if text is not None else {})}
    blank = {name for name in names if isinstance(source.get(name), str) and not source[name].strip()}
    return {name: value for name, value in source.items() if name not in blank}


def _renamed(fields: list[str], hide: bool, source: dict[str, Any]) -> dict[str, Any]:
    """What osparse's scripts around the processor of another bundle do to the names in vectors."""
    for field in fields:
        if isinstance(source.get(field), dict):
            vector = source[field].items()
            named = ((f"x{t}".replace(".", "\x01") if hide else t[1:].replace("\x01", "."), w) for t, w in vector)
            source = {**source, field: dict(named)}
    return source


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
