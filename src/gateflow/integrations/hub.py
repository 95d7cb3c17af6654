"""Runs on the Hugging Face Hub: what `gateflow.save` would copy, with a card that says what they are.

A run is more than a network: its tokenizer or labels, what was asked of it, how its training went. So a repository
holds a run's files and nothing else, and whoever gets it has a run, which `gateflow.load` and the command line read. No
pickle and no code is in it. (`PyTorchModelHubMixin` knows weights and the arguments of one class.)
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from huggingface_hub import HfApi, snapshot_download

from gateflow.files import write
from gateflow.tasks import TASKS, description
from gateflow.tasks.trained import Trained, copy_into, load

__all__ = ["card", "from_pretrained", "push_to_hub"]

# Figures of a record that say when it was written, and not how good the model is.
_NOT_QUALITY = {"kind", "step", "epoch", "seconds"}


def push_to_hub(
    trained: Trained | str | Path,
    repo_id: str,
    *,
    private: bool | None = None,
    token: str | None = None,
    revision: str | None = None,
    message: str = "A run of gateflow",
    endpoint: str | None = None,
) -> str:
    """Put a run into a repository of the Hub, without the data that it learnt from, and with a model card.

    Args:
        trained: what `gateflow.load` gave, or the folder of a run.
        repo_id: such as ``"me/wikitext-lstm"``; made if there is none.
        private, token, revision, endpoint: as huggingface_hub takes them.
        message: of the commit.

    Returns:
        Address of the commit.

    Raises:
        RunError: there is no run, or it has no weights yet.

    Example:
        >>> push_to_hub("runs/mine", "me/mine")  # doctest: +SKIP
        'https://huggingface.co/me/mine/commit/…'
    """
    trained = trained if isinstance(trained, Trained) else load(trained)
    api = HfApi(endpoint=endpoint, token=token)
    with TemporaryDirectory() as folder:
        copy_into(trained.run, Path(folder), data=False)
        write(Path(folder) / "README.md", card(trained, repo_id))
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        return api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, revision=revision)


def from_pretrained(
    repo_id: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    trust_code: bool = False,
) -> Trained:
    """The model of a run out of a repository of the Hub, or out of a folder.

    Args:
        repo_id: such as ``"me/wikitext-lstm"``, or the path of a run.
        revision, token, endpoint: as huggingface_hub takes them.
        trust_code: whether it may import a cell of its own that is installed here; none is fetched.

    Raises:
        RunError: it is no run, or a file of it is missing or damaged.

    Example:
        >>> from_pretrained("me/mine").model  # doctest: +SKIP
        LanguageModel(...)
    """
    if Path(repo_id).is_dir():
        return load(repo_id, trust_code=trust_code)
    # Files of runs, and no other: whatever else somebody has put beside them is not fetched.
    wanted = ["config.toml", "model.safetensors", "metrics.jsonl", "SHA256SUMS", *_own_files()]
    folder = snapshot_download(str(repo_id), revision=revision, token=token, endpoint=endpoint, allow_patterns=wanted)
    return load(folder, trust_code=trust_code)


def card(trained: Trained, repo_id: str = "me/mine") -> str:
    """The model card of a run: what it is, how good, how it was trained, and how one uses it.

    Args:
        trained: what `gateflow.load` gave.
        repo_id: for the example.
    """
    quality = {name: value for name, value in trained.figures.items() if name not in _NOT_QUALITY}
    options = {
        f"{section}.{name}": value
        for section in trained.config.sections()
        for name, value in getattr(trained.config, section)
        # Where data lie on somebody's machine tells others nothing.
        if value is not None and not isinstance(value, Path)
    }
    weights = sum(weight.numel() for weight in trained.model.parameters())
    return _CARD.format(
        task=trained.task,
        name=repo_id.rpartition("/")[2],
        weights=f"{weights:,}",
        quality=_table("validation", quality) if quality else "Not validated.",
        options=_table("option", options),
        repo=repo_id,
    )


def _own_files() -> set[str]:
    """What the set-ups of all tasks make beside data, which lie in folders of their own."""
    runs = (description(name).part("run") for name in TASKS)
    return {name for run in runs for name in run.own_files if "/" not in name}


def _table(title: str, rows: Mapping[str, Any]) -> str:
    def told(value: Any) -> str:
        # A table ends at a bar; a user's column may be called so.
        return f"{value:.4g}" if isinstance(value, float) else str(value).replace("|", "\\|")

    return "\n".join([f"| {title} | |", "|---|---|", *(f"| {name} | {told(value)} |" for name, value in rows.items())])


_CARD = """---
library_name: gateflow
tags:
- gateflow
- recurrent
- {task}
---

# {name}

A recurrent network for the task `{task}` of [gateflow](https://github.com/gateflow/gateflow), {weights} parameters.

```python
import gateflow
from gateflow.integrations.hub import from_pretrained

trained = from_pretrained("{repo}")
trained.model, trained.figures
```

Its files are a run of gateflow's command line, and `trained.run.path` is its folder. They hold no pickle and no code.

## How good it is

{quality}

## How it was trained

{options}
"""
