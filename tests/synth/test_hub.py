"""Fetching from the hub, with a hub that is a folder."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

import pytest

from server.errors import ConfigError, DataError
from server.synth.pipelines.folder import read_folder
from server.synth.pipelines.hub import fetch

COMMIT = "5" * 40


class FolderHub:
    """Stands in for huggingface_hub.snapshot_download: of one repository, fnmatch patterns, a folder a commit."""

    def __init__(self, repository: Path, cache: Path) -> None:
        self.repository, self.cache = repository, cache
        self.revisions: list[str | None] = []

    def __call__(
        self,
        repo_id: str,
        *,
        revision: str | None = None,
        allow_patterns: list[str],
        ignore_patterns: list[str] | None = None,
    ) -> str:
        self.revisions.append(revision)
        if repo_id != "someone/tiny":
            raise OSError(f"404 Client Error: {repo_id} is not found")
        home = self.cache / "snapshots" / COMMIT
        for file in (file for file in self.repository.rglob("*") if file.is_file()):
            name = file.relative_to(self.repository).as_posix()
            ignored = any(fnmatch(name, pattern) for pattern in ignore_patterns or ())
            if any(fnmatch(name, pattern) for pattern in allow_patterns) and not ignored:
                (home / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, home / name)
        return str(home)


def repository(root: Path) -> Path:
    """Of a pipeline beside which everything stands that people leave in one; the decoder in half precision alone."""
    from safetensors.numpy import save_file

    parts = '{"_class_name": "P", "net": ["diffusers", "N"], "vae": ["diffusers", "V"], "x": [null, null]}'
    texts = {"model_index.json": parts, "README.md": "---\nlicense: mit\n---\n", "net/config.json": "{}"}
    texts |= {"vae/config.json": "{}", "net/code.py": "1", "whole.ckpt": "1", "net/diffusion_pytorch_model.bin": "1"}
    for name, text in texts.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    import numpy as np

    for name in ("net/diffusion_pytorch_model", "net/diffusion_pytorch_model.fp16", "vae/diffusion_pytorch_model.fp16"):
        save_file({"w": np.ones(2, np.float32)}, root / f"{name}.safetensors")
    return root


def test_only_what_is_loaded_is_fetched_and_of_one_commit(tmp_path: Path) -> None:
    hub = FolderHub(repository(tmp_path / "theirs"), tmp_path / "cache")
    folder, commit = fetch("hub:someone/tiny@main", hub)
    assert commit == COMMIT
    assert sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()) == [
        "README.md",
        "model_index.json",
        "net/config.json",
        "net/diffusion_pytorch_model.safetensors",
        "vae/config.json",
        "vae/diffusion_pytorch_model.fp16.safetensors",
    ]
    assert hub.revisions == ["main", COMMIT, COMMIT]
    looked_at = read_folder(folder)
    assert {part.name: part.variant for part in looked_at.parts} == {"net": None, "vae": "fp16"}
    assert looked_at.licence == "mit"
    fetch("hub:someone/tiny@main", hub)
    assert len(hub.revisions) == 3  # a name means one commit as long as the process lives


def test_what_cannot_be_fetched_is_a_sentence(tmp_path: Path) -> None:
    hub = FolderHub(repository(tmp_path / "theirs"), tmp_path / "cache")
    with pytest.raises(ConfigError, match=r'synth\.generator: "hub:tiny" is no hub:OWNER/NAME or hub:OWNER/NAME@REV'):
        fetch("hub:tiny", hub)
    with pytest.raises(DataError, match=r"hub:no/one cannot be fetched: 404 .*; look at name and network, or name a"):
        fetch("hub:no/one", hub)
    (tmp_path / "theirs" / "model_index.json").unlink()
    with pytest.raises(DataError, match=r"it has no model_index\.json, so it is no pipeline of diffusers"):
        fetch("hub:someone/tiny", hub)
