"""A vocabulary that SEISMIC cannot hold is refused, and the same model with a trimmed one is served."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import world
from mlcommons_server import MLCommonsServer
from tokenizers import Tokenizer

from osparse.contracts.bundle import Bundle
from osparse.contracts.dataset import Dataset
from osparse.contracts.model import Model
from osparse.deployer import deploy, index_documents
from osparse.deployer.index.layout import Serving
from osparse.errors import InputError
from osparse.opensearch_versions import SEISMIC_IDS
from osparse.packager import package
from osparse.retrieval.searcher import Searcher

from .conftest import client

SEISMIC = Serving(field="sparse_vector")


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model whose useful tokens have the highest of 33,000 ids."""
    folder = tmp_path_factory.mktemp("large")
    path = world.make_tokenizer(folder / "tokenizer.json")
    raw = json.loads(path.read_text(encoding="utf-8"))
    used = list(raw["model"]["vocab"])[len(world.SPECIAL) :]
    unused = [f"слово{n}" for n in range(33_000 - len(used) - len(world.SPECIAL))]
    raw["model"]["vocab"] = {token: i for i, token in enumerate([*world.SPECIAL, *unused, *used])}
    Tokenizer.from_str(json.dumps(raw)).save(str(path))
    return world.make_model(folder / "model", tokenizer=path)


@pytest.fixture(scope="module")
def trimmed(large: Model, dataset: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("trimmed") / "bundle"
    return package(large, folder, ["onnx"], dataset=dataset, vocabulary=SEISMIC_IDS)


def test_the_whole_vocabulary_is_refused_by_a_message_that_says_how_to_trim(
    server: MLCommonsServer, trimmed: Bundle, large: Model
) -> None:
    whole = replace(trimmed, vocabulary=len(large.lexicon.tokens))
    with pytest.raises(
        InputError, match=r"33,000 tokens .* osparse package MODEL --vocabulary 32768 --dataset DATASET"
    ):
        deploy(whole, client(server), "products", serving=SEISMIC)
    assert not server.models and not server.indices


def test_the_trimmed_one_is_deployed_loaded_and_searched(
    server: MLCommonsServer, trimmed: Bundle, dataset: Dataset
) -> None:
    assert trimmed.vocabulary <= 400, "the words of another script are gone"
    assert trimmed.fit["vocabulary"] == {"size": trimmed.vocabulary, "past_fold": 0, "sharing": 0}
    deploy(trimmed, client(server), "products", serving=SEISMIC)
    load = index_documents(client(server), "products", [dataset.path])
    assert (load.indexed, load.failed) == (16, 0)
    stored = server.indices[f"products-{trimmed.short}"].documents
    ids = {int(name) for source in stored.values() for name in source["sparse_embedding"]}
    assert ids and max(ids) < trimmed.vocabulary
    assert Searcher(client(server), "products").ask("배 키우기").hits
