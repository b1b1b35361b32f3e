"""Every "how to add" page of docs/ is true: its files and edits, made in a copy of osparse, do what it says."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import page_edits
import pytest
import small_run
import torch
import world
from lookup_bundle import make_lookup_bundle
from mlcommons_server import mlcommons_server
from transformers import MPNetConfig, MPNetForMaskedLM, PreTrainedTokenizerFast

from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.encoders.torch_encoder import SparseEncoder
from osparse.errors import InputError
from osparse.formula.head import Head
from osparse.masked_lm import architectures
from osparse.packager import package, verify
from osparse.plugins import entry_points
from osparse.trainer import train

PAGES = sorted(path.name for path in page_edits.DOCS.glob("add-*.md"))


def forget_entry_points() -> None:
    entry_points.known.cache_clear()
    entry_points.load.cache_clear()
    architectures.find.cache_clear()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder that Python and importlib.metadata look into."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    monkeypatch.undo()
    forget_entry_points()


def installed(page: str, module: str, site: Path) -> ModuleType:
    """The page's module and its entry points, as pip would install them."""
    (site / f"{module}.py").write_text(page_edits.file_of(page, f"{module}.py"), encoding="utf-8")
    text = (page_edits.DOCS / page).read_text(encoding="utf-8")
    head, _, rest = text.partition('[project.entry-points."')[2].partition('"]\n')
    lines = rest.partition("```")[0].replace('"', "")
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[{head}]\n{lines}", encoding="utf-8")
    forget_entry_points()
    sys.modules.pop(module, None)
    return importlib.import_module(module)


def test_there_is_a_page_for_each_part_and_a_test_for_each_page() -> None:
    kinds = ("architecture", "format", "index-kind", "loss", "reader", "stage", "teacher")
    assert PAGES == [f"add-{kind}.md" for kind in kinds]
    source = Path(__file__).read_text(encoding="utf-8")
    for page in PAGES:
        assert f'"{page}"' in source, page
        for _, path, text in page_edits.blocks(page):
            assert text and not path.startswith("/")


def test_an_edit_must_fit_the_file() -> None:
    assert page_edits.changed("a\nb\nc\n", " a\n-b\n+B\n", "x") == "a\nB\nc\n"
    assert page_edits.changed("a\nb\nc\n", "+0\n a\n...\n-c\n", "x") == "0\na\nb\n"
    with pytest.raises(AssertionError, match="occur 0 times"):
        page_edits.changed("a\n", "-b\n+c\n", "x")


def test_a_reader(tmp_path: Path) -> None:
    copy = page_edits.copy_with("add-reader.md", tmp_path)
    for name, rows in {"pears": world.RECORDS[:4], "trams": world.RECORDS[4:]}.items():
        lines = [f"Q: {row[3]}\nA: {row[4]}" for row in rows]
        (tmp_path / f"{name}.txt").write_text("\n\n".join([*lines, "A:  "]), encoding="utf-8")
    page_edits.run_copy(copy, "corpus", "build", "--source", "faq", "pears.txt", "trams.txt", "--output", "made")
    made = Dataset.open(tmp_path / "made")
    (source,) = json.loads((made.path / "manifest.json").read_text(encoding="utf-8"))["sources"]
    assert (source["name"], source["rows_kept"], source["dropped"]) == ("faq", 8, {"no answer": 2})
    texts = made.documents.collect()["text"].to_list()
    assert sorted(texts) == sorted(row[4] for row in world.RECORDS)


def test_a_loss(site: Path, tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / "my_losses.py").write_text(page_edits.file_of("add-loss.md", "my_losses.py"), encoding="utf-8")
    soft_margin = importlib.import_module("my_losses").soft_margin
    generator = np.random.default_rng(0)
    scores, target = generator.normal(size=(3, 4)), [2, 0, 3]
    candidates = np.array([[1, 1, 1, 0], [1, 0, 1, 1], [0, 0, 0, 1]], dtype=bool)
    weight = [1.0, 0.5, 2.0]
    total = 0.0
    for query, positive in enumerate(target):
        others = [d for d in range(4) if candidates[query, d] and d != positive]
        terms = [np.log1p(np.exp((scores[query, d] - scores[query, positive]) / 0.7)) for d in others]
        total += weight[query] * (sum(terms) / max(1, len(others)))
    value = soft_margin(
        torch.tensor(scores), torch.tensor(target), temperature=0.7, candidates=torch.tensor(candidates),
        weight=torch.tensor(weight),
    )  # fmt: skip
    assert float(value) == pytest.approx(total / sum(weight))
    yaml = small_run.write_inputs(tmp_path / "inputs")
    stage = small_run.ONE_STEP.replace("span_weight: 1}", "span_weight: 1, loss: 'my_losses:soft_margin'}")
    model = train(yaml, dataset, tmp_path / "model", overrides=[f"stages=[{stage}]"])
    assert list(model.training["own_code"]) == ["stages.0.loss"]
    sys.modules.pop("my_losses")


def test_a_stage(tmp_path: Path) -> None:
    copy = page_edits.copy_with("add-stage.md", tmp_path)
    yaml = small_run.write_inputs(tmp_path / "inputs", dropout=0.0)
    world.make_dataset(tmp_path / "dataset")
    stage = (
        "{task: alignment, steps: 30, batch: 5, lr: 1e-2, schedule: constant, warmup: 0, max_length: 32, columns: 200}"
    )
    arguments = ["train", str(yaml), "--dataset", "dataset", "--output", "model", "--set", f"stages=[{stage}]"]
    page_edits.run_copy(copy, *arguments)
    rows = [json.loads(line) for line in (tmp_path / "model.run" / "metrics.jsonl").read_text().splitlines()]
    losses = [row["loss"] for row in rows if row.get("stage") == "alignment" and "loss" in row]
    assert len(losses) > 2 and losses[-1] < losses[0] / 2, losses


def test_a_teacher(tmp_path: Path) -> None:
    copy = page_edits.copy_with("add-teacher.md", tmp_path)
    yaml = small_run.write_inputs(tmp_path / "inputs")
    world.make_dataset(tmp_path / "dataset")
    taught = "distillation: {loss: kl, weight: 0.5, over: batch, scale: 10, teachers: [{kind: overlap}]}}"
    assert taught[:-1] in (page_edits.DOCS / "add-teacher.md").read_text(encoding="utf-8")
    stage = small_run.ONE_STEP.replace("spans: 1", "spans: 0").removesuffix("}") + f", contrastive: 0, {taught}"
    page_edits.run_copy(
        copy, "train", str(yaml), "--dataset", "dataset", "--output", "model", "--set", f"stages=[{stage}]"
    )
    rows = [json.loads(line) for line in (tmp_path / "model.run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["distillation"] > 0 for row in rows if "distillation" in row] == [True]


def mpnet(rows: int) -> MPNetForMaskedLM:
    torch.manual_seed(0)
    shape = MPNetConfig(
        vocab_size=rows, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=66, pad_token_id=0,
    )  # fmt: skip
    mlm = MPNetForMaskedLM(shape)
    mlm.eval()
    return mlm


def test_an_architecture(site: Path) -> None:
    installed("add-architecture.md", "my_mpnet", site)
    mlm = mpnet(400)
    found = architectures.find("mpnet")
    ids, mask = torch.randint(1, 400, (2, 9)), torch.ones(2, 9, dtype=torch.int64)
    with torch.no_grad():
        logits = found.decoder(mlm)(found.transform(mlm)(found.states(mlm, ids, mask)))
        assert torch.equal(logits, mlm(ids, mask).logits)
        weights = SparseEncoder(mlm, Head(max_length=64))(ids, mask)
        assert torch.allclose(weights, logits.relu().amax(1).log1p(), atol=1e-6)
    assert found.positions(mlm.config) == 64
    mlm(torch.full((1, 64), 5), torch.ones(1, 64, dtype=torch.int64))  # as long as it says
    with pytest.raises(IndexError):
        mlm(torch.full((1, 65), 5), torch.ones(1, 65, dtype=torch.int64))


def test_its_checkpoints_are_packaged(site: Path, tmp_path: Path) -> None:
    tokenizer = world.make_tokenizer(tmp_path / "tokenizer" / "tokenizer.json")
    lexicon = world.make_lexicon(tokenizer)
    (tmp_path / "idf.json").write_text(lexicon.idf_text(), encoding="utf-8")
    mlm = mpnet(len(lexicon.tokens))
    with torch.no_grad():
        mlm.lm_head.decoder.weight.mul_(40)
        mlm.lm_head.decoder.bias.uniform_(-6, -2.5)
    mlm.save_pretrained(tmp_path / "model")
    special = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), world.SPECIAL, strict=True))
    PreTrainedTokenizerFast(tokenizer_file=str(tokenizer), **special).save_pretrained(tmp_path / "model")
    options: dict[str, Any] = {"idf": tmp_path / "idf.json", "activation": "log1p_relu", "max_length": 64}
    with pytest.raises(InputError, match="mpnet"):
        package(tmp_path / "model", tmp_path / "bundle", ["onnx"], **options)
    installed("add-architecture.md", "my_mpnet", site)
    assert package(tmp_path / "model", tmp_path / "bundle", ["onnx"], **options).checks["parity"]


def test_a_format(site: Path, tmp_path: Path, model: Model) -> None:
    with pytest.raises(InputError, match="onnx-licensed"):
        package(model, tmp_path / "without", ["onnx-licensed"])
    installed("add-format.md", "my_format", site)
    first = package(model, tmp_path / "first", ["onnx-licensed"])
    again = package(model, tmp_path / "again", ["onnx-licensed"])
    assert first.fingerprint == again.fingerprint
    verify(first.path)  # raises CheckError where a check does not hold
    assert b"CC-BY-4.0" in read_member(first.zip_path("onnx-licensed"), "model.onnx")


def test_an_index_kind(tmp_path: Path) -> None:
    copy = page_edits.copy_with("add-index-kind.md", tmp_path)
    bundle = make_lookup_bundle(tmp_path / "bundle", "tiny", 0)
    rows = [{"id": row[0], "text": row[4]} for row in world.RECORDS]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    with mlcommons_server() as server:
        at = ["--cluster", server.url, "--index", "pages"]
        page_edits.run_copy(copy, "deploy", str(bundle.path), *at, "--field", "vector_only", "--allow-settings")
        page_edits.run_copy(copy, "index", *at, "rows.jsonl")
        hits = json.loads(page_edits.run_copy(copy, "search", *at, rows[0]["text"], "--top", "1", "--json"))
    assert hits["hits"][0]["id"] == "pear", hits
