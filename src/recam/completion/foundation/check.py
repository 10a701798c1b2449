"""A downloaded checkpoint looked at before an hour is spent on it: what is missing, damaged or of
another model shows in seconds, and its VAE codes one small picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recam.completion.foundation.parts import Parts, find_parts
from recam.completion.foundation.published import MODELS, Published
from recam.completion.foundation.size import on_meta
from recam.completion.foundation.text import read_tokenizer
from recam.configs import CompleteConfig
from recam.runtime.checkpoints import load_whole, read_json_file, require_diffusers
from recam.types import RecamError

SIDE = 64
"""Pixels of the picture that the VAE codes."""


def check_checkpoint(config: CompleteConfig) -> tuple[list[str], int]:
    """Lines on each part of a checkpoint that is on this machine, and how many parts are wrong.

    Reads the headers of the transformer's and the text encoder's weights, and all of the VAE's.
    """
    assert config.weights is not None
    published = MODELS[config.model]
    try:
        parts = find_parts(config.weights, config.foundation.base, published)
    except RecamError as error:
        return [f"WRONG  {error}"], 1
    lines, wrong = [], 0
    checks: list[tuple[str, Callable[[], str]]] = [
        ("transformer", lambda: _transformer(parts, published)),
        ("vae", lambda: _vae(parts, published)),
        ("text encoder", lambda: _text_encoder(parts)),
        ("tokenizer", lambda: _tokenizer(parts)),
        ("scheduler", lambda: _scheduler(parts)),
    ]
    for name, check in checks:
        try:
            lines.append(f"ok     {name}: {check()}")
        except RecamError as error:
            lines.append(f"WRONG  {name}: {error}")
            wrong += 1
    return lines, wrong


def _transformer(parts: Parts, published: Published) -> str:
    wanted = {n: tuple(p.shape) for n, p in _names(on_meta(published.transformer, parts.config))}
    files = [parts.file] if parts.file else weight_files(parts.transformer)
    found = stored_shapes(files)
    if parts.file and set(found) != set(wanted):
        return f"{parts.file}: {len(found)} tensors under other names, renamed when it is loaded"
    compare(wanted, found, parts.file or parts.transformer)
    return f"{len(found)} tensors in {len(files)} files, names and shapes as its config says"


def _vae(parts: Parts, published: Published) -> str:
    """Loaded, and a smooth picture coded and decoded."""
    folder = parts.rest / "vae"
    compare(
        {n: tuple(p.shape) for n, p in _names(on_meta(published.vae, parts.vae_config))},
        stored_shapes(weight_files(folder)), folder,
    )  # fmt: skip
    vae = load_whole(getattr(require_diffusers(), published.vae), folder, torch.float32)
    ramp = torch.linspace(-0.8, 0.8, SIDE)
    picture = torch.stack(
        [ramp.expand(SIDE, SIDE), ramp[:, None].expand(SIDE, SIDE), -ramp * ramp[:, None]]
    )
    with torch.no_grad():
        z = vae.encode(picture[None, :, None]).latent_dist.mode()
        told = (z, torch.zeros(1)) if getattr(vae.config, "timestep_conditioning", False) else (z,)
        back = vae.decode(*told).sample[0, :, 0]
    if not bool(torch.isfinite(back).all()):
        raise RecamError(f"{folder}: decodes a picture to numbers that are not finite")
    error = float((back - picture).square().mean())
    psnr = 10 * torch.log10(torch.tensor(4 / max(error, 1e-12)))
    return f"a smooth picture comes back with {float(psnr):.0f} dB (a trained one: above 25)"


def _text_encoder(parts: Parts) -> str:
    import transformers

    folder = parts.rest / "text_encoder"
    if not folder.is_dir():
        raise RecamError(f"{parts.rest}: has no text_encoder; give a whole pipeline's by --base")
    config = read_json_file(folder / "config.json")
    name = str((config.get("architectures") or ["T5EncoderModel"])[0])
    kind: Any = getattr(transformers, name, None)
    if kind is None:
        raise RecamError(f"{folder}: unknown architecture {name}")
    with torch.device("meta"):
        model = kind(transformers.AutoConfig.from_pretrained(folder))
    wanted = {n: tuple(p.shape) for n, p in _names(model) if not n.endswith("embed_tokens.weight")}
    files = weight_files(folder)
    found = stored_shapes(files)
    compare(wanted, {n: s for n, s in found.items() if n in wanted}, folder)
    return f"{len(found)} tensors in {len(files)} files"


def _tokenizer(parts: Parts) -> str:
    folder = parts.rest / "tokenizer"
    if not folder.is_dir():
        raise RecamError(f"{parts.rest}: has no tokenizer; give a whole pipeline's by --base")
    tokenizer = read_tokenizer(folder)
    ids = tokenizer("a bear walks").input_ids
    return (
        f"{type(tokenizer).__name__}, {len(tokenizer)} pieces; 'a bear walks' is {len(ids)} of them"
    )


def _scheduler(parts: Parts) -> str:
    path = parts.rest / "scheduler" / "scheduler_config.json"
    if not path.is_file():
        return "none; the published model's is taken"
    return str(read_json_file(path).get("_class_name"))


def _names(model: Any) -> list[tuple[str, Any]]:
    return list(model.state_dict().items())


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a part. Raises RecamError where there are none, or an index names
    others that are missing."""
    for index in sorted(folder.glob("*.safetensors.index.json")):
        names = set(read_json_file(index).get("weight_map", {}).values())
        missing = sorted(name for name in names if not (folder / str(name)).is_file())
        if missing:
            raise RecamError(f"{folder}: {len(missing)} files missing, such as {missing[0]}")
        return [folder / str(name) for name in sorted(names)]
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise RecamError(f"{folder}: has no weights (*.safetensors)")
    return files


def stored_shapes(files: list[Path]) -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors, from the files' headers. Raises RecamError where one is damaged."""
    from safetensors import safe_open

    shapes = {}
    for file in files:
        try:
            with safe_open(file, "pt") as opened:
                for name in opened.keys():  # noqa: SIM118
                    shapes[name] = tuple(opened.get_slice(name).get_shape())
        except Exception as error:  # cut off, or no such file at all
            reason = " ".join(str(error).split())[:200]
            raise RecamError(f"{file}: damaged or not whole: {reason}") from error
    return shapes


def compare(
    wanted: dict[str, tuple[int, ...]], found: dict[str, tuple[int, ...]], where: Path
) -> None:
    """Raise RecamError where names or shapes differ."""
    missing, more = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    if missing or more:
        what = f"{len(missing)} tensors missing" if missing else f"{len(more)} too many"
        raise RecamError(f"{where}: {what}, such as {(missing or more)[0]}")
    for name, shape in wanted.items():
        if found[name] != shape:
            raise RecamError(
                f"{where}: {name} is {list(found[name])}, but its config says {list(shape)}"
            )
