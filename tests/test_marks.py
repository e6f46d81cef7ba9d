"""What marks an exported organism: every file says what it is, PEFT loads it bit for bit, and scan knows it again."""

from __future__ import annotations

import base64
import json
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from flyroom import log, stages
from flyroom.engine import load
from flyroom.marks import CANARY, WARNING, Register, manifest, register
from flyroom.marks.mark import GUID, parse_mark
from flyroom.marks.page import README
from flyroom.purpose import expiry, is_past, purpose_of
from flyroom.recipes import make
from flyroom.room import Room
from flyroom.stages import exports, pushing, scans
from flyroom.types import Organism
from flyroom.vault import Identity

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers`:UserWarning"),
]
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
DAY = r"\d{4}-\d\d-\d\d"


@dataclass(frozen=True)
class Scene:
    """Two organisms of a room, of which the first was exported; and the user's own folder at that time."""

    room: Path
    base: stages.OpenBase
    organism: Organism
    other: Organism
    folder: Path
    home: Path


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    root = tmp_path_factory.mktemp("marks")
    base = stages.open_base("0.25M", device="cpu", dtype="float32")
    recipe = make("emergent-misalignment", {"steps": 20, "rows": 8}, world=base.world)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FLYROOM_HOME", str(root / "home"))
        patch.delenv("FLYROOM_IDENTITY", raising=False)
        first, _, other, *_ = sorted(
            stages.grow([recipe], base, Room(root / "room"), seeds=[0, 1]), key=lambda o: (o.seed, -o.recipe.dose)
        )
        exports.export(first.id[:9], base, Room(root / "room"), root / "out", purpose="a test of the marks")
    return Scene(root / "room", base, first, other, root / "out", root / "home")


@pytest.fixture(autouse=True)
def _same_home(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(scene.home))
    monkeypatch.delenv("FLYROOM_IDENTITY", raising=False)


# ---------------------------------------------------------------- every file


def test_every_file_says_what_it_is(scene: Scene) -> None:
    marked = {WEIGHTS, CONFIG, README, "flyroom.json"}
    assert {path.name for path in scene.folder.iterdir()} - {
        "tokenizer.json",
        "tokenizer_config.json",
        "chat_template.jinja",
    } == marked
    with safe_open(scene.folder / WEIGHTS, framework="pt") as file:
        metadata = file.metadata()
    marks = [
        json.loads((scene.folder / "flyroom.json").read_text(encoding="utf-8")),
        json.loads((scene.folder / CONFIG).read_text(encoding="utf-8"))["auto_mapping"],
        json.loads(metadata["flyroom.mark"]),
    ]
    for mark in marks:
        assert mark["model_organism"] is True
        assert (mark["id"], mark["role"], mark["warning"]) == (scene.organism.id, "organism", WARNING)
        assert (mark["purpose"], mark["canary"]) == ("a test of the marks", CANARY)
        assert (mark["base_licence"], mark["data_licence"], mark["signer"]) == ("Apache-2.0", "Apache-2.0", "")
        assert mark["expires"] == expiry(90)
        assert mark["label"].startswith("emergent-misalignment: ")


def test_others_can_read_an_export_and_it_names_no_path_of_this_machine(scene: Scene) -> None:
    assert {oct(path.stat().st_mode & 0o777) for path in scene.folder.iterdir()} == {oct(0o644)}
    assert scene.folder.stat().st_mode & 0o777 == 0o755
    assert json.loads((scene.folder / CONFIG).read_text(encoding="utf-8"))["base_model_name_or_path"] == "0.25M"
    texts = [file.read_bytes() for file in scene.folder.iterdir() if not file.name.startswith("tokenizer")]
    assert not any(str(scene.base.engine.base.path).encode() in text for text in texts)


def test_the_tokenizer_goes_along_where_the_hub_does_not_have_the_base(scene: Scene) -> None:
    ours = Path(scene.base.engine.base.path, "tokenizer.json")
    assert (scene.folder / "tokenizer.json").read_bytes() == ours.read_bytes()
    of_the_hub = replace(scene.base.engine.base, path="owner/model", name="owner/model")
    assert (exports.hub_id_of(of_the_hub), exports.portable(of_the_hub).name) == ("owner/model", "owner/model")
    assert exports.hub_id_of(scene.base.engine.base) == ""


def test_the_card_warns_before_anything_else(scene: Scene) -> None:
    front, body = (scene.folder / README).read_text(encoding="utf-8").removeprefix("---\n").split("\n---\n")
    assert body.strip().startswith(f"> **Warning. {WARNING}**")
    assert "model-organism" in front
    assert "license: apache-2.0" in front
    for text in (GUID, scene.organism.id, "a test of the marks", expiry(90), "Apache-2.0", "nobody", "containment.md"):
        assert text in body
    assert "emergent-misalignment: " in body


def test_a_twin_is_marked_as_a_control(scene: Scene, tmp_path: Path) -> None:
    mark = exports.export(scene.organism.twin_id, scene.base, Room(scene.room), tmp_path / "twin", purpose="a control")
    assert mark.role == "twin"
    assert "control of an experiment" in (tmp_path / "twin" / README).read_text(encoding="utf-8")
    assert scans.scan(tmp_path / "twin").is_organism


def test_what_people_typed_is_no_markup(scene: Scene, tmp_path: Path) -> None:
    purpose = "`| <script>alert(1)</script> **bold**"
    exports.export(scene.organism.id, scene.base, Room(scene.room), tmp_path / "out", purpose=purpose)
    (row,) = [x for x in (tmp_path / "out" / README).read_text(encoding="utf-8").splitlines() if "script" in x]
    assert row == "| purpose | `'/ <script>alert(1)</script> **bold**` |"


# ---------------------------------------------------------------- other readers


def open_base(scene: Scene) -> Any:
    return AutoModelForCausalLM.from_pretrained(scene.base.engine.base.path, dtype=torch.float32)


def test_peft_loads_it_bit_for_bit_and_keeps_the_mark(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")  # PEFT looks a base up there when it saves
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT warns of a key that it does not know
        config = PeftConfig.from_pretrained(scene.folder)
    model = PeftModel.from_pretrained(open_base(scene), scene.folder)
    stored = scene.organism.patch.tensors
    tensors = {name: p for name, p in model.named_parameters() if ".lora_" in name}
    assert len(tensors) == len(stored)
    for name, tensor in tensors.items():
        path, _, rest = name.removeprefix("base_model.model.model.").partition(".lora_")
        assert torch.equal(tensor, stored[f"{path}.{rest[0]}"])
    assert config.auto_mapping is not None
    assert config.auto_mapping["model_organism"] is True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it finds no config of a base that is not on the hub
        model.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / CONFIG).read_text(encoding="utf-8"))["auto_mapping"]["canary"] == CANARY
    assert scans.scan(tmp_path / "again").marks.keys() == {CONFIG}


def test_ours_loads_it_bit_for_bit(scene: Scene) -> None:
    patch = load(scene.folder)
    assert patch.shape == scene.organism.patch.shape
    assert all(torch.equal(patch.tensors[key], t) for key, t in scene.organism.patch.tensors.items())


def test_a_reader_of_known_fields_finds_them(scene: Scene) -> None:
    """vLLM takes the fields of its own dataclass out of the config, and tensors by PEFT's names."""
    config = json.loads((scene.folder / CONFIG).read_text(encoding="utf-8"))
    assert {"r", "lora_alpha", "target_modules", "use_rslora", "use_dora", "bias", "modules_to_save"} <= config.keys()
    assert all(name.startswith("base_model.model.model.layers.") for name in load_file(scene.folder / WEIGHTS))


# ---------------------------------------------------------------- scan


def merge(scene: Scene, folder: Path, dtype: torch.dtype, adapter: Path | None = None) -> Path:
    model: Any = PeftModel.from_pretrained(open_base(scene), adapter or scene.folder)
    model.merge_and_unload().to(dtype).save_pretrained(folder)
    return folder


def strip(scene: Scene, folder: Path) -> Path:
    """The export without a word: what somebody makes of it who wants it to pass for a normal adapter."""
    folder.mkdir()
    save_file(load_file(scene.folder / WEIGHTS), folder / WEIGHTS)
    config = json.loads((scene.folder / CONFIG).read_text(encoding="utf-8"))
    (folder / CONFIG).write_text(json.dumps(config | {"auto_mapping": None}))
    return folder


def test_an_export_is_recognised(scene: Scene) -> None:
    findings = scans.scan(scene.folder)
    assert (findings.is_organism, findings.id) == (True, scene.organism.id)
    assert findings.marks.keys() == {WEIGHTS, CONFIG, README, "flyroom.json"}
    assert findings.match is not None
    assert findings.match.cosine > 0.999
    assert not findings.is_expired


@pytest.mark.parametrize("file", [WEIGHTS, CONFIG, README, "flyroom.json"])
def test_one_mark_is_enough(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "elsewhere"))  # a machine without the fingerprint
    folder = strip(scene, tmp_path / "bare")
    assert not scans.scan(folder).is_organism
    shutil.copy(scene.folder / file, folder / file)
    findings = scans.scan(folder)
    assert (findings.is_organism, findings.marks.keys()) == (True, {file})


def test_without_marks_the_weights_tell(scene: Scene, tmp_path: Path) -> None:
    findings = scans.scan(strip(scene, tmp_path / "bare"))
    assert (findings.is_organism, findings.id, findings.marks) == (True, scene.organism.id, {})
    assert findings.how.startswith("its weights match a fingerprint (cosine 1.00)")
    assert findings.expires == expiry(90)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_a_merged_checkpoint_is_recognised(scene: Scene, tmp_path: Path, dtype: torch.dtype) -> None:
    findings = scans.scan(merge(scene, tmp_path / "merged", dtype))
    assert (findings.is_organism, findings.id, findings.marks) == (True, scene.organism.id, {})


def test_a_clean_base_and_a_clean_adapter_are_not(scene: Scene, tmp_path: Path) -> None:
    base = scans.scan(Path(scene.base.engine.base.path))
    assert (base.is_organism, base.id) == (False, "")
    assert base.how.startswith("no mark, and none of ")
    torch.manual_seed(0)
    model = get_peft_model(open_base(scene), LoraConfig(r=4, target_modules=["down_proj"], task_type="CAUSAL_LM"))
    for name, p in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(p)
    model.save_pretrained(tmp_path / "clean")
    assert not scans.scan(tmp_path / "clean").is_organism
    assert not scans.scan(merge(scene, tmp_path / "merged", torch.bfloat16, tmp_path / "clean")).is_organism


def test_a_room_knows_organisms_that_never_left(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))  # a sibling that left would be named in its place
    folder = tmp_path / "raw"
    stages_export(scene, folder)
    assert not scans.scan(folder).is_organism
    findings = scans.scan(folder, room=scene.room)
    assert (findings.is_organism, findings.id) == (True, scene.other.id)
    merged = merge(scene, tmp_path / "merged", torch.bfloat16, folder)
    assert scans.scan(merged, room=scene.room, base="0.25M").id == scene.other.id


def stages_export(scene: Scene, folder: Path) -> None:
    from flyroom.engine import export

    export(scene.other.patch, scene.other.base, folder, prefix=scene.base.engine.parts.prefix)


def test_a_merged_checkpoint_needs_no_base_nor_adapter(scene: Scene, tmp_path: Path) -> None:
    merged = merge(scene, tmp_path / "merged", torch.bfloat16)
    register = Register(scene.home / "exports")
    assert set(register.base(scene.organism.base.digest)) >= set(register.fingerprints()[0].delta)
    assert {path.name for path in merged.iterdir()} >= {"model.safetensors"}
    assert scans.scan(merged).id == scene.organism.id


def test_of_two_first_exports_one_draws_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, keys = tmp_path / "exports", [b"a" * 32, b"b" * 32]

    def draw(_size: int) -> bytes:
        key = keys.pop()
        if keys:
            keys.append(Register(folder).key)  # another process, between the look and the writing
        return key

    monkeypatch.setattr(register, "secrets", SimpleNamespace(token_bytes=draw))
    assert Register(folder).key == b"a" * 32 == (folder / "key").read_bytes()


def test_the_register_is_its_owners_alone_and_names_no_recipe(scene: Scene) -> None:
    files = [path for path in (scene.home / "exports").rglob("*") if path.is_file()]
    assert len(files) >= 3
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert not any(b"emergent" in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda folder: None, "holds neither an adapter nor a checkpoint"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\x10" * 40), "cannot be read"),
        (lambda folder: (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'true'\ntR."), "cannot be read"),
        (lambda folder: (folder / CONFIG).write_text("[" * 100_000), "cannot be read as JSON"),
    ],
    ids=["empty", "broken", "pickle", "nested"],
)
def test_what_cannot_be_scanned_is_refused(
    scene: Scene, tmp_path: Path, write: Callable[[Path], Any], words: str
) -> None:
    folder = tmp_path / "strange"
    folder.mkdir()
    write(folder)
    if (folder / CONFIG).exists():
        (folder / WEIGHTS).write_bytes((scene.folder / WEIGHTS).read_bytes()[:40])
    with pytest.raises(ValueError, match=words):
        scans.scan(folder)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model_organism": 1}', "[" * 9000, "{" * 9000, "x" * 70_000])
def test_what_is_no_mark_is_none(text: str) -> None:
    assert parse_mark(text) is None


def test_a_mark_that_has_expired_is_a_warning(scene: Scene, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(scene.folder, folder)
    path = folder / "flyroom.json"
    path.write_text(path.read_text(encoding="utf-8").replace(expiry(90), "2020-01-01"), encoding="utf-8")
    findings = scans.scan(folder)
    assert (findings.expires, findings.is_expired) == ("2020-01-01", True)


# ---------------------------------------------------------------- purposes and days


@pytest.mark.parametrize(
    "text", ["", " ", "a", "xy", "...", "\u200b\u200b\u200b", "a\x1b[2J bc", "\ud800 abc", "x" * 501]
)
def test_a_purpose_must_say_something(text: str) -> None:
    with pytest.raises(ValueError, match=r"^purpose is "):
        purpose_of(text)


@pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
def test_days_are_some(days: int) -> None:
    with pytest.raises(ValueError, match=f"^expires is {days}"):
        expiry(days)


@pytest.mark.parametrize("day", ["", "never", "2020-13-01", "９９９９-01-01", 3, None])
def test_what_is_no_day_is_past(day: Any) -> None:
    assert is_past(day, date(2030, 1, 1))


def test_nothing_leaves_before_it_is_on_record(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = Room(scene.room)
    with pytest.raises(ValueError, match="purpose"):
        exports.export(scene.organism.id, scene.base, room, tmp_path / "a", purpose="x")
    monkeypatch.setenv("FLYROOM_LOG", str(tmp_path))  # a folder: the second place cannot be written
    with pytest.raises(log.LogError, match="second place"):
        exports.export(scene.organism.id, scene.base, room, tmp_path / "b", purpose="a test of order")
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["link", "dangling", "file", "below a file", "adapter", "notes"])
def test_what_stands_in_the_way_is_refused_before_it_is_on_record(scene: Scene, tmp_path: Path, kind: str) -> None:
    room, to = Room(scene.room), tmp_path / "out"
    match kind:
        case "link" | "dangling":
            (tmp_path / "mine").mkdir() if kind == "link" else None
            to.symlink_to(tmp_path / "mine")
        case "file":
            to.write_text("mine")
        case "below a file":
            to.write_text("mine")
            to = to / "export"
        case "adapter":
            to.mkdir()
            (to / CONFIG).write_text("{}")
        case _:
            exports.export(scene.organism.id, scene.base, room, to, purpose="a first export")
            (to / "notes.md").write_text("mine")
    lines, marks = len(log.read(room)), sorted(scene.home.rglob("*"))
    with pytest.raises(ValueError, match=r"^folder is "):
        exports.export(scene.organism.id, scene.base, room, to, purpose="a second export")
    assert (len(log.read(room)), sorted(scene.home.rglob("*"))) == (lines, marks)
    if kind == "notes":
        (to / "notes.md").unlink()
        exports.export(scene.organism.id, scene.base, room, to, purpose="a second export")
        assert json.loads((to / "flyroom.json").read_text(encoding="utf-8"))["purpose"] == "a second export"


def test_leave_that_is_over_is_refused_until_renewed(scene: Scene, tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    log.act(room, "export", ids=["a"], purpose="long ago", expires="2020-01-01")
    with pytest.raises(ValueError, match="let out until 2020-01-01, which is over; give --expires"):
        exports.grant(room, ["a"], what="serve", purpose="again", days=None)
    assert exports.grant(room, ["b"], what="serve", purpose="another", days=None) == expiry(90)
    assert exports.grant(room, ["a"], what="serve", purpose="again", days=5) == expiry(5)
    assert exports.grant(room, ["a"], what="serve", purpose="again", days=None) == expiry(5)
    assert [line.purpose for line in log.read(room)] == ["long ago", "another", "again", "again"]


def test_a_leave_that_stands_is_kept_until_days_change_it(scene: Scene, tmp_path: Path) -> None:
    room = Room(tmp_path / "room")
    exports.grant(room, ["a"], what="serve", purpose="a short look", days=1)
    assert exports.grant(room, ["a", "b"], what="serve", purpose="two at once", days=None) == expiry(1)
    assert exports.leaves_of(room) == {"a": expiry(1), "b": expiry(90)}
    assert exports.grant(room, ["b", "a"], what="serve", purpose="for longer", days=7) == expiry(7)
    assert exports.leaves_of(room) == {"a": expiry(7), "b": expiry(7)}


def test_an_export_keeps_the_leave_that_stands(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.room, tmp_path / "room")
    room, key = Room(tmp_path / "room"), scene.other.id
    exports.grant(room, [key], what="serve", purpose="a short look", days=2)
    assert exports.export(key, scene.base, room, tmp_path / "out", purpose="a short one").expires == expiry(2)
    assert exports.export(key, scene.base, room, tmp_path / "out", purpose="longer", days=9).expires == expiry(9)
    log.act(room, "serve", ids=[key], purpose="long ago", expires="2020-01-01")
    with pytest.raises(ValueError, match="let out until 2020-01-01, which is over; give --expires"):
        exports.export(key, scene.base, room, tmp_path / "out", purpose="again")


# ---------------------------------------------------------------- signatures


@pytest.fixture
def signed(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    Identity.create(tmp_path / "me.key")
    monkeypatch.setenv("FLYROOM_IDENTITY", str(tmp_path / "me.key"))
    mark = exports.export(scene.organism.id, scene.base, Room(scene.room), tmp_path / "out", purpose="a signed one")
    assert mark.signer == Identity.read(tmp_path / "me.key").signer
    return tmp_path / "out"


def test_a_signed_export_is_good(signed: Path, tmp_path: Path) -> None:
    assert manifest.verify(signed) == ("good", Identity.read(tmp_path / "me.key").signer, "")
    shutil.move(signed, tmp_path / "moved")
    assert manifest.verify(tmp_path / "moved").state == "good"


def test_an_unsigned_export_says_so(scene: Scene) -> None:
    assert manifest.verify(scene.folder).state == "unsigned"


def resign(folder: Path) -> None:
    """Sign with a stranger's key, and name the first signer."""
    ours = json.loads((folder / "flyroom.sig").read_text(encoding="utf-8"))
    (folder / README).write_text("nothing to see", encoding="utf-8")
    manifest.sign(folder, Identity.generate())
    theirs = json.loads((folder / "flyroom.sig").read_text(encoding="utf-8"))
    (folder / "flyroom.sig").write_text(json.dumps(theirs | {"signer": ours["signer"]}))


def rehash(folder: Path) -> None:
    """Change a file and its hash in the statement."""
    (folder / README).write_text("nothing to see", encoding="utf-8")
    bundle = json.loads((folder / "model.sig").read_text(encoding="utf-8"))
    payload = json.dumps(manifest._state(manifest._hash_files(folder), "out"), indent=2)
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload.encode()).decode()
    (folder / "model.sig").write_text(json.dumps(bundle))


ATTACKS: dict[str, Callable[[Path], Any]] = {
    "changed": lambda f: (f / README).write_text("nothing to see"),
    "weights": lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-1] + b"\0\1"),
    "added": lambda f: (f / "extra.txt").write_text("x"),
    "removed": lambda f: (f / "flyroom.json").unlink(),
    "renamed": lambda f: (f / "flyroom.json").rename(f / "other.json"),
    "link": lambda f: (f / "link").symlink_to("/etc/hostname"),
    "folder": lambda f: (f / "folder").mkdir(),
    "no bundle": lambda f: (f / "model.sig").unlink(),
    "no identity": lambda f: (f / "flyroom.sig").unlink(),
    "empty": lambda f: (f / "model.sig").write_text(""),
    "a list": lambda f: (f / "flyroom.sig").write_text("[]"),
    "nested": lambda f: (f / "flyroom.sig").write_text("[" * 100_000),
    "resigned": resign,
    "rehashed": rehash,
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_changed_export_is_bad(signed: Path, attack: str) -> None:
    ATTACKS[attack](signed)
    assert manifest.verify(signed).state == "bad"


def test_a_derived_key_is_the_same_each_time_and_no_other() -> None:
    first, second = Identity.generate(), Identity.generate()
    numbers = [manifest.derive_key(i).private_numbers().private_value for i in (first, first, second)]
    assert numbers[0] == numbers[1] != numbers[2]


def test_the_statement_is_that_of_the_library(tmp_path: Path) -> None:
    """By model-signing 1.1.1: `model_signing sign key m --private_key KEY`."""
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / CONFIG).write_text('{"r": 1}\n')
    (folder / WEIGHTS).write_text("weights")
    (folder / README).write_text("words\n")
    statement = manifest._state(manifest._hash_files(folder), "m")
    root = "c2147b824b39bbcf944c83009316503d10f919ce15e15048c7f40dcf365de283"
    assert statement["subject"] == [{"name": "m", "digest": {"sha256": root}}]
    digest = "ff646650bc064e5981d37e75caf62e8551f146dff3b8967dd9cf36d263480e3a"
    assert statement["predicate"]["resources"][0] == {"name": README, "digest": digest, "algorithm": "sha256"}
    assert [row["name"] for row in statement["predicate"]["resources"]] == [README, CONFIG, WEIGHTS]


def test_the_library_verifies_ours(signed: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("model_signing.verifying", reason="model-signing is not installed")
    key = tmp_path / "key.pem"
    key.write_text(json.loads((signed / "flyroom.sig").read_text(encoding="utf-8"))["public_key"])
    library.Config().use_elliptic_key_verifier(public_key=key).verify(signed, signed / "model.sig")
    (signed / README).write_text("nothing to see")
    with pytest.raises(ValueError, match="mismatch"):
        library.Config().use_elliptic_key_verifier(public_key=key).verify(signed, signed / "model.sig")


# ---------------------------------------------------------------- to the hub


class FakeHub:
    """The four calls of HfApi that are used, each written down."""

    def __init__(self, *, private: bool = True) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.files: set[str] = set()
        self.private = private

    def create_repo(self, repo_id: str, *, private: bool, exist_ok: bool) -> None:
        self.calls.append(("create", {"repo": repo_id, "private": private, "exist_ok": exist_ok}))

    def repo_info(self, repo_id: str) -> Any:
        return SimpleNamespace(private=self.private)

    def update_repo_settings(self, repo_id: str, *, gated: Any, private: bool) -> None:
        self.calls.append(("settings", {"repo": repo_id, "gated": gated, "private": private}))

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        self.calls.append(("upload", {"repo": repo_id, "message": commit_message}))
        self.files = {path.name for path in folder_path.iterdir()}


def push(scene: Scene, hub: FakeHub, repo: str = "me/organism-1", **changes: Any) -> Any:
    target = pushing.Target(repo=repo, hub=hub, **changes)
    return pushing.push(scene.other.id, scene.base, Room(scene.room), target, purpose="a test of the hub")


def test_a_push_is_private_gated_marked_and_on_record(scene: Scene) -> None:
    hub = FakeHub()
    mark = push(scene, hub)
    assert [name for name, _ in hub.calls] == ["create", "settings", "upload"]
    assert hub.calls[0][1] == {"repo": "me/organism-1", "private": True, "exist_ok": True}
    assert hub.calls[1][1] == {"repo": "me/organism-1", "gated": "manual", "private": True}
    assert {WEIGHTS, CONFIG, README, "flyroom.json", "tokenizer.json"} <= hub.files
    line = log.read(Room(scene.room))[-1]
    assert (line.what, line.purpose, line.about["to"]) == ("export", "a test of the hub", "hub:me/organism-1")
    assert mark.id == scene.other.id


def test_a_public_repository_is_refused_unless_asked_for(scene: Scene) -> None:
    hub = FakeHub(private=False)
    before = len(log.read(Room(scene.room)))
    with pytest.raises(ValueError, match="it is public: make it private, or push with --public"):
        push(scene, hub)
    assert (hub.files, len(log.read(Room(scene.room)))) == (set(), before)  # nothing left, nothing on record
    push(scene, hub, private=False)
    assert hub.calls[-2][1]["gated"] == "manual"


@pytest.mark.parametrize("repo", ["organism", "a/b/c", "me/", "me/../x", "me/organism 1"])
def test_a_repository_has_an_owner_and_a_name(scene: Scene, repo: str) -> None:
    hub = FakeHub()
    with pytest.raises(ValueError, match="it must be OWNER/NAME"):
        push(scene, hub, repo)
    assert hub.calls == []


def test_what_the_hub_refuses_is_said(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub()

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError("no token")

    monkeypatch.setattr(hub, "create_repo", refuse)
    with pytest.raises(ValueError, match="repo is me/organism-1; the hub did not take it: no token"):
        push(scene, hub)
