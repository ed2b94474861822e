"""A version from the model in memory to its files: published whole, loaded by a fresh process, verified again."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import timm
import torch
from judging import silent
from pictures import small_set

from trainer.audit.audit import run_audit
from trainer.benchmarks.learnt import learnt_from
from trainer.data.augmentation import Augmentation
from trainer.data.images import ImageFolder
from trainer.data.preprocessing import Preprocessing
from trainer.data.snapshot import Snapshot, write_snapshot
from trainer.data.types import PARTS, Candidate, GroupedSample, PartsOfSplit
from trainer.evaluation.calibration import calibrate
from trainer.evaluation.evaluate import evaluate
from trainer.gate.gate import Champion, decide
from trainer.models.comparison import Comparison, Row
from trainer.models.scorer import ModelScorer
from trainer.publishing.card import CARD_KEYS, Assessment, make_card, make_entry
from trainer.publishing.fresh_process import FreshProcess
from trainer.publishing.load_check import problems_of
from trainer.publishing.publish import publish, write_files
from trainer.publishing.registry import Registry
from trainer.publishing.report import render_report, worth_in_words
from trainer.publishing.verify import VerifyReport, verify_version
from trainer.stats.predictions import CachedScorer
from utils.config_loader import Config, load_config
from utils.errors import StopRunError
from utils.files import sha256_of_file

pytestmark = pytest.mark.timeout(300)  # each publishing starts a process that imports torch

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GUIDE_FIELDS = {
    "model", "version", "timestamp", "dataset_size", "train_size", "val_size", "epochs", "val_acc", "val_auc",
    "val_loss", "precision", "recall", "f1_score", "notes",
}  # fmt: skip


COMPARED = Comparison(
    chosen="a_net",
    why="AUC 0.812 on left-out sources",
    pictures=900,
    sources=5,
    compared_on=240,
    key="",
    hub_answered=True,
    made="2026-02-03T12:00:00Z",
    rows=(
        Row(
            "a_net",
            "mit",
            0.812,
            weights="hub a",
            parameters=5_300_000,
            input_size=224,
            seconds=71.4,
            embedded=240,
            with_branch=True,
        ),
        Row("b_net", "dinov3-license", why="gated: accept its licence", missing=True),
    ),
)


@dataclass
class Desk:
    """Forty pictures, a small network with random weights, and what was found out about it."""

    config: Config
    candidate: Candidate
    snapshot: Snapshot
    parts: PartsOfSplit
    registry: Registry

    def judge(self, champion: Champion | None = None) -> Assessment:
        images = ImageFolder(self.config.storage.local_path)
        view = self.candidate.preprocessing
        scorer = CachedScorer(ModelScorer(self.candidate.model, self.candidate.architecture, view, images))
        calibration = calibrate(scorer, self.parts, self.config.evaluation)
        evaluation = evaluate(scorer, self.parts, calibration, self.config.evaluation, silent)
        members = [member for part in PARTS for member in self.parts[part]]
        augmentation = Augmentation(self.config.training.augmentation, view)
        audit = run_audit(members, scorer, augmentation, images.folder, self.config.audit, silent)
        return Assessment(calibration, evaluation, audit, decide(evaluation, audit, champion, self.config.gate))

    def publish(self, assessment: Assessment) -> dict:
        model = (self.registry, "vit", self.candidate, assessment, self.snapshot, self.parts)
        with FreshProcess() as fresh:
            return publish(*model, {}, self.config, NOW, fresh, silent)

    def champion(self) -> Champion:
        folder = self.registry.version_folder("vit", "v1")
        card = json.loads((folder / "model.json").read_text())
        images = ImageFolder(self.config.storage.local_path)
        return Champion("vit/v1", ModelScorer.from_version(folder, images), card["calibration"]["temperature"])

    def verify(self, version: str = "v1") -> VerifyReport:
        return verify_version(self.config, "vit", version)


def make_desk(root: Path) -> Desk:
    torch.set_num_threads(1)
    config = load_config(
        environ={
            "EXPOSR_STORAGE__LOCAL_PATH": str(root / "data"),
            "EXPOSR_STORAGE__MODELS_PATH": str(root / "models"),
            "EXPOSR_EVALUATION__BOOTSTRAP_SAMPLES": "100",
            "EXPOSR_GATE__ENABLED": "false",  # a network that was not trained would be kept out, and rightly
        }
    )
    samples = [
        replace(sample, source=("pexels", "unsplash")[index // 2 % 2] if sample.label == "real" else "civitai")
        for index, sample in enumerate(small_set(root / "data", 20))
    ]
    parts = {part: [] for part in PARTS}
    for index, sample in enumerate(samples):
        part = PARTS[index // 2 % 4]
        parts[part].append(GroupedSample(sample, f"g{index}", part))
    torch.manual_seed(0)
    arguments = {"num_classes": 1, "img_size": 64}
    model = timm.create_model("test_vit", pretrained=False, **arguments).eval()
    torch.nn.init.normal_(model.head.weight, std=0.5)
    architecture = {"library": "timm", "name": "test_vit", "kwargs": arguments}
    candidate = Candidate(
        model,
        architecture,
        Preprocessing(64, 96, (0.5,) * 3, (0.5,) * 3),
        "frozen",
        3,
        [{"loss": 0.5}],
        {"source": "random", "note": "random weights"},
        [],
        backbones=COMPARED.to_card(),
    )
    snapshot = write_snapshot(root / "snapshot.jsonl", samples)
    return Desk(config, candidate, snapshot, parts, Registry(root / "models"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Desk, Assessment, dict]:
    desk = make_desk(tmp_path_factory.mktemp("published"))
    assessment = desk.judge()
    return desk, assessment, desk.publish(assessment)


def test_the_entry_has_the_guides_fields_and_what_was_measured(published: tuple[Desk, Assessment, dict]) -> None:
    desk, assessment, entry = published
    assert entry.keys() >= GUIDE_FIELDS | {"sha256", "size_bytes", "gate"}
    assert (entry["model"], entry["version"], entry["timestamp"]) == ("vit", "v1", "2026-03-01T12:00:00Z")
    assert (entry["dataset_size"], entry["train_size"], entry["val_size"]) == (40, 10, 10)
    assert entry["val_acc"] == assessment.evaluation.validation["accuracy"].value
    assert "random weights" in entry["notes"]
    assert desk.registry.entries() == [entry]


def test_the_published_files_are_what_they_say(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, entry = published
    folder = desk.registry.version_folder("vit", "v1")
    card = json.loads((folder / "model.json").read_text())
    assert tuple(card) == CARD_KEYS
    for name, facts in card["files"].items():
        assert sha256_of_file(folder / name) == facts["sha256"] == entry["files"][name]["sha256"]
    assert set(card["files"]) == {"weights.pt", "report.html", "snapshot.jsonl", "split.jsonl"}
    assert set(entry["files"]) == {*card["files"], "model.json"}
    state = torch.load(folder / "weights.pt", weights_only=True)
    model = timm.create_model(card["architecture"]["name"], pretrained=False, **card["architecture"]["kwargs"])
    model.load_state_dict(state, strict=True)
    assert type(state) is dict


def test_the_files_say_which_pictures_the_version_has_learnt_from(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, _ = published
    members = [member for part in PARTS for member in desk.parts[part]]
    found = learnt_from(desk.registry.version_folder("vit", "v1"), members)
    assert {sha256: known.part for sha256, known in found.items()} == {
        member.sample.sha256: member.part for member in members if member.part != "test"
    }


def test_the_audits_numbers_are_at_their_agreed_places(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, _ = published
    audit = json.loads((desk.registry.version_folder("vit", "v1") / "model.json").read_text())["audit"]
    for value in (
        audit["metadata_probe"]["auc_before"],
        audit["metadata_probe"]["auc_after"],
        audit["content_probe"]["auc"],
        audit["control_probe"]["auc"],
        audit["permuted"]["auc"],
    ):
        assert value is None or 0 <= value <= 1


def test_every_number_can_be_computed_again(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, _ = published
    report = desk.verify()
    assert report.ok
    by_name = {check.name: check for check in report.checks}
    left_out = ("unseen_", "gate.measured.unseen")
    assert {check.finding for name, check in by_name.items() if not name.startswith(left_out)} == {"same"}
    assert "views that are not published" in by_name["unseen_auc.value"].words
    names = {check.name for check in report.checks}
    assert {"val_acc", "val_auc", "val_loss", "f1_score", "test_auc", "weights.pt", "gate.verdict"} <= names
    assert "0 different" in report.render()


def test_weights_that_do_not_load_never_become_visible(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    broken = replace(desk.candidate, architecture={**desk.candidate.architecture, "name": "test_vit2"})
    with pytest.raises(StopRunError, match="not published"):
        replace(desk, candidate=broken).publish(desk.judge())
    assert desk.registry.entries() == []
    assert [path.name for path in (desk.config.storage.models_path / "vit").iterdir()] == [".last_version"]
    assert desk.registry.reserve_version("vit") == "v2"


def test_a_disk_that_cannot_be_written_is_said_and_leaves_nothing(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, _ = published
    staged = desk.registry.stage("vit", "v7")
    (staged / "weights.pt").mkdir()  # stands for any error of the disk
    with pytest.raises(StopRunError, match="nothing was published"):
        write_files(staged, desk.candidate, desk.snapshot, desk.parts, {}, {})
    desk.registry.discard(staged)
    assert not staged.exists()
    assert desk.registry.sweep() == []


def test_a_second_version_is_verified_against_its_champion_and_deleted_pictures_are_named(tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    first = desk.judge()
    desk.publish(first)
    second = desk.judge(desk.champion())
    assert second.decision.measured["champion"] == "vit/v1"
    assert not any("would have been rejected: AUC" in reason for reason in second.decision.reasons)
    desk.publish(second)
    assert desk.verify("v2").ok

    gone = desk.parts["test"][0].sample
    (desk.config.storage.local_path / gone.path).unlink()
    report = desk.verify("v2")
    assert report.ok
    cannot = {check.name: check.words for check in report.checks if check.finding == "cannot"}
    assert "1 of 10 test pictures are gone" in cannot["test_auc"]
    assert "val_auc" not in cannot

    registry_file = desk.config.storage.models_path / "registry.json"
    entries = json.loads(registry_file.read_text())
    entries[0]["val_acc"] += 0.1
    registry_file.write_text(json.dumps(entries))
    report = desk.verify("v1")
    assert not report.ok
    assert [check.name for check in report.checks if check.finding == "different"] == ["val_acc"]

    weights = desk.registry.version_folder("vit", "v2") / "weights.pt"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    report = desk.verify("v2")
    assert [check.name for check in report.checks if check.finding == "different"] == [
        "weights.pt",
        "loads and answers",
    ]


def test_the_load_check_finds_what_is_wrong(published: tuple[Desk, Assessment, dict], tmp_path: Path) -> None:
    desk, _, _ = published
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in desk.registry.version_folder("vit", "v1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    assert problems_of(folder) == []
    card = json.loads((folder / "model.json").read_text())
    for damage, words in (
        (lambda card: card["preprocessing"]["golden"][0].update(logit=9.0), "logit"),
        (lambda card: card["preprocessing"].update(mean=[0.1, 0.1, 0.1]), "tensor differs"),
        (lambda card: card["preprocessing"].update(steps=["something else"]), "does not know"),
        (lambda card: card["files"].update(extra={"sha256": "", "size_bytes": 0}), "extra is missing"),
        (lambda card: card["files"].pop("weights.pt"), "not named"),
        (lambda card: card.pop("preprocessing"), "cannot be read"),
    ):
        damaged = json.loads(json.dumps(card))
        damage(damaged)
        (folder / "model.json").write_text(json.dumps(damaged))
        assert any(words in problem for problem in problems_of(folder)), words
    with FreshProcess() as fresh, pytest.raises(StopRunError, match="cannot be read"):
        fresh.check_loads(folder)


def test_a_request_to_stop_does_not_make_files_look_bad(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, _ = published
    program = textwrap.dedent(f"""
        import os, pathlib, signal, time
        from trainer.publishing.fresh_process import FreshProcess
        signal.signal(signal.SIGTERM, lambda *_: None)
        with FreshProcess() as fresh:
            os.killpg(0, signal.SIGTERM)
            time.sleep(0.5)
            fresh.check_loads(pathlib.Path({str(desk.registry.version_folder("vit", "v1"))!r}))
    """)
    subprocess.run([sys.executable, "-P", "-c", program], start_new_session=True, check=True)


def test_the_report_stands_alone_and_says_what_it_is_worth(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, entry = published
    folder = desk.registry.version_folder("vit", "v1")
    page = (folder / "report.html").read_text(encoding="utf-8")
    card = json.loads((folder / "model.json").read_text())
    assert page.count("<svg") >= 3
    assert not re.search(r"""(src|href)=["'](?!#)""", page)
    assert "@import" not in page
    headings = ("Published without a check", "On what it never saw", "On more of the same", "<table")
    assert sorted(headings, key=page.index) == list(headings)
    assert "not known" in page and "real/&lt;source&gt;/" in page
    assert "of 10 test pictures" not in page
    assert "Of 10 test pictures" in page
    assert render_report(entry, card) == render_report(entry, card)
    for heading in ("Robustness", "Shortcut audit", "By generator and source", "Verdicts as shipped"):
        assert heading in page
    assert "a_net was chosen on 2026-02-03: AUC 0.812 on left-out sources" in page
    table = page[page.index("<h2>Backbones") : page.index("<h2>Plots")]
    for cell in ("a_net (chosen)", "mit", "0.812", "5.3 million", "224 px", "71 s for 240 pictures, with the branch"):
        assert f"<td>{cell}</td>" in table
    assert "<td>dinov3-license</td><td>gated: accept its licence</td>" in table


def test_the_reports_words_follow_the_interval() -> None:
    def words(low: float, n: int) -> str:
        auc = {"value": 0.8, "low": low, "high": 0.95, "n": n, "groups": n}
        test = {"auc": auc, "accuracy": {"value": 0.75}, "n": n, "real": n // 2, "ai_generated": n // 2}
        return " ".join(worth_in_words({"evaluation": {"test": test}}))

    assert "a coin could have done the same" in words(0.45, 20)
    assert "So few pictures" in words(0.6, 20)
    assert "The true figure lies between 0.70" in words(0.7, 500)


def test_names_in_the_data_cannot_break_the_report(published: tuple[Desk, Assessment, dict]) -> None:
    desk, _, entry = published
    card = json.loads((desk.registry.version_folder("vit", "v1") / "model.json").read_text())
    slices = card["evaluation"]["per_generator"]
    slices["<script>alert(1)</script> $\\frac & 写真"] = next(iter(slices.values()))
    card["data"]["training"]["backbones"] = {"why": "model.architecture leaves no choice"}
    page = render_report(entry, card)
    assert "Not compared: model.architecture leaves no choice." in page
    assert "<script>" not in page


def test_make_card_and_entry_are_plain_json(published: tuple[Desk, Assessment, dict]) -> None:
    desk, assessment, _ = published
    from trainer.publishing.card import Identity

    identity = Identity("vit", "v9", NOW)
    card = make_card(identity, desk.candidate, assessment, desk.snapshot, desk.parts, {}, desk.config, {})
    json.dumps(card, allow_nan=False)
    json.dumps(make_entry(identity, desk.candidate, assessment, desk.snapshot, desk.parts), allow_nan=False)
