"""osparse deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from osparse.cli.commands._cluster import cluster_options, with_own_flags
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._rows import text_options
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Cluster, DeployResult

EXAMPLES = """
osparse deploy build/bundle --cluster http://localhost:9210 --index products
osparse deploy build/bundle --cluster https://search.example:9200 --ca-file ca.pem --index products --plan
osparse deploy build/bundle2 --cluster http://localhost:9210 --index products --gate build/dataset
osparse deploy build/bundle --cluster http://localhost:9210 --index products --mode remote --encoder-url http://encoder:8765
"""


@command("deploy", examples=EXAMPLES)
@click.argument("bundle", type=FOLDER)
@cluster_options
@click.option("--index", required=True, help="The alias to search under; it points to <name>-<fingerprint>.")
@click.option(
    "--mode",
    type=click.Choice(["auto", "ml-commons", "remote", "client"]),
    default="auto",
    show_default=True,
    help="ml-commons: the cluster encodes; remote: it calls osparse serve; client: osparse does; auto: what the "
    "plugins allow.",
)
@click.option("--plan", "plan_only", is_flag=True, help="Print what would be done and why; change nothing.")
@click.option("--allow-settings", is_flag=True, help="Change the cluster settings that ML Commons needs.")
@click.option(
    "--via-url",
    metavar="URL",
    help="Let the cluster download the bundle's zips from below URL instead of uploading them.",
)
@click.option(
    "--encoder-url",
    metavar="URL",
    help="Mode remote: address of osparse serve, as the cluster's nodes see it (http://encoder:8765).",
)
@click.option("--stage", is_flag=True, help="Beside another bundle: make the new index, copy nothing, do not switch.")
@click.option(
    "--no-copy", "copy", flag_value=False, default=True, help="Beside another bundle: the new index was loaded already."
)
@click.option("--gate", "gate_dataset", type=FOLDER, metavar="DATASET",
              help="Switch only if nDCG@10 on its judged queries is not below that of the old index.")  # fmt: skip
@click.option(
    "--gate-split", default="test", show_default=True, help="Split of DATASET whose judgements the gate uses."
)
@click.option("--gate-margin", type=click.FloatRange(0, 1), default=0.005, show_default=True,
              help="Largest drop of nDCG@10 that passes the gate.")  # fmt: skip
@click.option("--carry-aliases", is_flag=True, help="Beside another bundle: move the old index's other aliases along.")
@click.option("--field", type=click.Choice(["rank_features", "sparse_vector", "semantic"]),
              help="Field type: exact, SEISMIC, or self-encoding.  [default: rank_features]")  # fmt: skip
@click.option("--chunk-text/--no-chunk-text", default=None,
              help="Encode long texts in pieces; the best piece counts (ml-commons).")  # fmt: skip
@click.option("--two-phase/--no-two-phase", default=None,
              help="Score text queries in two phases (ml-commons; big indices).")  # fmt: skip
@click.option(
    "--hybrid",
    type=click.Choice(["none", "normalise", "rrf"]),
    help="A search pipeline that fuses BM25 and sparse results (neural-search).  [default: none]",
)
@click.option("--prune-ratio", type=float, metavar="R",
              help="Drop weights below R x a document's largest (ml-commons).")  # fmt: skip
@click.option("--no-prune", is_flag=True, help="Keep every weight, where the index before was pruned.")
@click.option("--skip-existing/--no-skip-existing", default=None,
              help="Do not encode a text the stored document has (ml-commons).")  # fmt: skip
@click.option("--ingest-batch", type=int, help="Documents per model call (ml-commons).  [default: 1]")
@click.option("--mapping", type=FOLDER, metavar="FILE",
              help="JSON with settings, mappings and aliases of your own, merged with what osparse needs.")  # fmt: skip
@text_options
@click.option("--shards", type=click.IntRange(1), help="Primary shards of a new index.  [default: 1]")
@click.option("--replicas", type=click.IntRange(0),
              help="Copies of each shard.  [default: 1 where there is a second node]")  # fmt: skip
@click.option("--refresh-interval", metavar="TIME", help="How soon documents can be found, such as 5s; -1: never.")
@click.option("--snippets", "snippets_file", type=FOLDER, metavar="FILE", help="Write the Dev Tools lines here too.")
@click.option("--saved-objects", type=FOLDER, metavar="FILE", help="Write the Dashboards index pattern here (ndjson).")
def deploy_command(
    bundle: Path,
    cluster: Cluster,
    index: str,
    snippets_file: Path | None,
    saved_objects: Path | None,
    copy: bool,
    gate_dataset: Path | None,
    gate_split: str,
    gate_margin: float,
    **options: Any,
) -> None:
    """Serve BUNDLE on a cluster under an index name.

    Running it again changes nothing; after an interruption it finishes the work. Where another bundle
    serves under the name, the new index is made beside it, its documents are copied and encoded again, a gate is
    passed, and the name moves at once; osparse rollback moves it back. Options from --field to --template that are
    not given stay as they are in the index that serves. Exit code 3: the gate did not hold, and the
    name stays where it was.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import ModelOptions, Upgrade, deploy

    if options["stage"] and (not copy or gate_dataset is not None or options["carry_aliases"]):
        raise InputError("--stage stops before documents and gate; leave out --no-copy, --gate and --carry-aliases")
    given = click.get_current_context().get_parameter_source
    flags = {"gate_split": "--gate-split", "gate_margin": "--gate-margin"}
    idle = [flag for name, flag in flags.items() if given(name) == ParameterSource.COMMANDLINE]
    if gate_dataset is None and idle:
        raise InputError(f"{' and '.join(idle)} {'go' if len(idle) > 1 else 'goes'} with --gate DATASET; give that too")
    chosen = ("field", "chunk_text", "two_phase", "hybrid", "prune_ratio", "skip_existing", "ingest_batch",
              "text_template", "shards", "replicas", "refresh_interval")  # fmt: skip
    options["text_template"] = _template(options.pop("text_field"), options.pop("template"))
    named = {name: value for name in chosen if (value := options.pop(name)) is not None}
    choices = {**named, **_unpruned(options.pop("no_prune"), named)}
    opened = Bundle.open(bundle)
    if gate_dataset is not None:
        from osparse.retrieval import gate

        options["gate"] = gate(cluster, gate_dataset, split=gate_split, margin=gate_margin)
    models = ModelOptions(options.pop("allow_settings"), options.pop("via_url"), options.pop("encoder_url"))
    moving = {name: options.pop(name) for name in ("stage", "gate", "carry_aliases") if name in options}
    upgrade = Upgrade(copy=copy, **moving)
    result = deploy(opened, cluster, index, serving=choices, models=models, upgrade=upgrade, **options)
    if result.applied:
        _write(result, snippets_file, saved_objects)
    echo(result.to_json(), lambda: with_own_flags(result))


def _template(fields: tuple[str, ...], template: str | None) -> str | None:
    """How documents make their text; None where neither option is given."""
    from osparse.rows.text_template import TextTemplate, template_of

    made = TextTemplate.of_fields(fields) if len(fields) == 1 and template is None else template_of(fields, template)
    return None if made is None else str(made)


def _unpruned(no_prune: bool, named: dict[str, Any]) -> dict[str, None]:
    if no_prune and "prune_ratio" in named:
        raise InputError("--no-prune and --prune-ratio contradict each other; leave one out")
    return {"prune_ratio": None} if no_prune else {}


def _write(result: DeployResult, snippets_file: Path | None, saved_objects: Path | None) -> None:
    from osparse.deployer.operate import snippets
    from osparse.io.files import write_atomic

    if snippets_file is not None:
        write_atomic(snippets_file, result.snippets)
    if saved_objects is not None:
        write_atomic(saved_objects, snippets.saved_objects(result.plan.alias))


command = deploy_command
