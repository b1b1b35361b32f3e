"""osparse index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from osparse.cli.commands._cluster import cluster_options
from osparse.cli.commands._common import FOLDER, command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse index --cluster http://localhost:9210 --index products documents.jsonl
osparse index --cluster http://localhost:9210 --index products build/dataset --workers 4
osparse index --cluster http://localhost:9210 --index products --encoded build/shards
osparse index --cluster http://localhost:9210 --index products --delete withdrawn-ids.txt
zcat dump.jsonl.gz | osparse index --cluster http://localhost:9210 --index products --id-field sku --text-field body -
"""


@command("index", examples=EXAMPLES)
@click.argument("documents", type=FOLDER, nargs=-1)
@cluster_options
@click.option("--index", required=True, help="The alias it was deployed under, or a concrete index, name-fingerprint.")
@click.option("--delete", type=FOLDER, multiple=True, metavar="FILE",
              help="Ids to delete, one per line (or a .jsonl with id). Can be given several times.")  # fmt: skip
@click.option("--id-field", metavar="NAME", help="Field of the id in the rows.  [default: id or _id]")
@click.option("--text-field", metavar="NAME", help="Field of the text in the rows.  [default: text]")
@click.option("--batch", type=click.IntRange(1),
              help="Documents per bulk request.  [default: 16 in mode ml-commons, else 256]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1),
              help="Processes that encode, in mode client.  [default: one per core]")  # fmt: skip
@click.option("--encode", type=click.Choice(["auto", "here", "cluster"]), default="auto", show_default=True,
              help="Who encodes in mode ml-commons: this machine, or the index's pipeline. auto: here where the "
              "encoder is at hand and the index is empty or the load large.")  # fmt: skip
@click.option("--bundle", type=FOLDER, help="The index's bundle, to encode with on this machine.")
@click.option("--encoded", metavar="SHARDS",
              help="Folder or URL of shards that osparse encode made, instead of DOCUMENTS.")  # fmt: skip
@click.option("--force", is_flag=True,
              help="Encode and send documents that are there unchanged too.")  # fmt: skip
@click.option("--failures", type=FOLDER, default=Path("failed.jsonl"), show_default=True,
              help="Lists the documents that failed, if any do.")  # fmt: skip
def index_command(
    documents: tuple[Path, ...], cluster: Cluster, index: str, bundle: Path | None, **options: Any
) -> None:
    """Load DOCUMENTS (JSON lines, Parquet or Arrow, or a dataset directory) into a deployed index.

    Files may be compressed (gzip, bzip2, xz, zstd); - is standard input. A row has id and text, and may have any other
    fields, title, lang, date and source among them; {"id": ..., "_op": "delete"} deletes. What a document has beside
    the row's fields stays. Documents that are there unchanged are skipped, so after an interruption the same command
    continues where it was.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import index_documents

    opened = None if bundle is None else Bundle.open(bundle)
    result = index_documents(cluster, index, documents, bundle=opened, **options)
    echo(result.to_json(), lambda: str(result))
    if result.failed:
        click.get_current_context().exit(1)


command = index_command
