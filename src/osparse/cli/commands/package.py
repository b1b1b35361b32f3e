"""``osparse package``: a model in, a proved bundle out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from osparse.cli.commands._common import FOLDER, echo
from osparse.cli.commands._common import command as make_command
from osparse.contracts.bundle import Bundle
from osparse.masked_lm import lean_imports

COMPARE = "compare"


@make_command(
    "package",
    examples="""
osparse package build/quickstart/model --output build/quickstart/bundle
osparse package MODEL --output BUNDLE --format onnx --quantize int8 --name products-v2
osparse package MODEL --output BUNDLE --nonzeros 64
osparse package MODEL --quantize compare --dataset DATASET
osparse package MODEL --output BUNDLE --quantize layers=int8-static,head=fp16 --dataset DATASET
osparse package opensearch-project/opensearch-neural-sparse-encoding-doc-v2-mini --output BUNDLE --target 2.19
osparse package MODEL --output BUNDLE --idf build/idf-of-my-documents.json
osparse package splade-folder --idf idf.json --output BUNDLE
osparse package MODEL --output BUNDLE --format onnx --for sagemaker
osparse package splade-folder --vocabulary 32768 --dataset build/dataset --output BUNDLE
""",
)
@click.argument("model", type=FOLDER)
@click.option("--output", type=FOLDER, help="Bundle directory to write; required but for --quantize compare.")
@click.option(
    "--format",
    "formats",
    multiple=True,
    help="Encoder format: torchscript, onnx, or a plug-in's; give it twice for both, which is the default.",
)
@click.option("--name", help="Name of the models on the cluster; default: MODEL's folder name.")
@click.option(
    "--target",
    "target",
    multiple=True,
    help="OpenSearch version it must run on, 2.15 to 3.9, or 2.x or 3.x (the default); give it again for another.",
)
@click.option(
    "--quantize",
    metavar="CHOICE",
    help=(
        "Smaller ONNX encoder whose weights differ; the loss is measured and printed. fp16, int8, int8-tensor or "
        "int8-static (calibrated on --dataset), or one for each part: layers=int8,head=fp16. compare: print what each "
        "loses and costs, and write nothing."
    ),
)
@click.option(
    "--idf", type=FOLDER, help="Query weights in place of the model's, as osparse idf counts them on your documents."
)
@click.option(
    "--activation",
    type=click.Choice(["log1p_relu", "log1p_log1p_relu"]),
    help="Activation of a checkpoint not made by osparse whose files do not name it.",
)
@click.option("--max-length", type=int, help="Token ids per document for a checkpoint not made by osparse, 2 to 512.")
@click.option(
    "--ignore",
    multiple=True,
    metavar="KEY",
    help="Setting of another's checkpoint that osparse does not know and is not to obey; repeat it for another.",
)
@click.option(
    "--dataset",
    type=FOLDER,
    help="Measure how the bundle fits this dataset instead of its own probes; int8-static is calibrated on it.",
)
@click.option(
    "--vocabulary",
    metavar="N|keep:FILE",
    help="Leave at most N tokens, those that --dataset uses most, or those of FILE, one a line; the loss is measured "
    "and printed. 32768 is what a sparse_vector field takes. Default: every token.",
)
@click.option(
    "--nonzeros",
    type=click.IntRange(1),
    metavar="N",
    help="Keep at most N weights of a document, the largest: a smaller index, at a loss.  [default: the model's]",
)
@click.option("--for", "service", type=click.Choice(["sagemaker"]),
              help="Also write BUNDLE/sagemaker: model.tar.gz, connector and IAM policies (docs/aws.md).")  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Replace a bundle made from another model.")
def command(
    model: Path,
    output: Path | None,
    formats: tuple[str, ...],
    name: str | None,
    target: tuple[str, ...],
    quantize: str | None,
    idf: Path | None,
    activation: str | None,
    max_length: int | None,
    ignore: tuple[str, ...],
    dataset: Path | None,
    vocabulary: str | None,
    nonzeros: int | None,
    service: str | None,
    overwrite: bool,
) -> None:
    """Turn MODEL into zips that OpenSearch accepts, written only if they give the model's weights.

    MODEL is a model directory of osparse, another sparse masked-LM folder (OpenSearch's, SPLADE, a
    sentence-transformers SparseEncoder), or a Hugging Face hub id.
    """
    if click.get_current_context().find_root().obj.get("own_process"):
        lean_imports.allow()
    read: dict[str, Any] = {"idf": idf, "activation": activation, "max_length": max_length, "ignore": ignore}
    if quantize == COMPARE:
        _require_unset({"--output": output, "--format": formats, "--name": name, "--target": target, "--for": service})
        return _compare(model, dataset, read)
    if output is None:
        raise click.UsageError("Missing option '--output'.")
    from osparse.packager import package

    bundle = package(
        model,
        output,
        formats or ("torchscript", "onnx")[1 if quantize else 0 :],
        name,
        target=target or "3.x",
        quantize=quantize,
        **read,
        dataset=dataset,
        vocabulary=vocabulary,
        nonzeros=nonzeros,
        overwrite=overwrite,
    )
    made = _sagemaker(bundle) if service == "sagemaker" else []
    stated = {"bundle": str(bundle.path), **bundle.manifest(), **({"sagemaker": made} if made else {})}
    echo(stated, lambda: "\n".join([_text(bundle), *(f"  {path}" for path in made)]))


def _sagemaker(bundle: Bundle) -> list[str]:
    """The paths of what a SageMaker endpoint is made from."""
    from osparse.deployer import connector_example
    from osparse.io.files import pretty_json, write_atomic
    from osparse.packager import write_sagemaker

    made = write_sagemaker(bundle)
    connector = made[0].with_name("connector.json")
    write_atomic(connector, pretty_json(connector_example(bundle)))
    return [str(path) for path in (*made, connector)]


def _require_unset(options: dict[str, Any]) -> None:
    given = [flag for flag, value in options.items() if value]
    if given:
        raise click.UsageError(f"--quantize compare writes no bundle; leave out {', '.join(given)}")


def _compare(model: Path, dataset: Path | None, read: dict[str, Any]) -> None:
    from osparse.packager import compare_quantizations

    table = compare_quantizations(model, dataset, **read)
    echo(table.to_json(), table.text)


def _text(bundle: Bundle) -> str:
    from osparse.packager.compare.parity import table
    from osparse.packager.fit.fit import Fit
    from osparse.packager.vocabulary.summary import trimming_lines

    lines = [f"{bundle.path}: {bundle.name}, fingerprint {bundle.short}"]
    for key, file in bundle.files.items():
        proof = bundle.checks.get("parity", {}).get(key, {})
        said = f", within {proof['largest_difference_below']:g} of the model" if proof else ""
        lines.append(f"  {file.name:26}{file.size / 1e6:8.1f} MB{said}")
    lines.append(f"  for OpenSearch {', '.join(bundle.checks.get('targets', {}))}")
    if bundle.quantization:
        loss = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in bundle.quantization.items())
        lines.append(f"  quantised: {loss}")
    lines += [f"  trimmed: {line}" for line in trimming_lines(bundle.trimming)]
    lines.append(table(Fit(**bundle.fit).rows()))
    alarms = bundle.source.get("alarms", [])
    lines += [f"warning: {alarm['finding']}; {alarm['remedy']}" for alarm in alarms]
    lines.append(f"next: {_next_step(bundle, alarms)}")
    return "\n".join(lines)


def _next_step(bundle: Bundle, alarms: list[dict[str, Any]]) -> str:
    """The command that fits: deploying, or training again where the training run gave no useful model."""
    unusable = [alarm for alarm in alarms if not alarm["usable"]]
    if unusable:
        return f"train again ({unusable[0]['remedy']}), then package that model; see docs/training.md"
    return f"osparse deploy {bundle.path} --cluster URL --index NAME"
