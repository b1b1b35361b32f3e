"""osparse encode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from osparse.cli.commands._common import FOLDER, command, echo
from osparse.cli.commands._rows import LOCATION, row_options, window_weight_of

EXAMPLES = """
osparse encode documents.jsonl --bundle build/bundle --output build/shards
osparse encode 's3://bucket/crawl/*.parquet' --bundle build/bundle --output s3://bucket/shards --part 3/16
osparse encode products.csv --bundle build/bundle --output build/shards --text-field title --text-field body
osparse encode documents.jsonl --bundle build/bundle --output build/shards --device cuda
osparse encode documents.jsonl --bundle build/bundle --output build/shards-july --since build/shards-june
"""


class _Part(click.ParamType[tuple[int, int]]):
    """``i/n`` -> (i, n)."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        if isinstance(value, tuple):
            return value
        first, slash, second = str(value).partition("/")
        if not slash or not (first.isdecimal() and second.isdecimal()):
            self.fail(f"{value!r} is not of the form i/n, such as 3/16", param, ctx)
        return int(first), int(second)


@command("encode", examples=EXAMPLES)
@click.argument("documents", type=LOCATION, nargs=-1, required=True)
@click.option("--bundle", type=FOLDER, required=True, help="Whose encoder is used (its onnx part).")
@click.option("--output", required=True, metavar="SHARDS",
              help="Folder, or a URL such as s3://bucket/prefix (extra cloud), for the Parquet shards.")  # fmt: skip
@click.option("--part", type=_Part(), default="1/1", show_default=True,
              help="Encode part i of n; all n together give the same files as 1/1.")  # fmt: skip
@click.option("--since", metavar="SHARDS",
              help="Take the vectors of texts that these shards of the same bundle have from there.")  # fmt: skip
@row_options
@click.option("--long-texts", type=click.Choice(["cut", "windows"]), default="cut", show_default=True,
              help="A text longer than the encoder reads: its beginning, or one vector of its windows.")  # fmt: skip
@click.option("--window-weight", type=click.FloatRange(0, 1, min_open=True), metavar="W",
              help="Of the windows after the first.  [default: 0.5]")  # fmt: skip
@click.option("--workers", type=click.IntRange(1), help="Processes that encode.  [default: one per core]")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True,
              help="cuda: this process, on a GPU (onnxruntime-gpu in the place of onnxruntime).")  # fmt: skip
@click.option("--shard-rows", type=click.IntRange(1), default=4096, show_default=True, help="Input rows of a shard.")
@click.option("--failures", type=FOLDER,
              help="Lists rows that are no documents.  [default: failed.jsonl, or failed-I-of-N.jsonl]")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace shards of other rows, of another bundle or other settings.")
def encode_command(documents: tuple[Path, ...], bundle: Path, output: str, **options: Any) -> None:
    """Encode DOCUMENTS into Parquet shards, without a cluster and without torch.

    DOCUMENTS are what osparse index reads: files of rows, patterns in quotes ('data/*.csv'), addresses (s3://, gs://,
    https://). A shard is whole or absent, and one that is there with the same rows is
    left as it is, so after an interruption the same command continues. osparse index --encoded SHARDS loads them into
    any index of the bundle, in both modes.
    """
    from osparse.contracts.bundle import Bundle
    from osparse.deployer import encode_documents
    from osparse.rows.row_rules import parse_renames

    options["rename"] = parse_renames(options["rename"])
    options["window_weight"] = window_weight_of(options.pop("long_texts"), options["window_weight"])
    result = encode_documents(documents, Bundle.open(bundle), output, **options)
    echo(result.to_json(), lambda: str(result))
    if result.failed:
        click.get_current_context().exit(1)


command = encode_command
