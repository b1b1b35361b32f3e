"""The bundle's README.md: what it is, from what, for which servers, how that was proved, and how to serve it."""

from __future__ import annotations

from collections.abc import Sequence

from osparse.contracts.bundle import Bundle
from osparse.packager.fit.fit import Fit
from osparse.packager.vocabulary.summary import trimming_lines


def card(bundle: Bundle, fit: Fit) -> str:
    """Markdown with no date, path or machine in it: the same bundle, the same card."""
    parts = [
        f"# {bundle.name}\n\nA learned sparse encoder for OpenSearch ML Commons, made by `osparse package`. "
        f"Fingerprint `{bundle.short}`.",
        _table(("", ""), _origin(bundle)),
        "## Files\n\nRegister an encoder as `SPARSE_ENCODING` for documents and `tokenizer.zip` as `SPARSE_TOKENIZE` "
        "for queries, without a `model_config`.",
        _table(
            ("file", "function", "format", "bytes", "sha256"),
            [(f.name, f.function_name, f.model_format, f"{f.size:,}", f"`{f.sha256}`") for f in bundle.files.values()],
        ),
        "## Proved for\n\nEach part of the bundle, with what shows that it runs on these versions.",
        _table(
            ("OpenSearch", "part", "how"),
            [(v, part, how) for v, parts in bundle.checks.get("targets", {}).items() for part, how in parts.items()],
        ),
        "## Equal to the model",
        _parity(bundle),
        "## Fit",
        _table(("", ""), fit.rows()),
        "## Serve it\n\n```\nosparse verify BUNDLE --runtime djl\nosparse deploy BUNDLE --cluster URL --index NAME\n"
        "```\n\n`probes.jsonl` holds texts and the weights that a server must give them, to within "
        f"{bundle.tolerance:g}.",
    ]
    return "\n\n".join(parts) + "\n"


def _origin(bundle: Bundle) -> list[tuple[str, str]]:
    source = bundle.source
    head = bundle.head
    pruned = f", weights at most {head.prune_ratio:g} of the largest dropped" if head.prune_ratio else ""
    pruned += f", the {head.top_k} largest kept" if head.top_k is not None else ""
    pruned += " beside the text's own tokens" if head.keep_own else ""
    pruned += f", the network's times {head.own_share:g} for the text's own tokens" if head.own_share < 1 else ""
    read = "" if head.network_length is None else f", of which the network reads {head.network_length}"
    weights = source.get("query_weights") or {}
    rows = [
        (
            "made from",
            f"{source.get('name') or 'a folder'} ({source.get('kind', 'unknown')}), fingerprint `{bundle.model[:12]}`",
        ),
        ("architecture", str(source.get("architecture", "unknown"))),
        ("licence of the weights", str(source.get("licence") or "not stated by its source")),
        (
            "query weights",
            f"version `{bundle.idf_version}`" + "".join(f", {k} {v}" for k, v in sorted(weights.items())),
        ),
        ("document weights", f"{head.activation}, texts cut at {head.max_length} ids{read}{pruned}"),
        ("vocabulary", f"{bundle.vocabulary:,} tokens, {len(head.masked_ids)} of them never weighed"),
    ]
    rows += [("warning", f"{alarm['finding']}; {alarm['remedy']}") for alarm in source.get("alarms", ())]
    rows += [("trimmed vocabulary", line) for line in trimming_lines(bundle.trimming)]
    if bundle.quantization:
        lost = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in bundle.quantization.items())
        rows.append(("quantised", lost))
    return rows


def _parity(bundle: Bundle) -> str:
    parity = bundle.checks.get("parity", {})
    if not parity:
        return "It is quantised: its weights differ from the model's as listed above."
    rows = [
        (form, f"{proof['cases']}", f"1 to {proof['longest']}", f"below {proof['largest_difference_below']:g}")
        for form, proof in parity.items()
    ]
    equal = (
        "Each packaged graph gave the model's weights, in batches of 1 to 8 and under padding, and the same non-zeros."
    )
    return f"{equal}\n\n{_table(('format', 'cases', 'ids', 'largest difference'), rows)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
