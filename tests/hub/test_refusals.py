"""What may not go to the Hub does not: runs that did not end, claims that do not hold, other files, secrets."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("huggingface_hub")

import factory
from factory.claims import claims_of
from factory.errors import UserError
from factory.hub.files import Upload
from factory.hub.secrets import require_none
from factory.privacy.claim import Audit, decoded, encoded

from .. import private_pieces
from ..small_runs import Model, one_step, run, text_of
from .places import LICENCE, REPO, a_run, point
from .server import OWNER, Hub

PRIVATE = """\
name: demo
engine: {kind: scripted, script: script.json, model: m}
steps:
  - noisy: {data: {path: tickets.csv}}
output: {license: apache-2.0}
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub = Hub()
    hub.start()
    point(monkeypatch, tmp_path, hub)
    yield hub
    assert not [asked for asked in hub.log if asked.method == "PUT"] or hub.repos
    hub.stop()


def refused(path: Path, hub: Hub, sentence: str, **options: Any) -> None:
    for dry_run in (True, False):
        with pytest.raises(UserError, match=sentence) as caught:
            factory.push(path, REPO, progress=False, dry_run=dry_run, **options)
        assert "\n" not in str(caught.value)
    assert not hub.log  # before anybody was asked


def changed(path: Path, **keys: Any) -> None:
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps(manifest | keys))


def sent(path: Path, **options: Any) -> Any:
    return factory.push(path, REPO, progress=False, **options)


@pytest.mark.parametrize("status", ["running", "failed", "interrupted"])
def test_a_run_that_has_not_ended(hub: Hub, tmp_path: Path, status: str) -> None:
    path = a_run(tmp_path)
    changed(path, status=status)
    refused(path, hub, rf"the run has not ended \({status}\)", partial=True)


def test_no_run_at_all(hub: Hub, tmp_path: Path) -> None:
    refused(tmp_path, hub, "holds no run")


def test_a_preview_goes_up_only_when_asked(hub: Hub, tmp_path: Path) -> None:
    recipe = one_step(tmp_path, [{"text": f"Ticket {n}."} for n in range(9)], output=LICENCE)
    run(recipe, tmp_path / "run", Model(), limit=2)
    refused(tmp_path / "run", hub, "holds a preview; finish it with 'factory run', or push it as it is with --partial")
    assert "**Preview:**" in sent(tmp_path / "run", partial=True).card


def test_a_part_goes_up_only_when_asked(hub: Hub, tmp_path: Path) -> None:
    recipe = one_step(tmp_path, [{"text": f"Ticket {n}."} for n in range(9)], output=LICENCE, accept=20)
    run(recipe, tmp_path / "run", Model())
    refused(tmp_path / "run", hub, "holds a part of what was asked for")
    assert sent(tmp_path / "run", partial=True).changed


@pytest.mark.parametrize("said", [None, "", "  "])
def test_without_a_licence(hub: Hub, tmp_path: Path, said: str | None) -> None:
    refused(a_run(tmp_path, license=said), hub, r"has no licence.*--set output\.license=cc-by-4\.0 asks nothing again")


def test_the_advice_about_the_licence_works(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path, license=None)
    model = Model()
    run(tmp_path / "recipe.yaml", path, model, overrides=["output.license=cc-by-4.0"])
    assert not model.keys
    assert "license: cc-by-4.0\n" in sent(path).card


def test_other_rows_than_the_manifest_tells_of(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path)
    shard = path / "data/train-00000-of-00001.parquet"
    table = pq.read_table(shard)
    pq.write_table(table.slice(1), shard)
    refused(path, hub, "data/ holds 5 rows where manifest.json tells of 6")
    pq.write_table(pa.concat_tables([table.slice(1), table.slice(1, 1)]), shard)
    refused(path, hub, "the files in data/ are not those that the run has written")


def test_a_damaged_shard(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path, 30)
    shard = path / "data/train-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    shard.write_bytes(content[:-20])
    refused(path, hub, "is damaged")
    content[40] ^= 255
    shard.write_bytes(content)
    refused(path, hub, "not those that the run has written")


@pytest.mark.parametrize("folder", ["rejected", "lineage"])
@pytest.mark.parametrize("allow_secrets", [True, False])
def test_a_damaged_shard_of_what_goes_along(hub: Hub, tmp_path: Path, folder: str, allow_secrets: bool) -> None:
    path = tmp_path / "run"
    run(one_step(tmp_path, [{"text": f"Ticket {n}."} for n in range(4)], output=LICENCE), path)
    shard = next((path / folder).glob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-20])
    options: dict[str, Any] = {folder: True, "report": False, "allow_secrets": allow_secrets}
    refused(path, hub, rf"{folder}/.*\.parquet: is damaged", **options)


def test_a_damaged_shard_of_a_run_from_before_there_was_a_digest(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path, 300)
    changed(path, dataset={"status": "complete", "rows": 300})
    assert sent(path, dry_run=True).files
    hub.log.clear()
    shard = path / "data/train-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    content[20:200] = bytes(180)
    shard.write_bytes(content)
    refused(path, hub, "is damaged")


@pytest.mark.parametrize("gone", ["data/train-00001-of-00003.parquet", "recipe.yaml", "data"])
def test_a_file_that_is_missing(hub: Hub, tmp_path: Path, gone: str) -> None:
    path = a_run(tmp_path, rows_per_shard=2)
    (path / gone).rename(tmp_path / "elsewhere")
    refused(path, hub, "not all shards are there|cannot be read|is missing")


@pytest.mark.parametrize("name", ["data/train-00000-of-00001.parquet", "recipe.yaml", "data", "manifest.json"])
def test_symbolic_links_are_not_followed(hub: Hub, tmp_path: Path, name: str) -> None:
    path = a_run(tmp_path)
    (path / name).rename(tmp_path / "elsewhere")
    (path / name).symlink_to(tmp_path / "elsewhere")
    refused(path, hub, "is a symbolic link")


def test_a_strange_shard(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path)
    (path / "data/more.parquet").write_bytes((path / "data/train-00000-of-00001.parquet").read_bytes())
    refused(path, hub, r"more\.parquet: is no shard that a run has written")


def test_a_changed_manifest(hub: Hub, tmp_path: Path) -> None:
    path = a_run(tmp_path)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["recipe"]["seed"] = 7
    (path / "manifest.json").write_text(json.dumps(manifest))
    refused(path, hub, "its recipe has another fingerprint")


def test_a_directory_that_is_in_use(hub: Hub, tmp_path: Path) -> None:
    from factory.rundir import RunDir

    path = a_run(tmp_path)
    with RunDir(path).locked():
        refused(path, hub, "a process is running here")


# --- privacy ------------------------------------------------------------------------------------------


@pytest.fixture
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    private_pieces.register(monkeypatch)
    private_pieces.tickets(tmp_path / "tickets.csv")
    (tmp_path / "script.json").write_text('{"answers": ["a"]}')
    (tmp_path / "demo.yaml").write_text(PRIVATE)
    monkeypatch.chdir(tmp_path)
    factory.run("demo.yaml", "run", engine=Model(), progress=False)
    return tmp_path / "run"


def test_a_private_run_with_a_finite_epsilon_goes_up_with_its_claim(hub: Hub, private: Path) -> None:
    sent(private)
    card = hub.files(REPO)["README.md"].decode()
    assert "`noisy`: this is (2, 1e-05)-differentially private for adding or removing one record." in card
    assert "- differential-privacy\n" in card
    everything = b"".join(hub.files(REPO).values())
    assert not [text for text in private_pieces.SECRETS if text.encode() in everything]


def test_without_a_finite_epsilon(hub: Hub, private: Path) -> None:
    overrides = ["noisy.epsilon=null", "noisy.data.again=true"]
    factory.run("demo.yaml", "infinite", overrides=overrides, engine=Model(), progress=False)
    refused(private.parent / "infinite", hub, r"is not private: .*Do not share these rows")


def test_a_claim_that_an_audit_contradicts(hub: Hub, private: Path) -> None:
    (claim,) = claims_of(json.loads((private / "manifest.json").read_text()))
    audit = Audit(kind="white-box", lower_bound=9.0, confidence=0.95, violation=True)
    (private / "artifacts/noisy/privacy.json").write_bytes(encoded(msgspec.structs.replace(claim, audits=(audit,))))
    refused(private, hub, r"an audit found epsilon of 'noisy' to be at least 9\.00")


def test_a_claim_that_is_not_what_was_done(hub: Hub, private: Path) -> None:
    path = private / "artifacts/noisy/privacy.json"
    claim = decoded(path.read_bytes())
    path.write_bytes(encoded(msgspec.structs.replace(claim, epsilon=math.pi)))
    refused(private, hub, "claim different things")
    path.unlink()
    refused(private, hub, "the claim of privacy rests on it")


def test_a_private_source_without_any_claim(hub: Hub, private: Path) -> None:
    manifest = json.loads((private / "manifest.json").read_text())
    del manifest["privacy"]
    (private / "manifest.json").write_text(json.dumps(manifest))
    refused(private, hub, "reads a private source and claims nothing for it")


def test_a_card_without_the_claim_is_not_sent(hub: Hub, private: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("factory.card.document.section", lambda claims: ["All is well."])
    refused(private, hub, "the card does not say what 'noisy' claims")


# --- secrets ------------------------------------------------------------------------------------------

KEYS = {
    "hf_" + "aB3" * 12: "a Hugging Face token",
    "sk-proj-" + "aB3x" * 8: "an API key",
    "AKIA" + "ABCD1234" * 2: "an AWS key",
    "-----BEGIN RSA PRIVATE KEY-----": "a private key",
    "ghp_" + "aB3x" * 9: "a GitHub token",
}


@pytest.mark.parametrize("key", list(KEYS))
def test_a_key_in_a_row(hub: Hub, tmp_path: Path, key: str) -> None:
    recipe = one_step(tmp_path, [{"text": f"Ticket {n}."} for n in range(9)], output=LICENCE)
    run(
        recipe,
        tmp_path / "run",
        Model(lambda request: f"use {key} for it" if "Ticket 7." in request.messages[0].content else "no"),
    )
    place = r"data/train-00000-of-00001\.parquet: row 8, column 'summary'"
    refused(
        tmp_path / "run", hub, f"{place}: holds what looks like {KEYS[key]}; take it out, or push with --allow-secrets"
    )
    assert sent(tmp_path / "run", allow_secrets=True).changed


KEY = next(iter(KEYS))


def test_a_key_in_the_first_row_is_named_by_its_shard_and_not_by_the_card_that_quotes_it(
    hub: Hub, tmp_path: Path
) -> None:
    run(one_step(tmp_path, [{"text": "Ticket."}], output=LICENCE), tmp_path / "run", Model(lambda _: f"use {KEY}"))
    refused(tmp_path / "run", hub, r"^data/train-00000-of-00001\.parquet: row 1, column 'summary': holds what looks")


@pytest.mark.parametrize("around", ["令牌{}。", "HF_{}_1", "'{}'", "日本{}"])
def test_a_key_with_no_space_before_it(hub: Hub, tmp_path: Path, around: str) -> None:
    said = around.format(KEY)
    recipe = one_step(tmp_path, [{"text": f"Ticket {n}."} for n in range(9)], output=LICENCE)
    run(recipe, tmp_path / "run", Model(lambda request: said if "Ticket 7." in request.messages[0].content else "no"))
    refused(tmp_path / "run", hub, r"row 8, column 'summary': holds what looks like a Hugging Face token")


@pytest.mark.parametrize("value", [["a", KEY], {"deep": [f"a\n{KEY}"]}])
def test_a_key_in_a_list_or_behind_a_line_end_of_json(hub: Hub, tmp_path: Path, value: Any) -> None:
    plain: Any = ["a"] if isinstance(value, list) else {}
    rows = [{"text": f"Ticket {n}.", "more": value if n == 7 else plain} for n in range(9)]
    run(one_step(tmp_path, rows, output=LICENCE), tmp_path / "run")
    refused(tmp_path / "run", hub, r"row 8, column 'more': holds what looks like a Hugging Face token")


@pytest.mark.parametrize("secret", ['of "two" words', "two\nlines of it", "a<b>&c and more", "schön ist es"])
def test_a_secret_as_json_and_html_write_it(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    rows: list[dict[str, Any]] = [{"text": f"Ticket {n}.", "more": {"n": secret} if n == 7 else {}} for n in range(9)]
    run(one_step(tmp_path, rows, output=LICENCE), tmp_path / "run")
    monkeypatch.setenv("MY_PASSWORD", secret)
    refused(tmp_path / "run", hub, "row 8, column 'more': holds the value of MY_PASSWORD", report=False)
    own = {"MY_PASSWORD": secret}
    for name, written in (("recipe.yaml", f"# a\n# {secret}\n"), ("report.html", f"<p>\n{html.escape(secret)}</p>")):
        content = written.encode()
        with pytest.raises(UserError, match=rf"{name}:2: holds the value of MY_PASSWORD"):
            require_none([Upload(name, content, len(content), "")], own)


def test_the_key_that_the_recipe_names_is_a_secret(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"text": f"Ticket {n}."} for n in range(9)]
    recipe = one_step(tmp_path, rows, output=LICENCE, engine={"kind": "server", "api_key_env": "MY_KEY"})
    made = json.loads(recipe.read_text())
    del made["engine"]["script"]
    recipe.write_text(json.dumps(made | {"engine": made["engine"] | {"urls": ["http://127.0.0.1:9/v1"]}}))
    run(recipe, tmp_path / "run", Model(lambda request: "open sesame" if "7." in text_of(request) else "no"))
    monkeypatch.setenv("OTHER", "Ticket 8.")
    monkeypatch.setenv("MY_KEY", "open sesame")
    refused(tmp_path / "run", hub, "row 8, column 'summary': holds the value of MY_KEY", report=False)


def test_a_key_in_the_recipe_is_named_by_its_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = a_run(tmp_path)
    text = (path / "recipe.yaml").read_text()
    (path / "recipe.yaml").write_text(f"{text}# curl http://me:geheim@127.0.0.1\n")
    refused(path, hub, rf"recipe\.yaml:{text.count(chr(10)) + 1}: holds what looks like a password in a URL")
    monkeypatch.setenv("OPENAI_API_KEY", "no form at all")
    (path / "recipe.yaml").write_text(f"{text}# no form at all\n")
    with pytest.raises(UserError, match="holds the value of OPENAI_API_KEY") as caught:
        sent(path)
    assert "no form" not in str(caught.value)
    (path / "recipe.yaml").write_text(f"{text}# {OWNER}\n")
    refused(path, hub, r"(README\.md|recipe\.yaml):\d+: holds the value of HF_TOKEN")


def test_a_password_that_is_no_utf_8_stops_nothing(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_PASSWORD", "geheim\udcff\udcfe12")
    assert sent(a_run(tmp_path)).changed


def test_words_that_look_a_little_like_keys_are_none(hub: Hub, tmp_path: Path) -> None:
    words = "sk-learn-and-other-packages, task-1234567890123456789012, hf_hub_download, AKIA, a PRIVATE KEY"
    recipe = one_step(tmp_path, [{"text": "Ticket"}], output=LICENCE)
    run(recipe, tmp_path / "run", Model(lambda request: words))
    assert sent(tmp_path / "run").changed
