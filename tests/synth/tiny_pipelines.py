"""Pipelines of a few thousand random weights, saved as real ones are."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    CMStochasticIterativeScheduler,
    ConsistencyModelPipeline,
    DDIMScheduler,
    DiTPipeline,
    DiTTransformer2DModel,
    EulerDiscreteScheduler,
    StableDiffusionPipeline,
    UNet2DConditionModel,
    UNet2DModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

LETTERS = [*ascii_lowercase, *(letter + "</w>" for letter in ascii_lowercase)]
VOCABULARY = {token: number for number, token in enumerate([*LETTERS, "<|startoftext|>", "<|endoftext|>"])}


def save_text_pipeline(folder: Path, **scheduler: Any) -> Path:
    """A StableDiffusionPipeline for 16x16 images whose tokens are letters; with `scheduler` settings."""
    torch.manual_seed(0)
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scribble = folder.parent / f"{folder.name}-vocabulary"
    scribble.mkdir(parents=True)
    (scribble / "vocab.json").write_text(json.dumps(VOCABULARY))
    (scribble / "merges.txt").write_text("#version: 0.2\n")
    config = CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=24,
        bos_token_id=VOCABULARY["<|startoftext|>"],
        eos_token_id=VOCABULARY["<|endoftext|>"],
    )
    network = UNet2DConditionModel(
        sample_size=8,
        layers_per_block=1,
        block_out_channels=(32, 32),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=32,
        attention_head_dim=8,
        norm_num_groups=8,
    )
    with torch.no_grad():  # a random network hardly heeds what it is told; this one does
        for name, weight in network.named_parameters():
            if ".attn2.to_v." in name or ".attn2.to_out." in name:
                weight.mul_(8.0)
    StableDiffusionPipeline(
        vae=_vae(),
        text_encoder=CLIPTextModel(config),
        tokenizer=CLIPTokenizer(str(scribble / "vocab.json"), str(scribble / "merges.txt"), model_max_length=24),
        unet=network,
        scheduler=EulerDiscreteScheduler(**{**settings, **scheduler}),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    return folder


def save_class_pipeline(folder: Path, n_labels: int = 1000, **names: str) -> Path:
    """A DiTPipeline for 16x16 images; `names` is its id2label, as _0="cat, house cat"."""
    torch.manual_seed(0)
    network = DiTTransformer2DModel(
        num_attention_heads=2,
        attention_head_dim=8,
        in_channels=4,
        out_channels=8,
        num_layers=1,
        sample_size=8,
        patch_size=2,
        num_embeds_ada_norm=n_labels,
        norm_num_groups=8,
    )
    DiTPipeline(transformer=network, vae=_vae(), scheduler=DDIMScheduler()).save_pretrained(folder)
    edit_json(folder / "model_index.json", id2label={key.strip("_"): value for key, value in names.items()})
    return folder


def save_consistency_pipeline(folder: Path) -> Path:
    """A ConsistencyModelPipeline for 16x16 images of 3 classes: no autoencoder, no guidance, noise at each step."""
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=16,
        layers_per_block=1,
        block_out_channels=(16, 16),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        num_class_embeds=3,
        norm_num_groups=8,
    )
    ConsistencyModelPipeline(unet=network, scheduler=CMStochasticIterativeScheduler()).save_pretrained(folder)
    return folder


def edit_json(path: Path, **fields: Any) -> None:
    """Put other values into a file of settings."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(16, 16),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        sample_size=16,
    )
