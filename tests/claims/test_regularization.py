"""docs/regularization.md: it is what the saved results say, and what it concludes is in them."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import numpy as np

from tests.conftest import each

DOCS = Path(__file__).parent.parent.parent / "docs"
PAGE = (DOCS / "regularization.md").read_text(encoding="utf-8")
STUDY = runpy.run_path(str(DOCS / "_generate" / "regularization_study.py"))
SAVED = json.loads((DOCS / "_generate" / "regularization.json").read_text(encoding="utf-8"))


def of(name, figure):
    return np.array([result[figure] for result in SAVED["results"] if result["setting"] == name])


def test_the_page_is_what_the_results_say():
    assert STUDY["page"](SAVED["results"], SAVED["sweep"], SAVED["settings"]) == PAGE


def test_every_strength_is_inside_what_was_tried():
    assert "At an edge" not in PAGE
    for family in STUDY["FAMILIES"]:
        tried = [setting.name for setting in STUDY["of_family"](family)]
        if len(tried) > 1:
            assert {result["setting"] for result in SAVED["sweep"]} >= set(tried)
            assert STUDY["best"](family, SAVED["sweep"]).name in tried[1:-1]


def test_every_setting_has_five_seeds():
    studied = {result["setting"] for result in SAVED["results"]}
    assert len(studied) == len(STUDY["FAMILIES"]) + 1  # dropout 0.5, too
    assert all(sorted(of(name, "seed")) == list(range(5)) for name in studied)


def test_the_network_overfits_and_a_regularizer_keeps_the_curves_together():
    assert (of("none", "train_error") == 0).all() and (of("none", "test_error") > 0.02).all()

    def gap(name):
        return np.mean([curves["validation_loss"][-1] - curves["loss"][-1] for curves in of(name, "curves")])

    for curves in of("none", "curves"):
        assert curves["validation_loss"][-1] > 1.2 * min(curves["validation_loss"])
    assert gap("shifts up to 2 pixels") < 0.5 * gap("none")


@each("figure, what", [("test_error", "test error"), ("test_loss", "test loss")])
def test_lower_and_higher_are_beyond_two_standard_errors(figure, what):
    none, said = of("none", figure), 0
    for sign, verb in ((-1, "lower"), (1, "higher")):
        for names in re.findall(rf"The {what} is {verb} with (.*?)\.(?: |$)", PAGE):
            for name in names.split("; "):
                values = of(name, figure)
                error = np.sqrt(values.var(ddof=1) / 5 + none.var(ddof=1) / 5)
                assert sign * (values.mean() - none.mean()) > 2 * error, name
                said += 1
    assert said > 5


def test_a_seed_that_stands_apart_is_named():
    results = [
        {"setting": "none", "test_loss": loss, "test_error": 0.1, "train_error": 0.0} for loss in (1.0, 1.1, 1.2, 1.3)
    ]
    assert STUDY["apart"](results) == ""
    results[0] |= {"test_loss": 2.0, "test_error": 0.2, "train_error": 0.05}
    assert STUDY["apart"](results) == (
        "One seed of none stands apart, with a test error of 20.00% and of 5.00% on the training samples; the other 3 "
        "have 10.00% and a test loss of 1.200 on average."
    )
