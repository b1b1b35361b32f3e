"""Every picture that osparse draws, light and dark, on one page: to look at after a change, or at one's own data.

python examples/pictures.py --dataset data/news --run build/model.run --as-of 2026-10-31 --output build/pictures
"""

from __future__ import annotations

import argparse
import datetime
from html import escape
from pathlib import Path

from osparse.contracts.dataset import Dataset
from osparse.corpus import TrendRules, find_trends
from osparse.corpus.builder.plots import draw
from osparse.errors import DatasetError
from osparse.trainer.report.curves import draw_curves
from osparse.trainer.report.run_log import read_log


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="a training run's folder, OUTPUT.run")
    parser.add_argument("--as-of", type=datetime.date.fromisoformat, help="draw the trends up to this day")
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    pictures = {look: pictures_of(given, given.output / look, look) for look in ("light", "dark")}
    columns = "".join(f"<td class={look}>{''.join(map(tag, paths))}</td>" for look, paths in pictures.items())
    style = "td{vertical-align:top;padding:1em}.dark{background:#16191d}img{display:block;margin-bottom:1em}"
    page = f"<!doctype html><title>Pictures</title><style>{style}</style><table><tr>{columns}</tr></table>"
    (given.output / "index.html").write_text(page, encoding="utf-8")


def pictures_of(given: argparse.Namespace, folder: Path, look: str) -> list[Path]:
    dataset = Dataset.open(given.dataset)
    paths = draw(dataset, folder, look=look)
    if given.run is not None:
        paths.append(folder / "curves.png")
        draw_curves(read_log(given.run), paths[-1], look=look)
    if given.as_of is not None:
        rules = TrendRules(as_of=given.as_of)
        try:
            find_trends(dataset, folder / "trends.json", rules, plot=folder / "trends.png", split="all", look=look)
            paths.append(folder / "trends.png")
        except DatasetError as problem:
            raise SystemExit(str(problem)) from None
    return paths


def tag(path: Path) -> str:
    return f'<img src="{escape(path.parent.name)}/{escape(path.name)}" alt="{escape(path.stem)}">'


if __name__ == "__main__":
    main()
