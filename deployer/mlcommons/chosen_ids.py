"""Ids of models that osparse chooses, from OpenSearch 3.9 on: the same bundle has the same ids on every cluster.

A register call of 3.9 takes a ``model_id`` and creates a model of that id, or answers 409 ``model id '...' already
exists``; older versions do not look at it. Read in ml-commons#4974, which is in 950f056 (3.9.0-SNAPSHOT:
``MLResourceIdUtils``, ``MLModelManager.uploadMLModelMeta``), and documented as "introduced 3.9"
(documentation-website#12929); not run. The id that a server answers with counts in any case: the nodes of
a cluster that is being upgraded may differ.
"""

from __future__ import annotations

import re

from osparse.contracts.bundle import Bundle
from osparse.deployer import names

PATTERN = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_-]*")
"""What 3.9 takes for an id."""
MAX_BYTES = 512
TAKEN = re.compile(r"model id '[^']*' already exists")
"""The server's words, in an answer or in a task."""


def model_id_of(bundle: Bundle, part: str) -> str:
    """The model's name, whose dots an id may not have.

    Names with ``.`` and ``_`` in the same places share an id; the deploy that comes second gets one from the server.
    """
    return names.model_of(bundle, part).replace(".", "_")
