"""A plug-in is found, run and packaged like osparse's own parts, and a broken one is named."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import saved_worlds

from osparse.contracts.bundle import Bundle
from osparse.contracts.model import Model
from osparse.contracts.zip_members import read_member
from osparse.errors import CheckError, InputError
from osparse.masked_lm.architectures import BERT, find
from osparse.packager import package, verify
from osparse.packager.checkpoint.checkpoints import open_model
from osparse.packager.checkpoint.loaded import LoadedModel
from osparse.packager.export import formats
from osparse.plugins import entry_points

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "tests" / "example_plugin"
Install = Callable[..., None]


def forget() -> None:
    entry_points.known.cache_clear()
    entry_points.load.cache_clear()
    find.cache_clear()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a distribution with these entry points where importlib.metadata looks, as pip does."""

    def write(groups: dict[str, dict[str, str]], name: str = "osparse-example") -> None:
        folder = tmp_path / "site" / f"{name.replace('-', '_')}-1.0.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in rows.items()) for group, rows in groups.items()]
        (folder / "entry_points.txt").write_text("\n".join(lines))
        monkeypatch.syspath_prepend(str(tmp_path / "site"))
        monkeypatch.syspath_prepend(str(EXAMPLE))
        forget()

    yield write
    sys.modules.pop("osparse_example", None)
    monkeypatch.undo()
    forget()


def example() -> dict[str, dict[str, str]]:
    groups: dict[str, dict[str, str]] = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"][
        "entry-points"
    ]
    return groups


def test_the_example_is_what_the_documentation_shows() -> None:
    text = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
    for file in ("osparse_example.py", "pyproject.toml"):
        assert (EXAMPLE / file).read_text(encoding="utf-8").strip() in text


@pytest.mark.parametrize("group", list(entry_points.OWN))
def test_osparse_own_parts_can_be_loaded_and_come_first(group: str, install: Install) -> None:
    install({group: {"aaa": "osparse_example:absent"}})
    assert list(entry_points.known(group)) == [*entry_points.OWN[group], "aaa"]
    for name in entry_points.OWN[group]:
        assert entry_points.load(group, name) is not None


def test_the_metadata_of_an_installed_osparse_adds_nothing(install: Install) -> None:
    """Versions before 0.2 listed their own parts as entry points, which may name what is no longer there."""
    install(
        {entry_points.CHECKS: {"zips": "osparse.packager.gone:zips", "rings": "osparse.packager.gone:rings"}}, "osparse"
    )
    assert list(entry_points.known(entry_points.CHECKS)) == list(entry_points.OWN[entry_points.CHECKS])


def test_the_example_packages_and_verifies(
    install: Install, model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(example())
    assert find("example-bert") is BERT
    made = package(model, tmp_path / "bundle", ["onnx-stamped"])
    assert made.formats == ["onnx-stamped"] and made.checks["parity"].keys() == {"onnx-stamped"}
    assert made.files["onnx-stamped"].name == "encoder.onnx-stamped.zip"
    data = read_member(made.zip_path("onnx-stamped"), "model.onnx")
    assert onnx.load_from_string(data).producer_name == "Example Ltd"
    assert "short documents" in {check.name for check in verify(made.path).checks}
    monkeypatch.setattr("osparse_example.MOST_WEIGHTS", 3)
    with pytest.raises(CheckError, match=r"short documents +failed +.* weights"):
        verify(made.path)


def test_what_is_not_installed_or_broken_is_named(install: Install, bundle: Bundle) -> None:
    with pytest.raises(InputError, match=r"'openvino' is not among osparse\.formats: torchscript, onnx"):
        formats.get("openvino")
    install({"osparse.formats": {"gone": "no_such_module:Format", "wrong": "osparse.contracts.bundle:Bundle.__name__"}})
    with pytest.raises(
        InputError, match=r"'gone' of the entry points .*no_such_module:Format: no_such_module cannot be imported"
    ):
        formats.get("gone")
    assert bundle.formats == ["torchscript", "onnx"]


def test_an_object_that_is_no_format_is_refused(install: Install) -> None:
    install({"osparse.formats": {"wrong": "osparse.errors:OsparseError"}})
    with pytest.raises(
        InputError, match=r"'wrong' \(OsparseError\) is not an osparse\.packager\.export\.formats\.Format"
    ):
        formats.get("wrong")


def test_two_packages_may_not_claim_one_name(install: Install) -> None:
    install({"osparse.formats": {"onnx": "osparse_example:StampedOnnx"}})
    with pytest.raises(
        InputError, match=r"'onnx' is claimed by osparse\.packager\.export\.formats:Onnx and osparse_example"
    ):
        formats.known()


def test_a_plug_in_architecture_says_its_position_offset(install: Install, tmp_path: Path) -> None:
    install({"osparse.architectures": {"camembert": "osparse.masked_lm.architectures:ROBERTA"}})
    folder = saved_worlds.plain(saved_worlds.roberta(tmp_path / "model", "camembert"))
    opened = open_model(folder)
    assert opened.head.max_length == 40  # of 42 positions
    assert LoadedModel.open(opened).longest == 40
