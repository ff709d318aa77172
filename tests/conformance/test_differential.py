"""Documents made wrong at random get the same verdict here as from Tekton's own code.

They are the same each time, so that a red run is the change's own; MLOPS_TEST_SEED=N takes others, MLOPS_TEST_SEED=random
new ones, whose number is printed, and MLOPS_TEST_STEPS=N so many of them. What we refuse before the first step and
Tekton admits stands in `EARLIER`, each with what becomes of it on a cluster; what only Tekton looks at, in `UNSEEN`.
"""

from __future__ import annotations

import json
import os
import random
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from tests.conformance import cases, examples, local, mutations
from tests.conformance.oracle import Oracle

SEED = 20
STEPS = 3000  # documents
EARLIER: dict[str, str] = {
    # fails when its time comes
    r"nothing is given for": "parameters and workspaces that nobody gives",
    r"lacks ": "an object without a key",
    r"must be of type": "a value of another type",
    r"declares no (such )?result": "a result that is never written",
    r"no such result|there is no result": "a result that is never written",
    r"there is no (ConfigMap|Secret|Task|Pipeline|StepAction|claim|volume)": "a reference to nothing",
    r"has no (key|item)": "a key that is not there",
    r"which no file holds|holds no logins|is no (URL|host) that": "credentials that cannot be laid into a step",
    r"there is no (step|workspace|pipeline task|task|such parameter|such value|such key)": "a reference to nothing",
    r"no such step": "a reference to nothing",
    r"(the task|the pipeline) has no workspace": "a workspace that is not declared",
    r"refers to nothing|is no reference( to a task)?|is no result of a task|made of results": "text that nobody replaces",
    r"must be a (list|map) of (strings|quantities)": "nothing among texts, which Go takes for an empty one",
    r"cannot be used": "a reference where nobody replaces it",
    r"is no array|must be an array|is no object|must be a string(?!,)": "an array or object where there is none",
    r"is an? (array|object), and a string": "an array or object in a text",
    r"is no absolute path|leads out|something else is mounted": "a place that no pod can mount",
    r"is no field that a container can be told": "a field that no pod has",
    r"cannot be the name of": "a name that no pod can carry",
    r"control character|NUL": "a text that no program can be handed",
    r"is there twice": "two of one name: no pod, or the last one counts",
    r"is missing|is empty|needs (one|either)": "what no pod can do without",
    r"must be a number between": "a port that there is not",
    r"has no such item": "an index that is not there",
    r"there is none": "a pipeline without tasks has nothing to do",
    r"must be a duration, .*not '-|must not be negative": "less than nothing",
    r"wait for each other|refer to each other": "a circle, seen when the run begins",
    # one machine lacks it, or the table says so
    r"not carried out here": "what one machine lacks",
    r"cannot be a key|limits\.[\w./-]+: (there is no such field|must be a quantity)|must be a quantity, .*not -": "what no pod can have",
    r"is of type \w+, and the result": "a result of another type",
    r"is no task with a matrix|only a finally task|first length of a parameter": "text that nobody replaces",
    r"must be a map(?! of)": "nothing where a map should be, which Go takes for an empty one",
}

# what Tekton refuses and we do not: inside fields that are without effect here nothing is looked at
UNSEEN = r"[aA]ffinity|nodeSelector|imagePullSecrets"


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    with Oracle() as running:
        yield running


def _seed() -> int:
    chosen = os.environ.get("MLOPS_TEST_SEED", str(SEED))
    return random.SystemRandom().randrange(1 << 32) if chosen == "random" else int(chosen)


def _sources() -> list[list[Any]]:
    """Documents that Tekton admits: the cases', and its own examples."""
    root = examples.directory()
    texts = [case.text for case in cases.every() if case.admitted]
    texts += [
        (root / name).read_text() for name, row in examples.table().items() if not row.refused
    ]
    return [[_asked(each) for each in yaml.load_all(text, _Plain) if each] for text in texts]


def _asked(document: dict[str, Any]) -> dict[str, Any]:
    """Without a status, which nobody asks for."""
    return {key: value for key, value in document.items() if key != "status"}


class _Plain(yaml.SafeLoader):
    """Leaves dates as they are written: JSON has none."""


_Plain.yaml_implicit_resolvers = {
    first: [each for each in found if each[0] != "tag:yaml.org,2002:timestamp"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _disagreement(text: str, oracle: Oracle) -> str:
    """What is not the same, and not written down; empty where all is well."""
    theirs, ours = oracle.refusal(text), local.refusal(text)
    if theirs and not ours and not re.search(UNSEEN, theirs):
        return f"Tekton refuses: {theirs}"
    if ours and not theirs and not any(re.search(known, ours) for known in EARLIER):
        return f"only we refuse: {ours}"
    return ""


def test_the_same_verdict_on_documents_made_wrong(oracle: Oracle) -> None:
    seed = _seed()
    sys.stderr.write(f"MLOPS_TEST_SEED={seed}\n")
    chosen, sources = random.Random(seed), _sources()  # noqa: S311 - no secret
    found: dict[str, str] = {}
    for _ in range(int(os.environ.get("MLOPS_TEST_STEPS", STEPS))):
        documents, told = mutations.mutate(chosen.choice(sources), chosen)
        text = "".join(f"---\n{json.dumps(each)}\n" for each in documents)
        wrong = _disagreement(text, oracle)
        if wrong:
            found.setdefault(
                re.sub(r"[\d]+|\"[^\"]*\"|'[^']*'", "*", wrong)[:90], f"{told}\n    {wrong}\n{text}"
            )

    assert not found, f"{len(found)} kinds, one of each:\n\n" + "\n".join(found.values())


def test_documents_as_they_are_get_the_same_verdict(oracle: Oracle) -> None:
    for documents in _sources():
        text = "".join(f"---\n{json.dumps(each)}\n" for each in documents)
        assert not _disagreement(text, oracle), text


def test_mutations_make_most_documents_wrong_and_some_not(oracle: Oracle) -> None:
    chosen, sources = random.Random(1), _sources()  # noqa: S311 - no secret
    refused = 0
    for _ in range(300):
        documents, _told = mutations.mutate(chosen.choice(sources), chosen)
        refused += bool(oracle.refusal("".join(f"---\n{json.dumps(d)}\n" for d in documents)))

    assert 90 < refused < 270
