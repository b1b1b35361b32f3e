from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from osparse.errors import ConfigError
from osparse.io.settings import checked, read_settings, setting, to_plain


@dataclass(frozen=True)
class First:
    lr: float = setting(low=0, above=True, high=1)
    task: Literal["first"] = "first"


@dataclass(frozen=True)
class Second:
    steps: int = setting(10, low=1)
    task: Literal["second"] = "second"


@dataclass(frozen=True)
class Inner:
    top_k: int | None = setting(None, low=1)
    kind: Literal["a", "b"] = "a"

    def problems(self) -> list[str]:
        return ["kind: b needs top_k"] if self.kind == "b" and self.top_k is None else []


@dataclass(frozen=True)
class Whole:
    seed: int
    folder: Path
    inner: Inner
    stages: tuple[First | Second, ...]


GOOD = "seed: 1\nfolder: a/b\ninner: {top_k: 5}\nstages:\n- {task: first, lr: 1e-4}\n- {task: second}\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "run.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_types_and_defaults(tmp_path: Path) -> None:
    made = read_settings(Whole, write(tmp_path, GOOD))
    assert made == Whole(1, Path("a/b"), Inner(5), (First(1e-4), Second(10)))
    assert to_plain(made)["stages"][0] == {"lr": 1e-4, "task": "first"}


def test_overrides_by_key_position_and_task(tmp_path: Path) -> None:
    sets = ["inner.top_k=null", "stages.first.lr=1e-3", "stages.1.steps=3", "seed=7"]
    made = read_settings(Whole, write(tmp_path, GOOD), sets)
    assert made == Whole(7, Path("a/b"), Inner(None), (First(1e-3), Second(3)))


def test_an_override_without_a_value_deletes_a_key(tmp_path: Path) -> None:
    made = read_settings(Whole, write(tmp_path, GOOD), ["inner.top_k=", "stages.first=", "stages.0.steps=4"])
    assert made == Whole(1, Path("a/b"), Inner(), (Second(4),))
    with pytest.raises(ConfigError) as caught:
        read_settings(Whole, write(tmp_path, GOOD), ["inner.kind=", "stages.9=", "no.such=", "seed= "])
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "`overrides=inner.kind=`", "`overrides=stages.9=`", "`overrides=no.such=`", "seed",
    ]  # fmt: skip


def test_reports_every_problem_at_once(tmp_path: Path) -> None:
    text = "seed: yes\nfoldr: a\ninner: {top_k: 0, kind: c}\nstages:\n- {task: first, lr: 2}\n- {task: third}\n"
    with pytest.raises(ConfigError) as caught:
        read_settings(Whole, write(tmp_path, text), ["nonsense", "stages.9.lr=1"])
    wanted = ["seed", "foldr", "folder", "inner.top_k", "inner.kind", "stages.0.lr", "stages.1.task", "nonsense", "9"]
    assert len(caught.value.problems) == len(wanted)
    for word in wanted:
        assert any(word in problem for problem in caught.value.problems), word


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ("seed: 1.5", "seed"),  # a float is not an int
        ("seed: true", "seed"),  # a bool is not an int
        ("seed: 1\nseed: 2", "given twice: seed"),
        ("seed: [", "YAML"),
        ("seed: 1\ninner: {kind: b}", "given twice"),
    ],
)
def test_wrong_values(tmp_path: Path, change: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_settings(Whole, write(tmp_path, GOOD.replace("seed: 1", change)))


def test_nan_is_out_of_range(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lr"):
        read_settings(Whole, write(tmp_path, GOOD.replace("1e-4", ".nan")))


def test_rules_between_fields(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="inner.kind: b needs top_k"):
        read_settings(Whole, write(tmp_path, GOOD.replace("top_k: 5", "kind: b")))


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_settings(Whole, tmp_path / "no.yaml")


@dataclass(frozen=True)
class Pairs:
    pair: tuple[int, str]
    weights: dict[str, float]
    any: Any = None


def test_a_tuple_of_fixed_length_and_a_mapping() -> None:
    assert checked(Pairs, {"pair": [1, "a"], "weights": {"x": 1}}) == (Pairs((1, "a"), {"x": 1.0}), [])
    assert checked(Pairs, {"pair": [1, "a"], "weights": {}, "any": [None]})[0] == Pairs((1, "a"), {}, [None])
    for raw, said in [
        ({"pair": [1, 2, 3, 4], "weights": {}}, "pair: must be a list of 2"),
        ({"pair": [1], "weights": {}}, "pair: must be a list of 2"),
        ({"pair": [1, 2], "weights": {}}, "pair.1: must be str, got 2"),
        ({"pair": [1, "a"], "weights": []}, "weights: must be a mapping"),
        ({"pair": [1, "a"], "weights": {"x": "y"}}, "weights.x: must be float, got 'y'"),
        ({"pair": [1, "a"], "weights": {1: 2.0}}, "weights: must be a mapping"),
    ]:
        made, problems = checked(Pairs, raw)
        assert made is None and len(problems) == 1 and problems[0].startswith(said)
