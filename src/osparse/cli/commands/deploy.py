"""osparse deploy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from osparse.cli.commands._cluster import cluster_options, other_cluster, with_own_flags
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._rows import text_options, window_weight_of
from osparse.errors import InputError

if TYPE_CHECKING:
    from osparse.deployer import Adoption, Cluster, DeployResult, Gate

EXAMPLES = """
osparse deploy build/bundle --cluster http://localhost:9210 --index products
osparse deploy build/bundle --cluster https://search.example:9200 --ca-file ca.pem --index products --plan
osparse deploy build/bundle2 --cluster http://localhost:9210 --index products --gate build/dataset
osparse deploy build/bundle --cluster http://localhost:9210 --index products --mode remote --encoder-url http://encoder:8765
osparse deploy build/bundle --profile aws --index products --mode remote --sagemaker-endpoint enc --region eu-west-1
osparse deploy build/bundle --cluster http://localhost:9210 --index products --from products-v7 --text-field name
osparse deploy build/bundle --cluster http://localhost:9210 --index products --sparse-field title_sparse=title^2
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
@click.option("--sagemaker-endpoint", metavar="NAME",
              help="Mode remote: a SageMaker endpoint instead of --encoder-url (docs/aws.md).")  # fmt: skip
@click.option("--region", metavar="REGION", help="AWS region of --sagemaker-endpoint.")
@click.option("--from", "source", metavar="INDEX", help="Take this index over: an index, an alias, or URL#INDEX.")
@click.option("--from-profile", metavar="NAME", help="Profile with the credentials of the cluster of --from.")
@click.option("--changed-field", metavar="FIELD",
              help="Find what is written meanwhile by this date field.  [default: sequence numbers]")  # fmt: skip
@click.option("--replace-index", is_flag=True,
              help="--from is the index --index itself: clone it and put the alias in its place.")  # fmt: skip
@click.option("--stage", is_flag=True, help="Beside another bundle: make the new index, copy nothing, do not switch.")
@click.option(
    "--no-copy", "copy", flag_value=False, default=True, help="Beside another bundle: the new index was loaded already."
)
@click.option("--encode", type=click.Choice(["auto", "here", "cluster"]), default="auto", show_default=True,
              help="Who encodes the copied documents: this machine, or the cluster (not in mode client).")  # fmt: skip
@click.option("--encoded", metavar="SHARDS",
              help="Folder or URL of shards of BUNDLE: a copied text that they have is not encoded.")  # fmt: skip
@click.option("--gate", "gate_dataset", type=FOLDER, metavar="DATASET",
              help="Switch only if nDCG@10 on its judged queries is not below that of the old index.")  # fmt: skip
@click.option(
    "--gate-split", default="test", show_default=True, help="Split of DATASET whose judgements the gate uses."
)
@click.option("--gate-margin", type=click.FloatRange(0, 1), default=0.005, show_default=True,
              help="Largest drop of nDCG@10 that passes the gate.")  # fmt: skip
@click.option("--gate-query", type=FOLDER, metavar="FILE",
              help="Query of --from to compare with, with {{text}}.  [default: multi_match]")  # fmt: skip
@click.option("--carry-aliases", is_flag=True, help="Beside another bundle: move the old index's other aliases along.")
@click.option("--field", type=click.Choice(["rank_features", "sparse_vector", "semantic"]),
              help="Field type: exact, SEISMIC, or self-encoding.  [default: rank_features]")  # fmt: skip
@click.option("--seismic-threshold", type=click.IntRange(1), metavar="N",
              help="With --field sparse_vector: segments of N documents and more are searched approximately.  "
              "[default: 1,000,000, or that of the index before]")  # fmt: skip
@click.option("--long-texts", type=click.Choice(["cut", "windows", "nested"]),
              help="A text longer than the encoder reads: its beginning; one vector of all its windows (client); or "
              "pieces, of which the best counts.  [default: cut]")  # fmt: skip
@click.option("--window-weight", type=click.FloatRange(0, 1, min_open=True), metavar="W",
              help="Of the windows after the first.  [default: 0.5]")  # fmt: skip
@click.option("--chunk-text/--no-chunk-text", default=None, help="The same as --long-texts nested, or not.")
@click.option("--two-phase/--no-two-phase", default=None,
              help="Score text queries in two phases (ml-commons; big indices).")  # fmt: skip
@click.option(
    "--hybrid",
    type=click.Choice(["none", "normalise", "rrf"]),
    help="A search pipeline that fuses BM25 and sparse results (neural-search).  [default: none]",
)
@click.option("--prune-ratio", type=float, metavar="R",
              help="Drop weights below R x a document's largest (ml-commons).")  # fmt: skip
@click.option("--nonzeros", type=click.IntRange(1), metavar="N",
              help="Keep at most N weights of a document, the largest.")  # fmt: skip
@click.option("--no-prune", is_flag=True, help="Keep every weight, where the index before was pruned.")
@click.option("--skip-existing/--no-skip-existing", default=None,
              help="Do not encode a text the stored document has (ml-commons).")  # fmt: skip
@click.option("--ingest-batch", type=int, help="Documents per call of a remote model (mode remote: 16).  [default: 1]")
@click.option("--mapping", type=FOLDER, metavar="FILE",
              help="JSON with settings, mappings and aliases of your own, merged with what osparse needs.")  # fmt: skip
@text_options
@click.option("--sparse-field", "sparse_fields", multiple=True, metavar="NAME=SOURCE[^BOOST][@BUNDLE]",
              help="A further sparse field, such as title_sparse=title^2: made of a field, a template or text, by the "
              "same or another bundle; boost 0: searched only by its name. May be repeated.")  # fmt: skip
@click.option("--no-sparse-fields", is_flag=True, help="No further sparse field, where the index before has some.")
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
    gate_query: Path | None,
    source: str | None,
    from_profile: str | None,
    changed_field: str | None,
    replace_index: bool,
    sagemaker_endpoint: str | None,
    region: str | None,
    **options: Any,
) -> None:
    """Serve BUNDLE on a cluster under an index name.

    Running it again changes nothing; after an interruption it finishes the work. Where another bundle
    serves under the name, the new index is made beside it, its documents are copied and encoded again, a gate is
    passed, and the name moves at once; osparse rollback moves it back. Options from --field to --sparse-field that are
    not given stay as they are in the index that serves. With --from, an index that osparse did not make is
    taken over in the same way, while programs write to it and read it. Exit code 3: the gate did not hold, and the
    name stays where it was.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import ModelOptions, Upgrade, deploy

    if options["stage"] and (not copy or gate_dataset is not None or options["carry_aliases"]):
        raise InputError("--stage stops before documents and gate; leave out --no-copy, --gate and --carry-aliases")
    given = click.get_current_context().get_parameter_source
    flags = {"gate_split": "--gate-split", "gate_margin": "--gate-margin", "gate_query": "--gate-query"}
    idle = [flag for name, flag in flags.items() if given(name) == ParameterSource.COMMANDLINE]
    if gate_dataset is None and idle:
        raise InputError(f"{' and '.join(idle)} {'go' if len(idle) > 1 else 'goes'} with --gate DATASET; give that too")
    adoption = _adoption(source, from_profile, changed_field, replace_index, gate_query)
    chosen = ("field", "chunk_text", "two_phase", "hybrid", "prune_ratio", "nonzeros", "skip_existing", "ingest_batch",
              "text_template", "shards", "replicas", "refresh_interval", "seismic_threshold")  # fmt: skip
    options["sparse_fields"] = _sparse_fields(options["sparse_fields"], options.pop("no_sparse_fields"))
    options["text_template"] = _template(options.pop("text_field"), options.pop("template"))
    named = {name: value for name in chosen if (value := options.pop(name)) is not None}
    long_texts = _long_texts(options.pop("long_texts"), options.pop("window_weight"), named)
    choices = {**named, **_unpruned(options.pop("no_prune"), named), **long_texts}
    opened = Bundle.open(bundle)
    if gate_dataset is not None:
        options["gate"] = _gate(cluster, adoption, gate_dataset, gate_query, split=gate_split, margin=gate_margin)
    url = _encoder_url(options.pop("encoder_url"), sagemaker_endpoint, region)
    models = ModelOptions(options.pop("allow_settings"), options.pop("via_url"), url)
    moving = {
        name: options.pop(name) for name in ("stage", "gate", "carry_aliases", "encode", "encoded") if name in options
    }
    upgrade = Upgrade(copy=copy, **moving)
    result = deploy(
        opened, cluster, index, serving=choices, models=models, upgrade=upgrade, adoption=adoption, **options
    )
    if result.applied:
        _write(result, snippets_file, saved_objects)
    echo(result.to_json(), lambda: with_own_flags(result))


def _encoder_url(url: str | None, endpoint: str | None, region: str | None) -> str | None:
    """The address of the encoder that the cluster calls, if one is given."""
    from osparse.deployer import sagemaker_url

    if (endpoint is None) != (region is None):
        raise InputError("--sagemaker-endpoint and --region go together; give both, or neither")
    if endpoint is None or region is None:
        return url
    if url is not None:
        raise InputError("--encoder-url and --sagemaker-endpoint name two encoders; keep one")
    return sagemaker_url(endpoint, region)


def _adoption(
    source: str | None, profile: str | None, changed_field: str | None, replace_index: bool, gate_query: Path | None
) -> Adoption | None:
    """What --from and the options that go with it ask for; None without it."""
    from osparse.deployer import Adoption

    flags = {"--from-profile": profile, "--changed-field": changed_field, "--replace-index": replace_index,
             "--gate-query": gate_query}  # fmt: skip
    if source is None:
        if idle := [flag for flag, value in flags.items() if value]:
            raise InputError(
                f"{' and '.join(idle)} {'go' if len(idle) > 1 else 'goes'} with --from INDEX; give that too"
            )
        return None
    url, _, name = source.rpartition("#")
    return Adoption(name, other_cluster(url or None, profile), changed_field, replace_index)


def _gate(
    cluster: Cluster, adoption: Adoption | None, dataset: Path, query: Path | None, *, split: str, margin: float
) -> Gate:
    from osparse.retrieval import adoption_gate, gate

    if adoption is None:
        return gate(cluster, dataset, split=split, margin=margin)
    return adoption_gate(
        cluster, dataset, adoption.source, source_cluster=adoption.cluster, query=query, split=split, margin=margin
    )


def _template(fields: tuple[str, ...], template: str | None) -> str | None:
    """How documents make their text; None where neither option is given."""
    from osparse.rows.text_template import TextTemplate, template_of

    made = TextTemplate.of_fields(fields) if len(fields) == 1 and template is None else template_of(fields, template)
    return None if made is None else str(made)


def _long_texts(asked: str | None, window_weight: float | None, named: dict[str, Any]) -> dict[str, Any]:
    weight = window_weight_of(asked, window_weight)
    if asked is None:
        return {"window_weight": None} if named.get("chunk_text") else {}
    if "chunk_text" in named:
        raise InputError("--chunk-text and --long-texts are two names of one option; leave --chunk-text out")
    return {"window_weight": weight, "chunk_text": asked == "nested"}


def _unpruned(no_prune: bool, named: dict[str, Any]) -> dict[str, None]:
    for name in ("prune_ratio", "nonzeros"):
        if no_prune and name in named:
            raise InputError(f"--no-prune and --{name.replace('_', '-')} contradict each other; leave one out")
    return {"prune_ratio": None, "nonzeros": None} if no_prune else {}


def _sparse_fields(given: tuple[str, ...], none: bool) -> list[str] | None:
    """None keeps those of the index before."""
    from osparse.rows.text_template import unescaped

    if given and none:
        raise InputError("--sparse-field and --no-sparse-fields contradict each other; leave one out")
    return [unescaped(text) for text in given] if given or none else None


def _write(result: DeployResult, snippets_file: Path | None, saved_objects: Path | None) -> None:
    from osparse.deployer.operate import snippets
    from osparse.io.files import write_atomic

    if snippets_file is not None:
        write_atomic(snippets_file, result.snippets)
    if saved_objects is not None:
        write_atomic(saved_objects, snippets.saved_objects(result.plan.alias))


command = deploy_command
