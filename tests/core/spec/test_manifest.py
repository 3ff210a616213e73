import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genlock_core.errors import InvalidManifest
from genlock_core.spec import rules
from genlock_core.spec.documents import MAX_CHARS, MAX_DEPTH, MAX_DOCUMENTS
from genlock_core.spec.manifest import Manifest, load_manifest
from genlock_core.spec.session import (
    AccessMode,
    AccessSpec,
    Approximation,
    OutputSpec,
    QualityMode,
    Resolution,
    SessionKey,
    Slo,
    SourceSpec,
    SourceType,
    StreamSessionSpec,
    resolve,
)

FOR_A_CLUSTER = ("workerpool",)
EXAMPLES = sorted(
    path for path in (Path(__file__).parents[3] / "examples").glob("*.yaml") if path.stem not in FOR_A_CLUSTER
)
HEAD = "apiVersion: genlock.dev/v1alpha1\nkind: StreamSession\nmetadata: {name: demo}\n"


def mistakes(text: str) -> dict[str, str]:
    """The mistakes that reading finds, by path."""
    with pytest.raises(InvalidManifest) as caught:
        load_manifest(text, origin="a.yaml")
    assert str(caught.value).startswith("a.yaml: ")
    return {problem.path: problem.message for problem in caught.value.problems}


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_read_and_resolved(path: Path) -> None:
    manifests = load_manifest(path.read_text(), origin=path.name)
    assert manifests
    for manifest in manifests:
        assert resolve(manifest.key, manifest.spec).key == manifest.key


def test_there_is_an_example_per_use_and_the_demo_is_what_scripts_rely_on() -> None:
    assert {path.stem for path in EXAMPLES} >= {
        "demo", "low-latency", "quality", "file", "test-pattern", "prompt-only", "private", "two-sessions",
    }  # fmt: skip
    (demo,) = load_manifest(next(path for path in EXAMPLES if path.stem == "demo").read_text())
    assert str(demo.key) == "default/demo"
    assert demo.spec.access == AccessSpec(publish=AccessMode.PUBLIC, view=AccessMode.PUBLIC)
    assert demo.spec.source.type is SourceType.WEBRTC


def test_every_mistake_is_reported_at_once_with_the_path_of_its_field() -> None:
    found = mistakes(
        HEAD
        + """
spec:
  quality_mode: balanced
  steps: 9
  resolution: {width: 833, height: "480"}
  frameRate: 0
  prompt: 12
  noiseScale: high
  slo: {frameDeadline: 10ms, missBudget: 0.01}
  source: {type: camera}
  access: {view: public}
  approximation: {minSteps: 5}
"""
    )
    assert set(found) == {
        "spec.quality_mode", "spec.steps", "spec.resolution.width", "spec.resolution.height", "spec.frameRate",
        "spec.prompt", "spec.noiseScale", "spec.slo.frameDeadline", "spec.slo.missBudget", "spec.source.type",
        "spec.access.view", "spec.approximation.minSteps",
    }  # fmt: skip
    assert found["spec.quality_mode"] == "there is no such field; did you mean qualityMode?"
    assert found["spec.steps"] == "must be at most 4, not 9"
    assert found["spec.resolution.width"] == "must be a multiple of 16, not 833"
    assert found["spec.resolution.height"] == 'must be a whole number, not "480"'
    assert found["spec.prompt"] == "must be text; put 12 in quotes"
    assert found["spec.slo.frameDeadline"] == 'must lie between 50ms and 1m, not "10ms"'
    assert found["spec.access.view"] == 'must be Token or Public, not "public"; did you mean Public?'


def test_a_rule_across_fields_is_reported_beside_mistakes_of_other_fields() -> None:
    found = mistakes(HEAD + "spec: {frameRate: fast, approximation: {minSteps: 3}, source: {path: a.mp4}}")
    assert set(found) == {"spec.frameRate", "spec.approximation.minSteps", "spec.source.path"}


@pytest.mark.parametrize(
    "spec",
    [
        "{steps: many, approximation: {minSteps: 3}}",
        "{qualityMode: best, approximation: {minSteps: 3}}",
        "{source: {type: tape, path: a.mp4}}",
        "{source: tape}",
        "{approximation: null}",
        "[]",
        "text",
    ],
)
def test_a_rule_is_not_judged_on_a_field_that_is_wrong_itself(spec: str) -> None:
    assert len(mistakes(HEAD + f"spec: {spec}")) == 1


@pytest.mark.parametrize("kind", ["WorkerPool", "ModelProfile"])
def test_what_only_a_cluster_takes_is_told_where_it_belongs(kind: str) -> None:
    text = HEAD.replace("StreamSession", kind)
    assert mistakes(text) == {"kind": f"must be StreamSession; a {kind} is for a cluster, kubectl apply takes it"}


def test_low_latency_has_few_steps() -> None:
    found = mistakes(HEAD + "spec: {qualityMode: low-latency, steps: 3}")
    assert found == {
        "spec.steps": "must be at most 2 in the mode low-latency; balanced and quality take up to 4"
    }  # fmt: skip
    assert load_manifest(HEAD + "spec: {qualityMode: low-latency, steps: 2}")
    assert load_manifest(HEAD + "spec: {qualityMode: balanced, steps: 4}")


@pytest.mark.parametrize(
    ("spec", "holds"),
    [
        ("frameRate: 16, slo: {timeToFirstFrame: 250ms}", True),
        ("frameRate: 16, slo: {timeToFirstFrame: 249ms}", False),
        ("frameRate: 4, slo: {timeToFirstFrame: 1s}", True),
        ("frameRate: 4, slo: {timeToFirstFrame: 999ms}", False),
        ("frameRate: 4, slo: {timeToFirstFrame: 500ms}, source: {type: none}", True),
        ("frameRate: 1", True),
    ],
)
def test_no_first_frame_is_promised_before_the_first_chunk_can_have_come(spec: str, holds: bool) -> None:
    """5 frames at 16 a second: the last of them comes 250 ms after the first."""
    text = HEAD + f"spec: {{{spec}}}"
    if holds:
        assert load_manifest(text)
    else:
        assert "at least 4 frame periods" in mistakes(text)["spec.slo.timeToFirstFrame"]


def test_mistakes_of_several_documents_name_their_document() -> None:
    second = HEAD.replace("demo", "b") + "spec: {}"
    text = "\n---\n".join([f"{HEAD}spec: {{steps: 0}}", second, "kind: Pod", f"{HEAD}spec: {{stesp: 1}}"])
    assert mistakes(text) == {
        "document 1 (demo): spec.steps": "must be at least 1, not 0",
        "document 3: kind": "must be StreamSession, not 'Pod'",
        "document 4 (demo): spec.stesp": "there is no such field; did you mean steps?",
    }


def test_the_same_session_twice_is_a_mistake() -> None:
    assert (
        "is there already" in mistakes(f"{HEAD}spec: {{}}\n---\n{HEAD}spec: {{}}")["document 2 (demo): metadata.name"]
    )


@pytest.mark.parametrize(
    ("text", "path", "word"),
    [
        ("", "manifest", "empty"),
        ("# only a comment\n---\n", "manifest", "empty"),
        ("- a\n- b\n", "manifest", "must hold fields"),
        ("a: [1,", "line 1", "not YAML"),
        ("a: &x 1\nb: *x\n", "line 1", "anchor"),
        ("a: 1\nb: 2\na: 3\n", "line 3", "twice"),
        ("? [a]\n: 1\n", "line 1", "key must be text"),
        ("a: !thing {}\n", "line 1", "tag"),
        ('a: "\\UFFFFFFFF"', "manifest", "out of range"),
        ("a: \x07", "manifest", "not YAML"),
        ("[" * (MAX_DEPTH + 1), "line 1", "levels deep"),
        ("a: 1\n---\n" * (MAX_DOCUMENTS + 1), f"line {2 * MAX_DOCUMENTS}", "split the file"),
        ("a" * (MAX_CHARS + 1), "manifest", "characters long"),
        ("kind: StreamSessoin\n", "kind", "did you mean StreamSession?"),
    ],
)
def test_a_text_that_is_no_manifest_is_refused_with_the_reason(text: str, path: str, word: str) -> None:
    assert word in mistakes(text)[path]


def test_laughs_by_the_billion_are_refused_before_they_are_built() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    assert "anchor" in mistakes("\n".join(lines))["line 1"]


@pytest.mark.parametrize(
    "head",
    [
        HEAD.replace("v1alpha1", "v1"),
        HEAD.replace("apiVersion: genlock.dev/v1alpha1\n", ""),
        HEAD.replace("kind: StreamSession\n", ""),
        HEAD.replace("demo", "Demo"),
        HEAD.replace("name: demo", "name: demo, namespace: a_b"),
        HEAD.replace("demo", "a" * 64),
        HEAD.replace("metadata: {name: demo}", "metadata: {}"),
        HEAD.replace("metadata: {name: demo}\n", ""),
    ],
)
def test_a_head_that_is_not_right_is_one_mistake(head: str) -> None:
    assert len(mistakes(head + "spec: {}")) == 1


def test_a_name_that_cannot_stand_in_a_url_says_what_one_looks_like() -> None:
    found = mistakes(HEAD.replace("demo", "My_Demo") + "spec: {}")
    assert found["metadata.name"].startswith("must be a DNS label")
    assert found["metadata.name"].endswith('not "My_Demo"')


def test_json_is_a_manifest_too() -> None:
    document = {
        "apiVersion": "genlock.dev/v1alpha1",
        "kind": "StreamSession",
        "metadata": {"name": "demo", "namespace": "studio"},
        "spec": {"prompt": "a/b", "steps": 3},
    }
    (manifest,) = load_manifest(json.dumps(document, indent="\t").replace("a/b", "a\\/b"))
    assert (str(manifest.key), manifest.spec.prompt, manifest.spec.steps) == ("studio/demo", "a/b", 3)


def test_what_an_api_server_adds_is_no_mistake() -> None:
    (manifest,) = load_manifest(
        HEAD.replace("name: demo", "name: demo, uid: u, resourceVersion: '7', generation: 2, labels: {a: b}")
        + "spec: {}\nstatus: {phase: Live}\n"
    )
    assert manifest.labels == {"a": "b"}


def test_plain_words_stay_text() -> None:
    (manifest,) = load_manifest(HEAD + "spec: {prompt: yes}")
    assert manifest.spec.prompt == "yes"


@pytest.mark.parametrize("steps", ["1e0", "2.0", "0x2", "0b1", "1_0", "010", "true", "null", ".inf", "9" * 5_000])
def test_only_a_plain_whole_number_is_one(steps: str) -> None:
    if steps == "null":
        assert load_manifest(HEAD + "spec: {steps: null}")[0].spec.steps is None
    else:
        assert "spec.steps" in mistakes(HEAD + f"spec: {{steps: {steps}}}")


prompts = st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)
TRICKY = [
    *(
        "yes",
        "null",
        "1e3",
        "~",
        "0x1F",
        "2024-01-01",
        "- a",
        "a: b",
        "#",
        "1.5",
        "'\"",
        "a\nb\n",
        "&x",
        "!a",
        "%",
        "|",
    ),
    *("{a}", "[", "\x85b", "\ufeffb", "a\u2028", "---", "..."),
]
specs = st.builds(
    StreamSessionSpec,
    quality_mode=st.sampled_from(QualityMode),
    steps=st.integers(1, 2),
    resolution=st.none() | st.builds(Resolution, width=st.integers(4, 120).map(lambda n: n * 16), height=st.just(480)),
    frame_rate=st.integers(1, 60),
    prompt=prompts | st.sampled_from(TRICKY),
    seed=st.integers(0, 2**63 - 1),
    noise_scale=st.floats(0.1, 1.0),
    source=st.sampled_from(
        [SourceSpec(), SourceSpec(type=SourceType.FILE, path="a b.mp4"), SourceSpec(type=SourceType.NONE)]
    ),
    output=st.builds(OutputSpec),
    slo=st.builds(Slo),
    approximation=st.just(Approximation(min_steps=1)),
)


@given(st.lists(specs, min_size=1, max_size=3))
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read_as_the_same(written: list[StreamSessionSpec]) -> None:
    manifests = [
        Manifest(SessionKey(name=f"s{number}"), spec, labels={"a": "1"}) for number, spec in enumerate(written)
    ]
    assert load_manifest(json_lines(manifests)) == manifests


def json_lines(manifests: list[Manifest]) -> str:
    """Documents of JSON, which YAML reads as well."""
    documents = [
        {
            "apiVersion": "genlock.dev/v1alpha1",
            "kind": "StreamSession",
            "metadata": {"name": manifest.key.name, "labels": dict(manifest.labels)},
            "spec": manifest.spec.model_dump(mode="json", by_alias=True, exclude_unset=True),
        }
        for manifest in manifests
    ]
    return "\n---\n".join(json.dumps(document) for document in documents)


PIECES = [
    *(
        "apiVersion: genlock.dev/v1alpha1\n",
        "kind: StreamSession\n",
        "metadata: {name: demo}\n",
        "metadata:\n",
        "spec:\n",
    ),
    *(
        "  steps: 9\n",
        "  source: {type: file}\n",
        "  prompt: ",
        "---\n",
        "{",
        "}",
        "[",
        "]",
        "&a ",
        "*a",
        "? ",
        ": ",
        "- ",
    ),
    *("!!python/object:os ", "\t", "'", '"', "\\U", "FFFFFFFF", "%YAML 9.9\n", "<<: ", "~", "1e999", "null", "\u2028"),
    *("\ud800", "|\n", ">"),
]
FIELDS = [
    *("apiVersion", "kind", "metadata", "name", "spec", "steps", "source", "type", "path", "slo", "frameDeadline"),
    *("resolution", "width", "approximation", "minSteps", "qualityMode", "output", "bitrate", "x"),
]
values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8) | st.just("file"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


def assert_read_or_refused(text: str) -> None:
    """Reading ends in a list that is not empty, or in InvalidManifest with problems; nothing else may come out."""
    try:
        result: object = load_manifest(text)
    except InvalidManifest as error:
        result = error.problems
    assert result


@given(st.text(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=14).map("".join) | values.map(json.dumps))
@settings(max_examples=400, deadline=None)
def test_any_text_is_a_list_or_an_invalid_manifest(text: str) -> None:
    assert_read_or_refused(text)


@given(values)
@settings(max_examples=300, deadline=None)
def test_any_spec_is_read_or_refused(spec: object) -> None:
    document = {"apiVersion": "genlock.dev/v1alpha1", "kind": "StreamSession", "metadata": {"name": "a"}, "spec": spec}
    assert_read_or_refused(json.dumps(document))


def test_what_a_session_is_built_on_cannot_be_changed() -> None:
    def wire(spec: StreamSessionSpec) -> dict[str, object]:
        return spec.model_dump(mode="json", by_alias=True)

    old = wire(StreamSessionSpec())
    assert not list(rules.changed(old, wire(StreamSessionSpec(prompt="another", noise_scale=0.5))))
    another = StreamSessionSpec(seed=1, source=SourceSpec(type=SourceType.NONE), frame_rate=24)
    assert [problem.path for problem in rules.changed(old, wire(another))] == ["frameRate", "seed", "source.type"]
