"""The node's own process: a Java virtual machine inside Python that runs OpenSearch until SIGTERM.

Run as ``python -m osparse.deployer.node.process``; osparse.deployer.node.node starts it detached and reads what it
writes into its home. Everything on standard output and error, Java's included, is the node's log.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from osparse.deployer.node.state import HOST, NODE_LOCK, ProcessRecord
from osparse.errors import NodeError, OsparseError
from osparse.io.locks import acquire
from osparse.plugins.extras import require

TRANSPORT_PORTS = "9350-9449"
NAME = "osparse"
THAI_TEXT = "ภาษาไทย"
FAILED = 3

log = logging.getLogger("osparse.deployer.node.process")


def main(arguments: list[str] | None = None) -> int:
    """Serve until told to stop; the exit code. Ends the process by itself: a JVM does not come back."""
    options = _parse(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
    started = time.monotonic()
    home: Path = options.home
    os.chdir(home)
    if acquire(home / NODE_LOCK, wait=1) is None:  # kept open, and so held, until the process ends
        log.error("another process runs the node in %s", home)
        return FAILED
    record = ProcessRecord("starting", os.getpid(), options.opensearch, options.java_name)
    record.save(home)
    try:
        java = _start_java(home, options)
        stop = _stop_on_signals(options.tied)
        node = _start_node(java, home, options.port)
    except Exception as error:  # whatever it is, the waiting parent must learn it
        log.exception("the node did not start")
        replace(record, phase="failed", error=_root_cause(error)).save(home)
        return FAILED
    port = int(
        node.injector().getInstance(_class(java, "http.HttpServerTransport")).boundAddress().publishAddress().getPort()
    )
    record = replace(record, phase="running", port=port, seconds=round(time.monotonic() - started, 2))
    record.save(home)
    stop.wait()
    node.close()
    replace(record, phase="stopped").save(home)
    return 0


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="osparse.deployer.node.process")
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--heap", required=True)
    parser.add_argument("--libjvm", required=True)
    parser.add_argument("--java-name", required=True)
    parser.add_argument("--opensearch", required=True, help="its version")
    parser.add_argument("--thai-patched", action="store_true")
    parser.add_argument("--tied", action="store_true", help="stop when standard input ends")
    return parser.parse_args(arguments)


def _start_java(home: Path, options: argparse.Namespace) -> Any:
    jpype: Any = require("jpype", "node")
    jpype.startJVM(
        options.libjvm,
        f"-Xms{options.heap}",
        f"-Xmx{options.heap}",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",  # the fast compiler only: starts in half the time
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={home}/logs/java-error-%p.log",
        f"-Djava.io.tmpdir={home}/tmp",
        f"-Djna.tmpdir={home}/tmp",
        "-Dlog4j2.disable.jmx=true",
        "-Dlog4j.shutdownHookEnabled=false",
        "--enable-native-access=ALL-UNNAMED",
        classpath=[str(jar) for jar in sorted((home / "lib").glob("*.jar"))],
        convertStrings=False,
    )
    if not options.thai_patched and not _knows_thai(jpype):
        raise NodeError(
            f"{options.java_name} lacks locale data that OpenSearch's analysis needs (Thai); unset JAVA_HOME, "
            "or install a full JDK 21 or later"
        )
    return jpype


def _knows_thai(java: Any) -> bool:
    """The question that Lucene's ThaiTokenizer asks before it agrees to load."""
    words = java.JClass("java.text.BreakIterator").getWordInstance(java.JClass("java.util.Locale").forLanguageTag("th"))
    words.setText(java.JString(THAI_TEXT))
    return bool(words.isBoundary(4))


def _stop_on_signals(tied: bool) -> threading.Event:
    """Set by SIGTERM, SIGINT, and the end of standard input if ``tied``. Replaces the handlers that Java installed."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if tied:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    return stop


def _stop_at_end_of_input(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _class(java: Any, name: str) -> Any:
    return java.JClass(f"org.opensearch.{name}")


def _start_node(java: Any, home: Path, port: int) -> Any:
    settings = _class(java, "common.settings.Settings").builder()
    for key, value in {
        "path.home": home,
        "cluster.name": NAME,
        "node.name": NAME,
        "network.host": HOST,
        "http.port": port,
        "transport.port": TRANSPORT_PORTS,
        "discovery.type": "single-node",
        # A laptop's disk is often above 95% full; OpenSearch would make every index read-only.
        "cluster.routing.allocation.disk.threshold_enabled": "false",
    }.items():
        settings.put(key, str(value))
    name = java.JProxy("java.util.function.Supplier", dict={"get": lambda: NAME})
    config = java.JClass("java.nio.file.Paths").get(str(home / "config"))
    preparer = _class(java, "node.InternalSettingsPreparer")
    environment = preparer.prepareEnvironment(settings.build(), java.JClass("java.util.HashMap")(), config, name)
    configurator = _class(java, "common.logging.LogConfigurator")
    configurator.registerErrorListener()
    configurator.setNodeName(NAME)
    configurator.configure(environment)
    node = _class(java, "node.Node")(environment)
    node.start()
    return node


def _root_cause(error: Exception) -> str:
    """Class and message of the innermost cause; Java's exceptions carry theirs in getCause()."""
    if isinstance(error, OsparseError):
        return str(error)
    cause: Any = error
    while hasattr(cause, "getCause") and cause.getCause() is not None:
        cause = cause.getCause()
    if hasattr(cause, "getMessage"):
        return f"{cause.getClass().getName()}: {cause.getMessage()}"
    return f"{type(cause).__name__}: {cause}"


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # Java's threads and shutdown hooks have nothing left to do, and would hold the process
