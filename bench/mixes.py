"""What a change of the linear head or of the low-level branch is worth on sources that were held back, in minutes.

    python bench/mixes.py FOLDER [--mixes 50] [--each 80] [--pairs FOLDER] [--work FOLDER]

FOLDER is that of bench/unseen.py. Every picture is embedded once (kept in --work); then a head is fitted for each of
many mixes of sources, and asked about the source and the generator that were held back: as they are, saved as JPEG 60,
and halved and saved as JPEG 75. Rows: the head as the product chooses it, with one choice made by hand, and with pairs
(`--pairs`: an autoencoder's folder, as in `training.pairs`). The thresholds are those of left-out sources, without
calibration. Whole trainings are measured by bench/unseen.py.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from unseen import Mix, mixes_of, samples_of, sources_in

from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.snapshot import Sample
from trainer.data.storage import Storage, StorageHistories
from trainer.data.types import Floats, GroupedSample
from trainer.fitting.linear_head import BRANCH_SHARES, VIEWS, HeadFitter, embed_views
from trainer.models.autoencoder import load_autoencoder
from trainer.models.backbones import branch_width, load_backbone
from trainer.models.embedding_cache import Embedding, EmbeddingCache
from trainer.models.embeddings import Embedder
from trainer.models.reconstructions import Reconstructions
from utils.config.training import Augmentation as AugmentationSettings
from utils.config.training import Model
from utils.metadata import LABELS

COUNT_OF_VIEWS = 6
CACHE_BYTES = 2 << 30
BUDGET = 0.05  # of false alarms on the worst left-out source
JPEG_60, JPEG_75 = (Storage("jpeg", quality, full_chroma=False) for quality in (60, 75))
Change = Callable[[Image.Image], Image.Image]


def halved(image: Image.Image) -> Image.Image:
    factor = max(224, min(image.size) // 2) / min(image.size)
    size = (round(image.width * factor), round(image.height * factor))
    return JPEG_75.saved(image.resize(size, Image.Resampling.BICUBIC))


CONDITIONS: dict[str, Change] = {
    "plain": lambda image: image,
    "JPEG 60": JPEG_60.saved,
    "halved, JPEG 75": halved,
}


def report(done: int, total: int, message: str) -> None:
    print(f"  {message}", end="\r", flush=True)


class Pictures:
    """All pictures of FOLDER, embedded: augmented views to fit on, and one view for each condition to ask."""

    def __init__(self, folder: Path, each: int, work: Path, autoencoder: str | None) -> None:
        samples = samples_of(folder, sources_in(folder), each)
        self.members = [GroupedSample(sample, sample.sha256, "train") for sample in samples]
        backbone, images = load_backbone(Model(), on_gpu=False, seed=0), ImageFolder(folder)
        storages = [images.storage(member.sample) for member in self.members]
        histories = StorageHistories.of(storages, [member.sample.target for member in self.members])
        augmentation = Augmentation(AugmentationSettings(), backbone.preprocessing, histories)
        cache = EmbeddingCache(work / "embeddings.sqlite", CACHE_BYTES)
        embedder = Embedder(
            backbone.model, backbone.architecture, backbone.preprocessing, images, cache, torch.device("cpu")
        )
        self.branch = branch_width(backbone.model)
        self.views = embed_views(embedder, augmentation, self.members, COUNT_OF_VIEWS, 0, report)
        self.pairs: list[tuple[GroupedSample, Embedding]] = []
        if autoencoder:
            made = Reconstructions(load_autoencoder(autoencoder), images, 0)
            # of every source: none is the photograph of too many others to be reconstructed
            members = [made.relabelled(member) for member in self.members if member.sample.target == 0]
            found = embed_views(embedder, augmentation, members, COUNT_OF_VIEWS, 0, report, made)
            self.pairs = list(zip(members, found, strict=True))
        self.may_stay = [augmentation.may_stay(storage) for storage in storages]
        self.asked = {}
        for name, change in CONDITIONS.items():

            def view(sample: Sample, image: Image.Image, change: Change = change) -> list[Image.Image]:
                return [backbone.preprocessing.view(change(image.convert("RGB")))]

            found = embedder.embed([member.sample for member in self.members], f"bench: {name}", view, report)
            self.asked[name] = np.stack([found[member.sample.sha256][0] for member in self.members])

    def rows(self, names: Sequence[str]) -> list[int]:
        return [
            row for row, member in enumerate(self.members) if (member.sample.generator or member.sample.source) in names
        ]


@dataclass(frozen=True)
class ByHand:
    """What is not left to the product."""

    share: float | None = None
    views: str | None = None
    pairs: bool = False


class Trained:
    """A head for one mix, chosen as the product does but for what is chosen by hand."""

    def __init__(self, pictures: Pictures, mix: Mix, choice: ByHand) -> None:
        self._pictures, self._mix = pictures, mix
        self._rows = pictures.rows([name for names in mix.trained.values() for name in names])
        members = [pictures.members[row] for row in self._rows]
        names = {member.sample.sha256 for member in members}
        fitter = HeadFitter(
            [pictures.views[row] for row in self._rows],
            members,
            pictures.branch,
            0,
            [pictures.may_stay[row] for row in self._rows],
            [pair for pair in pictures.pairs if pair[0].sample.sha256 in names] if choice.pairs else (),
        )
        head = fitter.choose(lambda done, total, message: None, share=choice.share, views=choice.views)
        self.choice, self._fitter, self._weight, self._bias = head.choice, fitter, head.weight, head.bias

    def aucs(self) -> list[float]:
        rows = self._pictures.rows(list(self._mix.held_back.values()))
        targets = [self._pictures.members[row].sample.target for row in rows]
        return [
            float(roc_auc_score(targets, asked[rows] @ self._weight + self._bias))
            for asked in self._pictures.asked.values()
        ]

    def rates(self) -> tuple[float, float]:
        """Held-back photos called generated, and held-back generated pictures found."""
        threshold = max(np.quantile(self._left_out(name), 1 - BUDGET) for name in self._mix.trained["real"])
        shares = [
            float((self._pictures.asked["plain"][rows] @ self._weight + self._bias > threshold).mean())
            for rows in (self._pictures.rows([self._mix.held_back[label]]) for label in LABELS)
        ]
        return shares[LABELS.index("real")], shares[LABELS.index("ai_generated")]

    def _left_out(self, name: str) -> Floats:
        left = set(self._pictures.rows([name]))
        weight, bias = self._fitter.refit([self._pictures.members[row] for row in self._rows if row not in left])
        logits: Floats = self._pictures.asked["plain"][sorted(left)] @ weight + bias
        return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--mixes", type=int, default=50)
    parser.add_argument("--each", type=int, default=80, help="pictures of a source or generator, at most")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "exposr-mixes")
    parser.add_argument("--pairs", metavar="FOLDER", help="of an autoencoder")
    given = parser.parse_args()
    pictures = Pictures(given.folder, given.each, given.work, given.pairs)
    mixes = mixes_of(given.folder, given.mixes)
    rows = {"as chosen": ByHand()}
    if given.pairs:
        rows["with pairs"] = ByHand(pairs=True)
    rows |= {f"{views} views": ByHand(views=views) for views in VIEWS}
    rows |= {f"branch {share:g}": ByHand(share=share) for share in BRANCH_SHARES}
    print(f"{len(pictures.members)} pictures, {len(mixes)} mixes")
    print(f"| head | {' | '.join(CONDITIONS)} | worst tenth | false alarms | above 10 % | found |\n|{'---|' * 8}")
    for name, choice in rows.items():
        trained = [Trained(pictures, mix, choice) for mix in mixes]
        aucs = np.array([one.aucs() for one in trained])
        alarms, found = np.array([one.rates() for one in trained]).T
        means = " | ".join(f"{mean:.3f}" for mean in aucs.mean(axis=0))
        worst, often = np.quantile(aucs[:, 0], 0.1), (alarms > 0.1).mean()
        print(
            f"| {name} | {means} | {worst:.2f} | {alarms.mean():.3f} | {often:.2f} | {found.mean():.2f} |",
            flush=True,
        )
        if choice in (ByHand(), ByHand(pairs=True)):
            print(Counter(one.choice for one in trained).most_common(8))


if __name__ == "__main__":
    main()
