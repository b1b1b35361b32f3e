"""A masked-LM folder of transformers: its weights are safetensors, or a .bin read as tensors and nothing else."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from osparse.errors import ModelError
from osparse.masked_lm.architectures import of_folder
from osparse.masked_lm.lean_imports import lean_loading
from osparse.masked_lm.quiet import quiet_transformers
from osparse.masked_lm.weight_files import weight_files

UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RuntimeError,
    SafetensorError,
    StrictDataclassError,
)
"""What transformers raises for a file that is not what its name says."""


def load_masked_lm(folder: Path, attention: str) -> Any:
    """The fp32 masked-LM of a folder; ``attention``: eager, which every libtorch has, or sdpa.

    Raises :class:`ModelError` for an architecture that is not known, a checkpoint without a masked-LM head, weights
    that are not whole, which transformers would make up at random, and a .bin that holds anything but tensors.
    """
    from transformers import AutoModelForMaskedLM

    weights = weight_files(folder)
    of_folder(folder)
    try:
        with (
            quiet_transformers(),
            lean_loading(),
        ):  # it prints a table of what is missing; _require_whole names it in an error
            mlm, loading = AutoModelForMaskedLM.from_pretrained(
                folder,
                attn_implementation=attention,
                local_files_only=True,
                trust_remote_code=False,
                weights_only=True,
                output_loading_info=True,
            )
    except (*UNREADABLE, pickle.UnpicklingError, EOFError) as problem:
        raise _unreadable(weights[0], problem) from None
    _require_whole(weights[0], loading)
    mlm.config.return_dict = True  # calls here read last_hidden_state by name, whatever the folder's calls were
    return mlm.float()


def _unreadable(path: Path, problem: Exception) -> ModelError:
    first = str(problem).strip().partition("\n")[0]
    return ModelError(
        f"{path} cannot be read as a masked-LM ({type(problem).__name__}: {first}); fetch the folder "
        "again, or save it as safetensors with transformers"
    )


def _require_whole(path: Path, loading: dict[str, Any]) -> None:
    missing = sorted(loading["missing_keys"])
    mismatched = sorted(str(key) for key, *_ in loading["mismatched_keys"])
    if mismatched:
        raise ModelError(f"{path}: {len(mismatched)} tensors do not have config.json's size, like {mismatched[0]}")
    if missing and all(_in_head(name) for name in missing):
        raise ModelError(
            f"{path} has no masked-LM head ({len(missing)} tensors like {missing[0]} are missing): it is a plain "
            "encoder, whose head would be random; package a checkpoint saved from a ...ForMaskedLM class"
        )
    if missing:
        raise ModelError(
            f"{path} lacks {len(missing)} tensors of config.json, like {missing[0]}; fetch the folder again"
        )


def _in_head(name: str) -> bool:
    heads = ("cls.", "lm_head", "vocab_", "head.", "decoder", "generator_")
    return name.startswith(heads)
