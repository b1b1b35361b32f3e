"""What an ingest pipeline makes of a document on its way into an index, as neural-search does it."""

from __future__ import annotations

from typing import Any

from mlcommons_search import Index, Refused
from mlcommons_state import State

MAX_TOKENS = 10_000
"""index.analyze.max_token_count where it is not set."""
TOO_MANY = (
    "analyzer standard throws exception: The number of tokens produced by calling _analyze has exceeded the allowed "
    "maximum of [{}]. This limit can be set by changing the [index.analyze.max_token_count] index level setting."
)


class Ingestion(State):
    """Processors, in the order of the pipeline."""

    def ingested(self, index: Index, source: dict[str, Any], asked: str | None = None) -> dict[str, Any]:
        """``source`` after the index's default pipeline; ``asked`` is the name that the request gives."""
        name = index.settings.get("default_pipeline")
        if name and name != "_none":
            named = (asked or index.name) == index.name  # the index's own limit is not found under an alias either
            limit = int(index.settings.get("analyze.max_token_count", MAX_TOKENS)) if named else MAX_TOKENS
            source = self._by_name(name, source, self.form(index, asked or index.name), limit)
        final = index.settings.get("final_pipeline")
        return self._by_name(final, source) if final and final != "_none" else source

    def form(self, index: Index, asked: str) -> str:
        """How the encoder names tokens: the server looks the field up in the index of the literal name asked for.

        It finds none for an alias, and a sparse_vector field then gets words where it needs ids.
        """
        return "TOKEN_ID" if asked == index.name and index.fields("sparse_vector") else "WORD"

    def _by_name(
        self, name: str, source: dict[str, Any], form: str = "WORD", limit: int = MAX_TOKENS
    ) -> dict[str, Any]:
        if name not in self.ingest:
            raise Refused(400, "illegal_argument_exception", f"pipeline with id [{name}] does not exist")
        return self.through(self.ingest[name], source, form, limit)

    def through(
        self, pipeline: dict[str, Any], source: dict[str, Any], form: str = "WORD", tokens: int = MAX_TOKENS
    ) -> dict[str, Any]:
        for processor in pipeline["processors"]:
            ((kind, body),) = processor.items()
            if kind == "remove":
                names = body["field"] if isinstance(body["field"], list) else [body["field"]]
                source = {name: value for name, value in source.items() if name not in names}
                continue
            if kind == "set":
                source = {**source, body["field"]: body["value"]}
                continue
            for text_field, target in body["field_map"].items():
                if "if" in body and isinstance(source.get("text"), str) and not source["text"].strip():
                    continue  # what osparse's condition says
                if kind == "text_chunking":
                    words = source[text_field].split()
                    if len(words) > tokens:
                        raise Refused(500, "illegal_state_exception", TOO_MANY.format(tokens))
                    limit = body["algorithm"]["fixed_token_length"]["token_limit"]
                    source = {**source, target: [" ".join(words[i : i + limit]) for i in range(0, len(words), limit)]}
                    continue
                _check_dots(source)
                source = self._encoded(source, text_field, target, body["model_id"], form)
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


def _check_dots(value: Any) -> None:
    """neural-search takes the whole document apart at dots, the vector that it has already with it."""
    if isinstance(value, list):
        for below in value:
            _check_dots(below)
    if isinstance(value, dict):
        for name, below in value.items():
            if name.startswith(".") or name.endswith(".") or ".." in name:
                raise Refused(400, "illegal_argument_exception", f"Field name '{name}' contains invalid dot usage")
            _check_dots(below)


def check_processor(processor: dict[str, Any]) -> None:
    ((kind, body),) = processor.items()
    if kind in ("text_chunking", "remove", "set"):
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
