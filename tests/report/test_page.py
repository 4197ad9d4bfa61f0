import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import is_dataclass, replace
from html.parser import HTMLParser
from inspect import get_annotations
from itertools import pairwise
from pathlib import Path

import pytest
from markupsafe import escape

from helpers.report_content import SCRIPT, TAG, minimal, rich
from iaat.errors import UserError
from iaat.evaluate.findings import TRUSTED
from iaat.report import image_content, report_content
from iaat.report import page as page_module
from iaat.report.detail_records import Attempt, Neighbour, Reading, SampleDetail
from iaat.report.page import content_json, render, script, write_page
from iaat.report.report_content import ReportContent
from iaat.report.thumbnails import Sprites
from iaat.report.wall import Reasons, sentence_of

ROOT = Path(__file__).parents[2]
VENDOR = Path(page_module.__file__).parent / "vendor"
PLOTLY = "plotly.js-cartesian-dist-min"
VOID = {"meta", "input", "br", "img", "link", "hr"}
SECTIONS = [
    "overview",
    "tradeoff",
    "radii",
    "attacked",
    "wall",
    "gallery",
    "suspects",
    "surfaces",
    "corruptions",
    "training",
]


class Reader(HTMLParser):
    """Tags of a page with their attributes, the text of each script, and that every tag is closed in its turn."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.scripts = [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def content():
    return rich()


@pytest.fixture(scope="module")
def page(content):
    return render(content)


@pytest.fixture(scope="module")
def read(page):
    return Reader(page)


def test_every_tag_is_closed_in_its_turn(page, read):
    assert page.startswith("<!doctype html>")
    assert read.open == []


def test_ids_are_unique_and_what_refers_to_them_finds_them(read):
    ids = [attributes["id"] for _, attributes in read.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    referred = [attributes["aria-labelledby"] for _, attributes in read.tags if "aria-labelledby" in attributes]
    links = [attributes["href"].removeprefix("#") for attributes in read.all("a")]
    assert "attacked-3" in links
    assert set(referred + links) <= {*ids, "detail-title"}  # the dialog gets its title when it opens


def test_it_needs_nothing_else(read):
    for _, attributes in read.tags:
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            assert not re.match(r"\s*(https?:)?//", attributes.get(name) or "")
        assert not [name for name in attributes if name.startswith("on")]
    (icon,) = read.all("link")
    assert icon["rel"] == "icon"
    assert icon["href"].startswith("data:image/svg+xml;base64,")
    assert not [attributes for attributes in read.all("script") if "src" in attributes]


def test_the_policy_allows_no_request(read):
    (policy,) = [attributes["content"] for attributes in read.all("meta") if "http-equiv" in attributes]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data: blob:"
    assert "connect-src" not in rules
    assert "unsafe-eval" not in policy


def test_the_content_survives(content, read):
    kept = json.loads(read.scripts[0])
    assert kept == json.loads(content_json(content))
    assert kept["classes"] == content.classes


def test_names_never_begin_a_tag(page):
    assert TAG not in page
    assert SCRIPT not in page
    assert "<script>alert" not in page
    assert page.count("<script") == page.count("</script") == 3


def test_headings_are_in_order(read):
    levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert all(level - before <= 1 for before, level in pairwise(levels))


def test_tables_have_captions_and_scopes(read):
    names = [tag for tag, _ in read.tags]
    assert names.count("table") == names.count("caption") == 7
    assert all(attributes.get("scope") in ("col", "row") for attributes in read.all("th"))


def test_all_sections(read):
    assert [attributes["id"] for attributes in read.all("section")] == SECTIONS
    assert [attributes["href"] for attributes in read.all("a")][1 : 1 + len(SECTIONS)] == [
        f"#{name}" for name in SECTIONS
    ]


def test_sections_without_content_are_left_out():
    read = Reader(render(minimal()))
    assert [attributes["id"] for attributes in read.all("section")] == ["overview"]
    assert read.open == []


def test_no_runs_at_all():
    assert Reader(render(ReportContent("nothing", "today", [], [], []))).open == []


def test_serious_findings_are_marked_by_sign_and_word(page):
    row = re.search(r'<td class="verdict serious"[^>]*>.*?</td>', page).group()
    assert "⚠" in row
    assert "do not trust" in row


def test_only_a_robust_model_without_a_sign_of_masking_gets_a_tick(content):
    evaluation = content.evaluations[0]
    gap = {"name": "pgd-gap", "evidence": "-", "advice": "-", "serious": False, "weak_attack": True}
    for text, findings, kind, sign in [
        (TRUSTED, [], "good", "✓"),
        (f"{TRUSTED}; not robust", [], "unknown", "?"),
        ("too few samples to look for masking: 3 of 4", [], "unknown", "?"),
        ("quote the worst case, not PGD: pgd-gap", [gap], "unknown", "!"),
    ]:
        row = replace(evaluation, verdict=text, findings=findings)
        page = render(ReportContent("title", "today", content.classes, content.runs, [row]))
        assert (
            f'<td class="verdict {kind}" data-label="Verdict"><span aria-hidden="true">{sign}</span> {text}</td>'
            in page
        )


def test_two_verdicts_on_one_model_name_the_attacks_of_each(content):
    evaluation = replace(content.evaluations[0], attacks={"PGD-20": 0.4}, n=50)
    other = replace(evaluation, verdict="not checked", attacks={"PGD-20": 0.4, "screening": 0.3}, n=1000)
    page = render(ReportContent("title", "today", content.classes, content.runs, [evaluation, other]))
    assert "<small>of PGD-20 on 50 samples; another evaluation has another verdict</small>" in page
    assert "<small>of PGD-20, screening on 1000 samples; another evaluation has another verdict</small>" in page
    for rows in ([evaluation, evaluation], [evaluation, replace(other, checkpoint="last")]):
        assert "has another verdict" not in render(ReportContent("title", "today", content.classes, content.runs, rows))


def test_suspects_have_their_sentence_without_scripts(content, page):
    kinds = content.gallery.kind
    for place in (kinds.index("label"), kinds.index("ambiguous")):
        assert str(escape(sentence_of(content.wall, place, content.classes))) in page


def test_missing_attacks_and_intervals(content):
    evaluation = content.evaluations[0]
    other = type(evaluation)(0, "best", "trained", "quick 8px linf", "unheard of", [], 5, 0.5, {}, {}, None, 1.0)
    page = render(ReportContent("title", "today", content.classes, content.runs, [evaluation, other]))
    assert page.count("<small>83.0 to 89.0</small>") == 1
    assert 'class="verdict unknown"' in page
    assert "unheard of" in page


def test_a_robust_difference_is_below_the_last_attack_of_its_own_row(content):
    base = content.evaluations[0]
    full, other = ({"PGD-20": robust, "AutoAttack": robust} for robust in (0.56, 0.44))
    quick = {"PGD-20": 0.5, "screening": 0.5}
    rows = [
        replace(base, run=run, suite=suite, attacks=attacks, interval95={})
        for run, suite, attacks in ((0, "full", full), (1, "full", other), (0, "quick", quick))
    ]
    page = render(ReportContent("title", "today", content.classes, content.runs[:2], rows))
    cells = re.findall(r'<td class="number" data-label="([^"]*)">(.*?)</td>', page)
    assert [label for label, cell in cells if "+12.0 on " in cell] == ["AutoAttack"]
    assert 'data-label="screening"' in page


def test_names_that_utf8_cannot_hold(tmp_path):
    file = tmp_path / "page.html"
    write_page(ReportContent("bad \udce9", "today", ["\udce9"], minimal().runs, []), file)
    assert "bad ?" in file.read_text(encoding="utf-8")


def test_it_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    file = tmp_path / "new" / "page.html"
    write_page(minimal(), file)
    before = file.read_bytes()
    monkeypatch.setattr("iaat.report.page.content_json", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_page(minimal(), file)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["page.html"]


def test_a_folder_in_its_place(tmp_path):
    with pytest.raises(UserError, match="cannot write"):
        write_page(minimal(), tmp_path)


def test_two_thousand_thumbnails_stay_below_eight_megabytes():
    assert len(render(rich(count=2000, runs=6))) < 8e6


def test_attacked_images_are_in_the_page_once(content, page):
    (sheet,) = content.under_attack.images.sheets
    assert page.count(sheet) == 1


def test_a_class_under_attack_that_is_not_known_has_a_column_and_is_no_other_class(content):
    (first,) = content.under_attack.results
    unknown = replace(first, confusion=[(0, -1, 0.375), (0, 3, 0.25), *[row for row in first.confusion if row[0]]])
    images = content.under_attack.images
    attack = ["PGD-20", *images.attack[1:]]
    images = replace(images, adversarial=[-1, *images.adversarial[1:]], attack=attack)
    page = render(replace(content, under_attack=replace(content.under_attack, results=[unknown], images=images)))
    table = page[page.index('<table id="confusion">') :]
    assert '<th scope="col" class="number">not known</th>' in table
    assert '<td class="number">38</td></tr>' in table
    assert "<bdi>not known (38 %)</bdi>" in page
    assert "→ <bdi>\N{EN DASH}</bdi>" in page
    assert "not known</th>" not in render(content)


def test_plotly_is_the_file_of_the_registry():
    sums = dict(reversed(line.split()) for line in (VENDOR / "SHA256SUMS").read_text(encoding="utf-8").splitlines())
    assert set(sums) == {"plotly-cartesian.min.js", "plotly-cartesian.LICENSE"}
    for name, digest in sums.items():
        assert hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() == digest
    # The lock file has the registry's digest of the package, by which npm checked what was copied.
    lock = json.loads((ROOT / "package-lock.json").read_text(encoding="utf-8"))
    version = lock["packages"][f"node_modules/{PLOTLY}"]["version"]
    assert f" v{version}\n" in (VENDOR / "plotly-cartesian.min.js").read_text(encoding="utf-8")[:100]


@pytest.mark.skipif(not (ROOT / "node_modules" / PLOTLY).exists(), reason="make lint-scripts installs npm's packages")
def test_plotly_is_what_npm_installs():
    installed = ROOT / "node_modules" / PLOTLY / "plotly-cartesian.min.js"
    assert installed.read_bytes() == (VENDOR / "plotly-cartesian.min.js").read_bytes()


def test_plotly_can_draw_every_kind_of_trace_that_the_page_has():
    bundle = (VENDOR / "plotly-cartesian.min.js").read_text(encoding="utf-8")
    kinds = set(re.findall(r'\btype: "(\w+)"', script())) - {"button", "rect", "data", "range"}  # no traces
    assert kinds == {"scatter", "bar", "box", "heatmap", "contour"}
    for kind in kinds:
        assert f'moduleType:"trace",name:"{kind}"' in bundle


def test_types_of_the_scripts_have_the_fields_of_the_content():
    text = (Path(page_module.__file__).parent / "static" / "types.d.ts").read_text(encoding="utf-8")
    found = {**vars(report_content), **vars(image_content)}.values()
    for record in [*filter(is_dataclass, found), Reasons, SampleDetail, Attempt, Reading, Neighbour]:
        extends = " extends Sprites" if issubclass(record, Sprites) and record is not Sprites else ""
        (block,) = re.findall(rf"interface {record.__name__}{extends} {{(.*?)}}\n", text, re.DOTALL)
        assert re.findall(r"(\w+)\??:", block) == list(get_annotations(record)), record


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_parses(tmp_path):
    file = tmp_path / "page.js"
    file.write_text(script(), encoding="utf-8")
    subprocess.run(["node", "--check", str(file)], check=True, timeout=60)
