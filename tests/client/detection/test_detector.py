"""Loading by the card, predicting, and swapping versions under load."""

from __future__ import annotations

import io
import json
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from versions import ARGUMENTS, PREPROCESSING, changed_card, make_files, write_version

from exposr_client import Detector, ImageError, LoadError, NoModelError


@pytest.fixture(scope="module")
def v1() -> dict[str, bytes]:
    return make_files("v1", bias=2.0)


@pytest.fixture(scope="module")
def v2() -> dict[str, bytes]:
    return make_files("v2", bias=-2.0)


def picture(seed: int = 0, size: tuple[int, int] = (300, 200), form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, form)
    return stream.getvalue()


def test_nothing_loaded_is_a_clear_error() -> None:
    detector = Detector()
    assert detector.version is None
    with pytest.raises(NoModelError):
        detector.predict([picture()])


def test_paths_bytes_and_pil_images_give_the_model_s_own_probability(tmp_path: Path, v1: dict[str, bytes]) -> None:
    weights = write_version(tmp_path / "v1", v1)
    detector = Detector(weights)
    data = picture()
    file = tmp_path / "picture.png"
    file.write_bytes(data)
    found = detector.predict([file, str(file), data, Image.open(io.BytesIO(data))])
    network = timm.create_model("test_vit", pretrained=False, **ARGUMENTS).eval()
    network.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    with torch.inference_mode():
        logit = float(network(PREPROCESSING.to_tensor(Image.open(io.BytesIO(data))).unsqueeze(0)))
    assert [prediction.version for prediction in found] == ["v1"] * 4
    for prediction in found:
        assert prediction.probability == pytest.approx(1 / (1 + math.exp(-logit / 1.5)), abs=1e-5)


@pytest.mark.parametrize(("bias", "verdict"), [(9.0, "ai_generated"), (-9.0, "real")])
def test_the_verdict_follows_the_card_s_thresholds(tmp_path: Path, bias: float, verdict: str) -> None:
    files = make_files("v1", bias=bias)
    detector = Detector(write_version(tmp_path / "v1", files).parent)
    assert detector.predict([picture()])[0].verdict == verdict
    wide = changed_card(files, "operating_points", value={"threshold_ai": 1.0, "threshold_real": 0.0})
    assert Detector(write_version(tmp_path / "wide", wide)).predict([picture()])[0].verdict == "uncertain"


def test_a_batch_keeps_order_and_equals_single_predictions(tmp_path: Path, v1: dict[str, bytes]) -> None:
    detector = Detector(write_version(tmp_path / "v1", v1), batch_size=4)
    pictures = [picture(seed, (180 + seed, 190)) for seed in range(10)]
    alone = [detector.predict([data])[0].probability for data in pictures]
    assert [prediction.probability for prediction in detector.predict(pictures)] == pytest.approx(alone, abs=1e-5)
    assert detector.predict([]) == []


def test_what_it_says_is_counted_and_nothing_else(tmp_path: Path, v1: dict[str, bytes]) -> None:
    detector = Detector(write_version(tmp_path / "v1", v1))
    assert detector.observations.pending() is None
    found = detector.predict([picture(seed) for seed in range(5)])
    batch = detector.observations.pending()
    assert batch is not None
    [row] = json.loads(batch.body)["histograms"]
    assert set(row) == {"day", "model", "version", "scores", "verdicts", "unfamiliar", "novelty"}
    assert sum(row["scores"]) == 5
    assert row["scores"][min(int(found[0].probability * 20), 19)] > 0
    assert row["verdicts"][found[0].verdict] > 0


def test_a_path_instead_of_a_list_is_a_type_error(tmp_path: Path, v1: dict[str, bytes]) -> None:
    with pytest.raises(TypeError):
        Detector(write_version(tmp_path / "v1", v1)).predict("picture.png")


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture", picture()[:2000], picture(form="PPM"), picture(size=(10_000, 6_000), form="JPEG")],
    ids=["empty", "text", "truncated", "of another format", "too large"],
)
def test_what_is_no_usable_picture_is_an_image_error(tmp_path: Path, v1: dict[str, bytes], data: bytes) -> None:
    with pytest.raises(ImageError):
        Detector(write_version(tmp_path / "v1", v1)).predict([data])


BROKEN = {
    "unknown architecture": (("architecture", "name"), "no_such_model"),
    "architecture from a hub": (("architecture", "name"), "hf-hub:someone/something"),
    "architecture that downloads": (("architecture", "kwargs"), {"num_classes": 1, "pretrained": True}),
    "other library": (("architecture", "library"), "pickle"),
    "other shape": (("architecture", "kwargs"), {"num_classes": 2}),
    "other weights": (("files", "weights.pt", "sha256"), "0" * 64),
    "golden logit": (("preprocessing", "golden", 0, "logit"), 99.0),
    "golden logit not a number": (("preprocessing", "golden", 0, "logit"), float("nan")),
    "golden tensor": (("preprocessing", "golden", 3, "tensor_values"), {"17": 3.0}),
    "golden formula": (("preprocessing", "golden", 0, "input", "formula"), "another"),
    "no golden": (("preprocessing", "golden"), []),
    "other view": (("preprocessing", "short_side_max"), 200),
    "other step": (("preprocessing", "steps"), ["sharpen: a lot"]),
    "temperature": (("calibration", "temperature"), 0),
    "thresholds": (("operating_points", "threshold_ai"), 0.1),
}


@pytest.mark.parametrize(("path", "value"), BROKEN.values(), ids=BROKEN.keys())
def test_a_version_that_is_not_what_its_card_promises_is_refused_and_the_old_one_stays(
    tmp_path: Path, v1: dict[str, bytes], v2: dict[str, bytes], path: tuple[str | int, ...], value: object
) -> None:
    detector = Detector(write_version(tmp_path / "v1", v1))
    with pytest.raises(LoadError):
        detector.load(write_version(tmp_path / "v2", changed_card(v2, *path, value=value)))
    assert detector.version == "v1"
    assert detector.predict([picture()])[0].version == "v1"


@pytest.mark.parametrize("missing", ["weights.pt", "model.json"])
def test_a_missing_file_is_a_load_error(tmp_path: Path, v1: dict[str, bytes], missing: str) -> None:
    write_version(tmp_path / "v1", v1)
    (tmp_path / "v1" / missing).unlink()
    with pytest.raises(LoadError):
        Detector(tmp_path / "v1" / "weights.pt")


def test_reloads_never_mix_versions_and_never_fail_a_request(
    tmp_path: Path, v1: dict[str, bytes], v2: dict[str, bytes]
) -> None:
    paths = [write_version(tmp_path / "v1", v1), write_version(tmp_path / "v2", v2)]
    data = picture()
    expected = {path.parent.name: Detector(path).predict([data])[0].probability for path in paths}
    detector = Detector(paths[0], batch_size=1)
    done = threading.Event()

    def reload() -> None:
        for turn in range(6):
            detector.load(paths[(turn + 1) % 2])
        done.set()

    def ask() -> int:
        asked = 0
        while not done.is_set() or not asked:
            found = detector.predict([data, data, data])
            assert len({prediction.version for prediction in found}) == 1
            for prediction in found:
                assert prediction.probability == pytest.approx(expected[prediction.version], abs=1e-4)
            asked += 1
        return asked

    with ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        pool.submit(reload).result()
        assert all(future.result() for future in asking)


def noise(low: int, high: int, seed: int = 5) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(low, high, (160, 160, 3), dtype=np.uint8))


def test_what_is_unlike_anything_measured_gets_no_verdict_and_the_reason_is_said(tmp_path: Path) -> None:
    detector = Detector(write_version(tmp_path / "v1", make_files("v1", bias=9.0, with_novelty=True)))
    usual, odd = detector.predict([noise(0, 60), Image.new("RGB", (160, 160), (255, 0, 0))])
    assert (usual.verdict, usual.reason) == ("ai_generated", None)
    assert (odd.verdict, odd.reason) == ("uncertain", "unfamiliar")
    assert odd.probability > 0.7  # the probability is told as it is, and the verdict is withheld


def test_uncertain_near_the_threshold_has_its_own_reason(tmp_path: Path, v1: dict[str, bytes]) -> None:
    files = changed_card(v1, "operating_points", "threshold_ai", value=1.0)
    files = changed_card(files, "operating_points", "threshold_real", value=0.0)
    (found,) = Detector(write_version(tmp_path / "v1", files)).predict([picture()])
    assert (found.verdict, found.reason) == ("uncertain", "near_threshold")


def test_a_novelty_that_the_golden_vectors_contradict_or_do_not_prove_is_refused(tmp_path: Path) -> None:
    files = make_files("v1", with_novelty=True)
    for number, (key, value) in enumerate((("outside", 0.001), ("formula", "another"))):
        with pytest.raises(LoadError, match="novelty"):
            Detector(write_version(tmp_path / f"a{number}", changed_card(files, "novelty", key, value=value)))
    golden = [{**case, "novelty": None} for case in json.loads(files["model.json"])["preprocessing"]["golden"]]
    with pytest.raises(LoadError, match="does not prove"):
        Detector(write_version(tmp_path / "b", changed_card(files, "preprocessing", "golden", value=golden)))
