"""osparse index."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._rows import LOCATION, row_options

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse index --cluster http://localhost:9210 --index products documents.jsonl
osparse index --cluster http://localhost:9210 --index products build/dataset --workers 4
osparse index --cluster http://localhost:9210 --index products --encoded build/shards
osparse index --cluster http://localhost:9210 --index products --text-field title --text-field body 'crawl/*.parquet'
osparse index --cluster http://localhost:9210 --index products --id-field sku --rename name=title s3://shop/products.csv
osparse index --print-mapping products.csv > mapping.json
osparse index --cluster http://localhost:9210 --index products --delete withdrawn-ids.txt
zcat dump.jsonl.gz | osparse index --cluster http://localhost:9210 --index products --id-field sku --text-field body -
"""


@command("index", examples=EXAMPLES)
@click.argument("documents", type=LOCATION, nargs=-1)
@cluster_options(required=False)
@click.option("--index", help="The alias it was deployed under, or a concrete index, name-fingerprint.")
@click.option("--delete", type=LOCATION, multiple=True, metavar="FILE",
              help="Ids to delete, one per line (or a .jsonl with id). Can be given several times.")  # fmt: skip
@row_options
@click.option("--print-mapping", is_flag=True,
              help="Print the fields' types as a mapping for osparse deploy --mapping; load nothing.")  # fmt: skip
@click.option("--batch", type=click.IntRange(1),
              help="Documents per bulk request.  [default: 16 in mode ml-commons, else 256]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Processes that encode, in mode client.  [default: one per core]")  # fmt: skip
@click.option("--encode", type=click.Choice(["auto", "here", "cluster"]), default="auto", show_default=True,
              help="Who encodes: this machine, or the index's pipeline. auto: in mode ml-commons here where the "
              "encoder is at hand and the index is empty or the load large; in mode remote the pipeline.")  # fmt: skip
@click.option("--bundle", type=FOLDER, help="The index's bundle, to encode with on this machine.")
@click.option("--encoded", metavar="SHARDS",
              help="Folder or URL of shards that osparse encode made, instead of DOCUMENTS.")  # fmt: skip
@click.option("--force", is_flag=True,
              help="Encode and send documents that are there unchanged too.")  # fmt: skip
@click.option("--failures", type=FOLDER, default=Path("failed.jsonl"), show_default=True,
              help="Lists the documents that failed, if any do.")  # fmt: skip
def index_command(
    documents: tuple[Path, ...],
    cluster: Cluster | None,
    index: str | None,
    print_mapping: bool,
    bundle: Path | None,
    **options: Any,
) -> None:
    """Load DOCUMENTS into a deployed index: JSON lines or an array, CSV, TSV, Parquet, Arrow, a BEIR folder, a dataset.

    Files may be compressed (gzip, bzip2, xz, zstd), patterns in quotes ('data/*.csv'), addresses (s3://, gs://,
    https://); - is standard input. A row has id and text, and may have any other fields, title, lang, date and source
    among them; {"id": ..., "_op": "delete"} deletes. What a document has beside the row's fields stays. Documents that
    are there unchanged are skipped, so after an interruption the same command continues where it was.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import index_documents
    from osparse.rows.row_rules import parse_renames

    options["rename"] = parse_renames(options["rename"])
    if print_mapping:
        _print_mapping(documents, options)
        return
    if cluster is None or index is None:
        option = "'--cluster': the cluster's URL, or a --profile that has one" if cluster is None else "'--index'"
        raise click.UsageError(f"Missing option {option}")
    opened = None if bundle is None else Bundle.open(bundle)
    result = index_documents(cluster, index, documents, bundle=opened, **options)
    echo(result.to_json(), lambda: str(result))
    if result.failed:
        click.get_current_context().exit(1)


def _print_mapping(documents: tuple[Path, ...], options: dict[str, Any]) -> None:
    from osparse.deployer import infer_mapping

    named = ("id_field", "text_field", "template", "exclude", "rename")
    mapping = infer_mapping(documents, **{name: options[name] for name in named})
    echo(mapping, json.dumps(mapping, ensure_ascii=False, indent=2))


command = index_command
