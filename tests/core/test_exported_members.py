"""What is public: the names of osparse and of each package, written out, and nothing else in the documentation."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PUBLIC = {
    "osparse": """
        Bundle Dataset Model TextEncoder build_dataset compare deploy evaluate explain
        index_documents mine open_benchmark open_cluster package read_settings score search train
    """,
    "osparse.corpus": """
        Bm25Retriever IdfDiff Input MiningReport MiningRules ModelRetriever PairFilters PairRules READERS Recency
        ScoringReport Selection Stats Store SynonymReport SynonymRules TokenizerReport TrendReport TrendRules build_dataset
        build_from compute_idf dataset_stats diff_idf find_synonyms find_trends make_pairs mine
        prepare_baseline score score_candidates train_tokenizer
    """,
    "osparse.deployer": """
        Adoption Answer CapacitySheet Cluster DeletionRow DeployResult DocumentRow EncodeResult Gate Healed IndexResult
        ModelOptions Optimised RollbackResult Serving UndeployResult Upgrade connector_example deploy doctor drift_from
        encode_documents from_cluster heal index_documents infer_mapping load_rows metrics_text node_down node_status node_up
        open_cluster optimise other_problems query_encoder read_deployment rollback sagemaker_url sizing status undeploy
    """,
    "osparse.integrations": """
        SparseDocument bundle_query_encoder elasticsearch milvus open_shards qdrant ray sentence_transformers spark
    """,
    "osparse.masked_lm": """
        Architecture BERT DISTILBERT ELECTRA GTE MODERNBERT ROBERTA load_masked_lm
    """,
    "osparse.packager": """
        Check Format Graph Import Onnx Quantization QuantizationTable ServerEncoder ServerTokenizer Subject TorchScript
        Verification compare_quantizations from_files import_model package result verify write_sagemaker
    """,
    "osparse.retrieval": """
        ClickJudgements Comparison Contrast Explanation Exported Feedback FusionFit Hit Imported Interleaved LoadReport Match
        Pool Preference Report Searcher Setting SuiteReport TeamDraft TuningPlan WhyNot Workload WrittenPage adoption_gate
        compare evaluate evaluate_suite explain export_judgements fit_fusion gate import_judgements interleave judge_clicks
        judge_preference load_test pool search team_draft tune write_html_report write_workload
    """,
    "osparse.trainer": """
        TrainConfig losses plan run_folder train
    """,
    "osparse.trainer.losses": """
        df_activation flops idf_penalty idf_scores info_nce kl_distillation margin_mse
        negative_pool normalised_teachers quadratic_warmup ranknet
    """,
}
"""Module -> its public names. A name that is added or removed here is a change that users notice: CHANGELOG.md has it."""


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these_and_each_can_be_imported(module: str) -> None:
    package = importlib.import_module(module)
    assert sorted(package.__all__) == PUBLIC[module].split()
    assert [name for name in PUBLIC[module].split() if not hasattr(package, name)] == []


def test_every_package_with_a_list_of_names_is_here() -> None:
    listed = set()
    for stub in ROOT.rglob("__init__.pyi"):
        parts = stub.parent.relative_to(ROOT).parts
        parts = parts[2:] if parts[:2] == ("src", "osparse") else parts
        if parts[:1] != ("build",) and not any(part.startswith(".") for part in parts):
            listed.add(".".join(("osparse", *parts)))
    assert listed == set(PUBLIC)


def imports(code: str) -> Iterator[tuple[str, str | None]]:
    """(module, name) of everything of osparse that the code imports; None for a whole module."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names if alias.name.split(".")[0] == "osparse")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "osparse":
            yield from ((str(node.module), alias.name) for alias in node.names)


def code_of(path: Path) -> Iterator[str]:
    """The Python in a page: its fenced blocks and what it says to import within a line; the cells of a notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        for cell in json.loads(text)["cells"]:
            if cell["cell_type"] == "code":
                lines = "".join(cell["source"]).splitlines()
                yield "\n".join("pass" if line.startswith(("%", "!")) else line for line in lines)
        return
    yield from re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    yield from re.findall(r"`((?:from osparse[\w.]* import|import osparse)[^`\n]*)`", text)


def not_public(code: str) -> list[str]:
    found = []
    for module, name in imports(code):
        names = PUBLIC.get(module, "").split()
        if module not in PUBLIC or (name is not None and name not in names and f"{module}.{name}" not in PUBLIC):
            found.append(f"from {module} import {name}" if name else f"import {module}")
    return found


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "examples" / "quickstart.ipynb"],
    ids=lambda page: page.name,
)
def test_the_documentation_imports_public_names_only(page: Path) -> None:
    assert [problem for code in code_of(page) for problem in not_public(code)] == []


def test_what_is_not_public_is_seen() -> None:
    assert not_public("from osparse.io.files import sha256_file\nimport osparse.io.files") == [
        "from osparse.io.files import sha256_file",
        "import osparse.io.files",
    ]
    assert not_public("from osparse.corpus import nothing") == ["from osparse.corpus import nothing"]
    assert (
        not_public("import osparse, numpy\nfrom osparse import Dataset, corpus\nfrom osparse.corpus import mine") == []
    )


def test_the_documentation_has_code_to_look_at() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "examples" / "quickstart.ipynb"]
    assert sum(len(list(imports(code))) for page in pages for code in code_of(page)) > 20
