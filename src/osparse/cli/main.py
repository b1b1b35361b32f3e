"""The command line: finds a command, runs it, and turns an error into one clear message and an exit code.

A command lives in ``osparse/cli/commands/<name>.py`` as ``command``; it parses, calls one function, echoes. A name that
Python keeps for itself has ``_`` behind it there (``import_.py``).
"""

from __future__ import annotations

import importlib
import json
import keyword
import logging
import sys
from typing import Any, NoReturn, TextIO

import click

import osparse
from osparse.cli.parameter_names import with_flags
from osparse.errors import MissingExtraError, OsparseError
from osparse.plugins.extras import extra_of, missing

COMMANDS = {
    "corpus": "Build and inspect datasets from raw text",
    "idf": "Compute the query weights of a tokenizer on a dataset",
    "configs": "List the training configurations that osparse has, or show one",
    "train": "Train an inference-free sparse encoder",
    "monitor": "Show a training run's metrics in the terminal",
    "package": "Turn a model into the zips that OpenSearch loads, and check that they give its weights",
    "import": "Read a model of another tool back from a cluster, and say what it is",
    "verify": "Check a bundle: files, tokenizer, query weights, encoders",
    "node": "Run a real OpenSearch on this machine",
    "serve": "Serve a bundle's encoder over HTTP, for a cluster that calls it",
    "deploy": "Serve a bundle on a cluster under an index name",
    "encode": "Encode documents into shards, without a cluster",
    "index": "Load documents into a deployed index",
    "search": "Run a query on a deployed index",
    "explain": "Show why a document matches a query, or does not, token by token",
    "evaluate": "Measure deployed indices, models, bundles and run files on judged queries",
    "report": "Write one HTML file that shows the figures and why queries are lost",
    "tune": "Choose search settings and pruning of a deployed index by judged queries",
    "loadtest": "Measure search times of a deployed index under load",
    "workload": "Write a deployed index as a workload of OpenSearch Benchmark",
    "compare": "Compare run files, with significance tests",
    "judge": "Judge documents by hand or by clicks; interleave two systems",
    "status": "Show the deployments of a cluster and whether they are ready",
    "optimise": "Merge the segments of a deployed index and warm it up",
    "rollback": "Move an alias back to the index it had before",
    "undeploy": "Delete old indices, models and pipelines of an alias",
    "doctor": "Report what a cluster or this machine lacks",
}
"""Name -> one line, in the order of use; a command's module is imported only when it runs."""


ALWAYS_HEARD = "osparse.deployer.cluster.credentials"
"""The logger of what endangers credentials (no encryption, a certificate not checked): not even --quiet hides it."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        module = f"{name}_" if keyword.iskeyword(name) else name
        command: click.Command = importlib.import_module(f"osparse.cli.commands.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


_EPILOG = """\b
Examples:
  osparse doctor
  osparse package build/model --output build/bundle
  osparse deploy build/bundle --cluster http://localhost:9210 --index products
  osparse COMMAND --help
"""


@click.group(
    cls=_Commands, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(osparse.__version__, prog_name="osparse")
@click.option("--json", "as_json", is_flag=True, help="Print one machine-readable result on standard output.")
@click.option("--quiet", is_flag=True, help="Print errors and the result only: no progress, no notes.")
@click.option("--verbose", is_flag=True, help="Print debug notes, and the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, as_json: bool, quiet: bool, verbose: bool) -> None:
    """Train, package, deploy and evaluate learned sparse retrieval on OpenSearch.

    Usual order: corpus, idf, train, package, deploy, index, search, evaluate.

    Exit codes: 0 done, 1 failed, 2 bad input or configuration, 3 a check did not hold.
    """
    ctx.ensure_object(dict).update(json=as_json, quiet=quiet, verbose=verbose)


def main(arguments: list[str] | None = None) -> None:
    """Entry point of the ``osparse`` script."""
    options = {"json": False, "quiet": False, "verbose": False, "own_process": arguments is None}
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        code = cli.main(arguments, prog_name="osparse", standalone_mode=False, obj=options)
    except (click.exceptions.Abort, KeyboardInterrupt):
        _fail(options, "stopped", 130)
    except click.ClickException as error:
        if options["json"] or _asks_for_json(arguments):
            _fail({**options, "json": True}, error.format_message(), error.exit_code)
        error.show()
        sys.exit(error.exit_code)
    except OsparseError as error:
        _fail(options, str(error), error.exit_code)
    except ModuleNotFoundError as error:
        extra = extra_of(error.name)
        if extra is None:
            _unexpected(options, error)
        _fail(options, str(missing(str(error.name), str(extra))), MissingExtraError.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 - the last resort: a fault of ours, said as one
        _unexpected(options, error)
    sys.exit(code if isinstance(code, int) else 0)


def _asks_for_json(arguments: list[str]) -> bool:
    """Of a command line that could not be parsed; what follows ``--`` are arguments and no options."""
    return "--json" in arguments[: arguments.index("--") if "--" in arguments else None]


def _unexpected(options: dict[str, bool], error: Exception) -> NoReturn:
    _fail(options, f"unexpected {type(error).__name__}: {error} (--verbose shows where; please report it)", 1)


def _fail(options: dict[str, bool], message: str, code: int) -> NoReturn:
    if options["verbose"] and sys.exc_info()[0] is not None:
        logging.getLogger("osparse").error("traceback", exc_info=True)
    if options["json"]:
        click.echo(json.dumps({"error": message, "exit_code": code}, ensure_ascii=False))
    click.echo(f"osparse: {message}", err=True)
    sys.exit(code)


class _NoteHandler(logging.StreamHandler[TextIO]):
    """Lines on standard error; through the progress display once that is loaded, so that neither cuts the other."""

    def emit(self, record: logging.LogRecord) -> None:
        progress = sys.modules.get("osparse.io.progress")  # never imported for this: rich takes a while
        if progress is None:
            return super().emit(record)
        try:
            progress.note(self.format(record))
        except Exception:  # noqa: BLE001 - as every handler of logging does
            self.handleError(record)


class _NoteFormatter(logging.Formatter):
    """Notes of the library name parameters; the user sees the flags of his command."""

    def format(self, record: logging.LogRecord) -> str:
        context = click.get_current_context(silent=True)
        text = super().format(record)
        return text if context is None else with_flags(text, context.command.params)


def setup_logging(options: dict[str, Any]) -> None:
    """Notes go to standard error; standard output carries the result alone."""
    level = logging.DEBUG if options["verbose"] else logging.ERROR if options["quiet"] else logging.INFO
    handler = _NoteHandler(sys.stderr)
    handler.setFormatter(_NoteFormatter("%(message)s"))
    logger = logging.getLogger("osparse")
    logger.handlers = [handler]
    logger.setLevel(level)
    logger.propagate = False
    logging.getLogger(ALWAYS_HEARD).setLevel(min(level, logging.WARNING))
