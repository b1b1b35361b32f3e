"""The model group of a bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass

from osparse.contracts.bundle import Bundle
from osparse.deployer import names
from osparse.deployer.mlcommons.api import MLCommons
from osparse.deployer.plan import GROUP, Finding, Made
from osparse.errors import ClusterError


@dataclass(frozen=True)
class ModelGroup:
    """Step: the bundle's model group exists."""

    ml: MLCommons
    bundle: Bundle
    takes = ()

    def inspect(self, made: Made) -> Finding:
        group_id = self.ml.find_group(names.model_group(self.bundle))
        what = f"model group {names.model_group(self.bundle)}"
        if group_id is None:
            return Finding("create", what, "there is none of that name")
        return Finding("keep", what, "exists", Made({GROUP: group_id}))

    def apply(self, made: Made) -> Made:
        answer = self.ml.register_group(names.model_group(self.bundle))
        taken = re.search(r"model group with ID: ([^\s.]+)", answer.reason) if answer.status == 400 else None
        if answer.status == 400 and taken is None:
            raise ClusterError(f"the model group {names.model_group(self.bundle)} was refused: {answer.reason}")
        return Made({GROUP: taken[1] if taken else str(answer.body["model_group_id"])})
