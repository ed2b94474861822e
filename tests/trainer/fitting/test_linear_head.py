"""The linear head: what it is chosen by, and what is folded into it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from judging import make_sample, silent

from trainer.data.types import GroupedSample
from trainer.fitting.linear_head import HeadFitter

VIEWS, WIDTH, BRANCH = 3, 12, 6
SOURCES = 3
EACH = 30


def members() -> list[GroupedSample]:
    rows = []
    for target in (0, 1):
        for source in range(SOURCES):
            for number in range(EACH):
                name = f"{target}-{source}-{number}"
                facts = {"generator": f"g{source}"} if target else {"source": f"s{source}"}
                rows.append(GroupedSample(make_sample(name, target, **facts), name, "train"))
    return rows


def embedded(samples: list[GroupedSample], mark_of_full: float = 2.0) -> list[np.ndarray]:
    """In the backbone's columns each source has its own mark; in the branch's each label has one, but fainter.

    `mark_of_full` is that of the one fully augmented view.
    """
    noise = np.random.default_rng(0)
    marks = np.random.default_rng(1).normal(size=(2 * SOURCES, WIDTH)) * 4
    found = []
    for grouped in samples:
        sample = grouped.sample
        kind = sample.target * SOURCES + int((sample.generator or sample.source)[1:])
        backbone = noise.normal(size=(VIEWS, WIDTH)) + marks[kind]
        branch = noise.normal(size=(VIEWS, BRANCH))
        branch[:, 0] += np.array([2.0, 2.0, mark_of_full]) * sample.target
        found.append(np.concatenate([backbone, branch], axis=1).astype(np.float32))
    return found


def test_the_branch_weighs_what_left_out_sources_say_it_is_worth() -> None:
    samples = members()
    views = embedded(samples)
    head = HeadFitter(views, samples, BRANCH, 0).choose(silent)
    assert head.by_sources
    assert head.choice.startswith("branch share 1,")
    assert np.abs(head.weight[:WIDTH]).max() < 1e-9
    assert head.auc is not None
    assert head.auc > 0.8
    logits = np.stack(views)[:, 0] @ head.weight + head.bias
    targets = np.array([grouped.sample.target for grouped in samples])
    assert ((logits > 0) == targets).mean() > 0.8


def test_without_sources_to_leave_out_groups_are_left_out_and_both_weigh_the_same() -> None:
    samples = [member for member in members() if (member.sample.generator or member.sample.source)[1:] == "0"]
    head = HeadFitter(embedded(samples), samples, BRANCH, 0).choose(silent)
    assert not head.by_sources
    assert "branch share 0.75," in head.choice


def test_a_fine_tuning_gets_the_views_that_did_best_by_however_little() -> None:
    samples = members()
    clear = HeadFitter(embedded(samples), samples, BRANCH, 0).choose(silent)
    assert "served views" in clear.choice
    assert not clear.is_gentle  # all views together are a little better, as three looks are
    misleading = HeadFitter(embedded(samples, mark_of_full=-6.0), samples, BRANCH, 0).choose(silent)
    assert misleading.is_gentle


def test_a_head_fitted_again_on_a_part_knows_nothing_of_the_rest() -> None:
    samples = members()
    views = embedded(samples)
    fitter = HeadFitter(views, samples, BRANCH, 0)
    head = fitter.choose(silent)
    whole, _ = fitter.refit(samples)
    assert np.corrcoef(whole, head.weight)[0, 1] > 0.99
    kept = [member for member in samples if member.sample.generator != "g0"]
    weight, _ = HeadFitter(views, samples, BRANCH, 0).refit(kept)
    assert not np.allclose(fitter.refit(kept)[0], whole)
    # the projection is fitted on all views, without labels; the head is not
    relabelled = [replace(m, sample=replace(m.sample, label="real")) if m not in kept else m for m in samples]
    again, _ = HeadFitter(views, relabelled, BRANCH, 0).refit(kept)
    np.testing.assert_allclose(again, weight)


def test_a_reconstruction_is_learnt_from_only_where_its_photograph_is() -> None:
    samples = members()
    views = embedded(samples)
    photo = next(member for member in samples if member.sample.source == "s0")
    made = replace(photo, sample=replace(photo.sample, label="ai_generated", generator="reconstruction"))
    row = samples.index(photo)
    kept = [member for member in samples if member is not photo]
    near, far = (HeadFitter(views, samples, BRANCH, 0, pairs=[(made, views[row] + shift)]) for shift in (0.0, 1e-9))
    alone = HeadFitter(views, samples, BRANCH, 0)
    # the projection sees the pair, without its label; the head without the photograph does not
    np.testing.assert_allclose(near.refit(kept)[0], far.refit(kept)[0], atol=1e-6)
    assert (
        np.abs(near.refit(kept)[0] - alone.refit(kept)[0]).max()
        < np.abs(near.refit(samples)[0] - alone.refit(samples)[0]).max()
    )
    assert near.choose(silent).by_sources
