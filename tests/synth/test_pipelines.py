"""Pipelines that others trained, as generators: what is the same for a seed, what differs, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from server.config import SynthConfig
from server.errors import ConfigError, DataError, MissingExtraError
from server.synth.generator import Generator, Stopped
from server.synth.hardware import Hardware
from server.synth.opening import Wanted, look_at, open_generator
from tests.synth.tiny_pipelines import edit_json, save_class_pipeline, save_consistency_pipeline, save_text_pipeline

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # diffusers, numpy 2

WANTED = Wanted(("cat", "dog", "ox"), (12, 12, 3))
CPU = Hardware.here("cpu")
CLASSES, SEEDS = np.array([0, 1, 2, 0, 1]), np.array([5, 2**62 + 1, 7, 8, 9])
CLASS_SETTINGS = SynthConfig(steps=2, labels={"ox": 345})


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return {
        "text": save_text_pipeline(root / "text", timestep_spacing="trailing"),
        "class": save_class_pipeline(root / "class", _3="Cat, house cat", _151="dog"),
        "consistency": save_consistency_pipeline(root / "consistency"),
    }


@pytest.fixture
def mine(saved: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the text-to-image pipeline that a test may break."""
    return Path(shutil.copytree(saved["text"], tmp_path / "mine"))


def opened(folder: Path, synth: SynthConfig | None = None, wanted: Wanted = WANTED) -> Generator:
    return open_generator(folder, synth or SynthConfig(), lambda: wanted, CPU)


SETTINGS = {
    "text": SynthConfig(steps=2),
    "class": CLASS_SETTINGS,
    "consistency": SynthConfig(steps=2, labels={"cat": 0, "dog": 1, "ox": 2}),
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_a_sample_is_its_class_and_seed_whatever_batch_it_is_in(kind: str, saved: dict[str, Path]) -> None:
    generator = opened(saved[kind], SETTINGS[kind])
    images = generator.sample(CLASSES, SEEDS)  # batches of 4 and 1
    assert (images.shape, images.dtype) == ((5, 12, 12, 3), np.uint8)
    assert images.std(axis=(1, 2, 3)).min() > 1
    np.testing.assert_array_equal(opened(saved[kind], SETTINGS[kind]).sample(CLASSES, SEEDS), images)
    backwards = generator.sample(CLASSES[::-1], SEEDS[::-1])[::-1]
    assert (np.abs(backwards.astype(int) - images) <= 2).mean() >= 0.999
    other_class, other_seed = generator.sample((CLASSES + 1) % 3, SEEDS), generator.sample(CLASSES, SEEDS + 10)
    for others in (other_class, other_seed):
        assert (others != images).any(axis=(1, 2, 3)).all()
    assert generator.sample(CLASSES[:0], SEEDS[:0]).shape == (0, 12, 12, 3)
    with pytest.raises(DataError, match=r"classes run to 3; .* was given 3"):
        generator.sample(np.array([3]), np.array([0]))


def test_noise_of_each_step_is_the_samples_own(saved: dict[str, Path], tmp_path: Path) -> None:
    """DiTPipeline hands its scheduler none, and this one draws some at each step."""
    folder = Path(shutil.copytree(saved["class"], tmp_path / "noisy"))
    edit_json(folder / "model_index.json", scheduler=["diffusers", "DDPMScheduler"])
    generator = opened(folder, CLASS_SETTINGS)
    images = generator.sample(CLASSES, SEEDS)
    np.testing.assert_array_equal(opened(folder, CLASS_SETTINGS).sample(CLASSES, SEEDS), images)
    alone = generator.sample(CLASSES[2:3], SEEDS[2:3])[0]
    assert (np.abs(alone.astype(int) - images[2]) <= 2).mean() >= 0.999


def test_images_are_brought_to_the_data(saved: dict[str, Path]) -> None:
    grey = opened(saved["text"], SETTINGS["text"], Wanted(("cat",), (8, 10, 1)))
    assert grey.sample(np.array([0]), np.array([3])).shape == (1, 8, 10, 1)


@pytest.mark.parametrize("kind", ["text", "class"])
def test_sampling_ends_between_two_steps(kind: str, saved: dict[str, Path]) -> None:
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 4  # the batch, its steps 1, 2 and 3

    synth = SynthConfig(steps=5, labels=CLASS_SETTINGS.labels if kind == "class" else {})
    generator = opened(saved[kind], synth)
    with pytest.raises(Stopped):
        generator.sample(CLASSES[:2], SEEDS[:2], stop)
    assert asked == 4
    assert len(generator.sample(CLASSES[:2], SEEDS[:2])) == 2  # and goes on afterwards


def test_running_out_of_memory_gives_the_same_images_in_smaller_batches(
    saved: dict[str, Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    whole = opened(saved["text"], SETTINGS["text"]).sample(CLASSES, SEEDS)
    from diffusers import AutoencoderKL

    decode = AutoencoderKL.decode

    def small(self: AutoencoderKL, latents: torch.Tensor, *rest: object, **more: object) -> object:
        if len(latents) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 1.00 GiB")
        return decode(self, latents, *rest, **more)

    monkeypatch.setattr(AutoencoderKL, "decode", small)
    halved = opened(saved["text"], SETTINGS["text"]).sample(CLASSES, SEEDS)
    assert (np.abs(halved.astype(int) - whole) <= 2).mean() >= 0.999
    assert [record.message for record in caplog.records if "batch" in record.message] == [
        "a batch of 4 samples does not fit into memory: going on with batches of 2"
    ]


def test_the_digest_names_weights_prompts_and_settings(mine: Path) -> None:
    synth = SynthConfig(steps=2)
    first = opened(mine, synth).digest
    shutil.copytree(mine, mine.with_name("moved"))
    assert opened(mine.with_name("moved"), synth).digest == first
    others = [
        opened(mine, SynthConfig(steps=3)),
        opened(mine, SynthConfig(steps=2, guidance=2.0)),
        opened(mine, SynthConfig(steps=2, guidance=2.0, negative_prompt="blurred")),
        opened(mine, SynthConfig(steps=2, template="one {class}")),
        opened(mine, SynthConfig(steps=2, prompts={"dog": "a puppy"})),
        opened(mine, synth, Wanted(WANTED.class_names, (12, 12, 1))),
    ]
    edit_weights(mine / "unet" / "diffusion_pytorch_model.safetensors", "conv_in.bias", 0.5)
    assert len({first, opened(mine, synth).digest, *(other.digest for other in others)}) == 8


def edit_weights(path: Path, name: str, value: float | None) -> None:
    """Put `value` into one weight, or take the weight away."""
    from safetensors.torch import load_file, save_file

    weights = load_file(path)
    if value is None:
        del weights[name]
    else:
        weights[name].view(-1)[0] = value
    save_file(weights, path, metadata={"format": "pt"})


def test_each_kind_is_asked_as_it_wants(saved: dict[str, Path], tmp_path: Path) -> None:
    turbo = look_at(saved["text"], SynthConfig(), WANTED)
    assert turbo.settings == {"num_inference_steps": 4, "guidance_scale": 0.0}
    plain = look_at(save_text_pipeline(tmp_path / "plain", timestep_spacing="leading"), SynthConfig(), WANTED)
    assert plain.settings == {"num_inference_steps": 50, "guidance_scale": 7.5}
    dit = look_at(saved["class"], SynthConfig(labels={"ox": 345}), WANTED)
    assert dit.settings == {"num_inference_steps": 50, "guidance_scale": 4.0}
    assert dit.conditions.options == ((3,), (151,), (345,))
    few = save_class_pipeline(tmp_path / "few", n_labels=3, _0="cat", _1="dog", _2="ox")
    assert look_at(few, SynthConfig(), WANTED).settings["guidance_scale"] == 1.0
    with pytest.raises(ConfigError, match="this one has 3 labels; set synth.guidance = 1"):
        look_at(few, SynthConfig(guidance=2.0), WANTED)
    with pytest.raises(ConfigError, match=r"synth\.guidance: ConsistencyModelPipeline takes no guidance"):
        look_at(saved["consistency"], SynthConfig(guidance=2.0), WANTED)
    with pytest.raises(ConfigError, match=r"synth\.solver: StableDiffusionPipeline brings its own scheduler; leave it"):
        look_at(saved["text"], SynthConfig(solver="ddim"), WANTED)
    with pytest.raises(ConfigError, match=r"synth\.negative_prompt: has no effect with guidance 0"):
        look_at(saved["text"], SynthConfig(negative_prompt="blurred"), WANTED)
    with pytest.raises(ConfigError, match=r"synth\.labels: StableDiffusionPipeline is asked with a text; leave it"):
        look_at(saved["text"], CLASS_SETTINGS, WANTED)
    with pytest.raises(ConfigError, match=r"synth\.template: DiTPipeline is asked with a class; leave it"):
        look_at(saved["class"], SynthConfig(template="{class}"), WANTED)


def test_a_pipeline_that_changes_images_serves_with_its_parts(saved: dict[str, Path], mine: Path) -> None:
    edit_json(mine / "model_index.json", _class_name="StableDiffusionImg2ImgPipeline")
    images = opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS)
    np.testing.assert_array_equal(images, opened(saved["text"], SETTINGS["text"]).sample(CLASSES, SEEDS))


def test_a_safety_checker_is_left_out(saved: dict[str, Path], mine: Path) -> None:
    checker = ["stable_diffusion", "StableDiffusionSafetyChecker"]
    edit_json(mine / "model_index.json", safety_checker=checker, requires_safety_checker=True)
    images = opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS)
    np.testing.assert_array_equal(images, opened(saved["text"], SETTINGS["text"]).sample(CLASSES, SEEDS))


def test_half_precision_files_serve_where_there_are_no_others(mine: Path) -> None:
    whole = opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS)
    from diffusers import UNet2DConditionModel

    UNet2DConditionModel.from_pretrained(mine / "unet").half().save_pretrained(mine / "unet", variant="fp16")
    assert look_at(mine, SynthConfig(), WANTED).folder.digest == look_at(mine, SynthConfig(), WANTED).folder.digest
    np.testing.assert_array_equal(opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS), whole)  # the plain ones
    (mine / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    rounded = opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS)
    assert 0 < np.abs(rounded.astype(int) - whole).mean() < 4


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("unet/diffusion_pytorch_model.bin", "x", r"diffusion_pytorch_model\.bin is not safetensors: .* remove it"),
        ("model.ckpt", "x", r"model\.ckpt is not safetensors"),
        ("unet/attention.py", "import os", r"attention\.py is program code, which is never loaded"),
        ("unet/config.json", '{"auto_map": {}}', r"unet/config\.json asks for program code of its own \(auto_map\)"),
        ("model_index.json", "{", r"model_index\.json is not JSON"),
        ("model_index.json", '{"_class_name": ["mine", "Mine"]}', r"_class_name is \['mine', 'Mine'\], expected"),
        ("model_index.json", '{"_class_name": "S", "unet": ["mine", "Net"]}', "unet is Net of mine, expected a class"),
        ("model_index.json", '{"_class_name": "S", "../u": ["diffusers", "Net"]}', r"\.\./u is Net of diffusers"),
        ("model_index.json", '{"_class_name": "S", "no": ["diffusers", "Net"]}', r"no is missing or empty: .* a Net"),
        ("model_index.json", '{"_class_name": "NoSuchPipeline"}', r"diffusers [\d.]+ has no part NoSuchPipeline"),
        (
            "model_index.json",
            '{"_class_name": "S", "vae": ["transformers", "pipeline"]}',
            "transformers .* has no part pipe",
        ),
        ("model_index.json", '{"_class_name": "DDPMPipeline"}', "DDPMPipeline makes no images from a text or a class"),
        (
            "unet/diffusion_pytorch_model.safetensors.index.json",
            '{"weight_map": {"a": "diffusion_pytorch_model-00001-of-00002.safetensors"}}',
            r"00001-of-00002\.safetensors is missing: .*index\.json names it",
        ),
        ("unet/diffusion_pytorch_model.safetensors", "half", r"model\.safetensors is no whole safetensors file"),
        (
            "scheduler/scheduler_config.json",
            '{"_class_name": "DPMSolverSDEScheduler"}',
            "DPMSolverSDEScheduler draws noise that no seed names; choose another",
        ),
    ],
)
def test_a_broken_or_unsafe_folder_is_refused_before_it_is_loaded(mine: Path, file: str, text: str, says: str) -> None:
    (mine / file).write_text(text)
    with pytest.raises(DataError, match=says):
        opened(mine)


def test_what_is_no_pipeline_is_said(mine: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing is neither a checkpoint \(\.safetensors\) nor a pipeline's folder"):
        opened(tmp_path / "nothing")
    (mine / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(DataError, match="unet has no weights in safetensors"):
        opened(mine)
    (mine / "model_index.json").unlink()
    with pytest.raises(DataError, match=r"model_index\.json is missing: a pipeline's folder is what"):
        opened(mine)
    (mine / "generator.safetensors").touch()
    with pytest.raises(DataError, match=r"is a folder of train-generator; name the file in it, generator\.safetensors"):
        opened(mine)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("conv_in.bias", float("nan"), "unet: conv_in.bias holds numbers that are not finite"),
        ("conv_in.bias", None, r"unet: its weights lack conv_in\.bias \(1 in all\)"),
    ],
)
def test_weights_that_are_broken_are_named(mine: Path, name: str, value: float | None, says: str) -> None:
    edit_weights(mine / "unet" / "diffusion_pytorch_model.safetensors", name, value)
    with pytest.raises(DataError, match=says):
        opened(mine).sample(CLASSES, SEEDS)


def test_images_that_overflow_are_refused(mine: Path) -> None:
    edit_weights(mine / "vae" / "diffusion_pytorch_model.safetensors", "decoder.conv_out.bias", 3e38)
    edit_weights(mine / "vae" / "diffusion_pytorch_model.safetensors", "post_quant_conv.bias", 3e38)
    with pytest.raises(DataError, match=r"images of .*mine hold numbers that are not finite"):
        opened(mine, SETTINGS["text"]).sample(CLASSES, SEEDS)


def test_a_package_that_is_not_there_is_named_with_the_line_that_installs_it(
    mine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"needs the package 'transformers'.*pip install 'fimi\[text2image\]'"):
        opened(mine)


def test_what_is_known_of_a_pipeline_is_kept(mine: Path) -> None:
    (mine / "README.md").write_text("---\nlicense: other\nlicense_name: sai-nc-community\n---\n# Text\n")
    about = look_at(mine, SynthConfig(prompts={"dog": ("a dog", "a puppy")}), WANTED)
    assert about.card == {
        "pipeline": str(mine),
        "class": "StableDiffusionPipeline",
        "weights_digest": about.folder.digest,
        "revision": None,
        "licence": "other, sai-nc-community",
        "trained_on": None,
        "sampling": {"num_inference_steps": 4, "guidance_scale": 0.0},
        "prompt": [["a photo of a cat"], ["a dog", "a puppy"], ["a photo of a ox"]],
    }
    assert (
        "a StableDiffusionPipeline that others trained (licence: other, sai-nc-community), not on" in about.describe()
    )
