"""osparse index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from osparse.commands._cluster import cluster_options
from osparse.commands._common import FOLDER, command, echo

if TYPE_CHECKING:
    from osparse.deployer import Cluster

EXAMPLES = """
osparse index --cluster http://localhost:9210 --index products documents.jsonl
osparse index --cluster http://localhost:9210 --index products build/dataset
"""


@command("index", examples=EXAMPLES)
@click.argument("documents", type=FOLDER, nargs=-1, required=True)
@cluster_options
@click.option("--index", required=True, help="The name it was deployed under.")
@click.option("--batch", type=click.IntRange(1), default=256, show_default=True, help="Documents encoded together.")
@click.option("--failures", type=FOLDER, default=Path("failed.jsonl"), show_default=True,
              help="Lists the documents that failed, if any do.")  # fmt: skip
def index_command(documents: tuple[Path, ...], cluster: Cluster, index: str, batch: int, failures: Path) -> None:
    """Load DOCUMENTS (JSON lines, Parquet, or a dataset directory) into a deployed index.

    A row has id and text, and may have title, lang, date and source. Documents that are there unchanged are skipped.
    """
    from osparse.deployer import index_documents

    result = index_documents(cluster, index, documents, batch=batch, failures=failures)
    echo(result.to_json(), lambda: str(result))
    if result.failed:
        click.get_current_context().exit(1)


command = index_command
