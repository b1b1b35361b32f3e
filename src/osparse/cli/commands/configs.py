"""``osparse configs``: the training configurations that osparse has, by name."""

from __future__ import annotations

import click

from osparse.cli.commands._common import command as make_command
from osparse.cli.commands._common import echo


@make_command("configs", examples="osparse configs\nosparse configs quickstart > mine.yaml")
@click.argument("name", required=False)
def command(name: str | None) -> None:
    """List the packaged training configurations, or print the one called NAME, to copy and change.

    `osparse train NAME` takes a packaged configuration by its name, `osparse train FILE` one of your own.
    """
    from osparse.io.files import read_text
    from osparse.trainer.config.named_config import config_file, packaged_configs

    if name is not None:
        path = config_file(name)
        text = read_text(path)
        echo({"name": path.stem, "path": str(path), "text": text}, text.rstrip())
        return
    names = packaged_configs()
    width = max(map(len, names))
    lines = [f"{name:<{width}}  {about}" for name, about in names.items()]
    echo({"configs": names}, "\n".join([*lines, "print one: osparse configs NAME; use one: osparse train NAME ..."]))
