"""The cell: what a detector of somebody else's tries in its process, and what comes of it."""

from __future__ import annotations

import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from cheats import CHEATS, Tries
from fakes import FakeEngine, organism
from test_bench import ALL, MATERIAL, Does, found, run

import flyroom
from flyroom import apart as parting
from flyroom.adapters import added, turn
from flyroom.apart import Apart, DetectorError, introduce, is_ours
from flyroom.bench.code import code_of
from flyroom.cell import Limits, NotIsolated, codec, mode_of, paths, process, scratch, seccomp
from flyroom.cell.carry import Uncarried, carry, look_up
from flyroom.cell.codec import Line, Malformed, Parcel
from flyroom.cell.launch import NEEDED
from flyroom.cell.process import walls_here
from flyroom.detectors import FromClassifier, OutputJudge
from flyroom.detectors.weights import WeightNorm
from flyroom.lab import BenchLab
from flyroom.room import Room
from flyroom.stages import chosen_detectors
from flyroom.types import Access, Finding, Lab, LoRA, Patch, PlugIn, Suspect
from flyroom.vault import private
from tests.tiny_base import bring

WALLED = pytest.mark.skipif(not walls_here(), reason="this kernel has no Landlock or no seccomp")
SUSPECTS = [Suspect(name="a"), Suspect(name="b")]
SMALL = Limits(seconds=60, memory=3 << 30, file=8 << 20, message=8 << 20, messages=200)
SRC = Path(flyroom.__file__).parent


def lab() -> BenchLab:
    return BenchLab(ALL, {}, FakeEngine(), MATERIAL)


def tried(detector: Any, limits: Limits = SMALL) -> list[Finding]:
    with Apart("strict", limits) as work:
        return work(introduce(detector, limits=limits), SUSPECTS, lab(), seed=0)


# ---------------------------------------------------------------- cheats that share a process


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What came of every cheat, and that nothing outside is another."""
    secret = tmp_path_factory.mktemp("room") / "secret"
    secret.write_text("the truth", encoding="utf-8")
    os.environ["PARENT_SECRET"] = "the truth"
    with tempfile.NamedTemporaryFile() as temporary, socket.create_server(("127.0.0.1", 0)) as tcp:
        udp, by_path = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_UNIX)
        by_name, place = socket.socket(socket.AF_UNIX), str(secret.with_name("s"))
        udp.bind(("127.0.0.1", 0))
        by_path.bind(place)
        by_name.bind(f"\0flyroom-{os.getpid()}")
        for line in (by_path, by_name):
            line.listen()
        loot = {
            "pid": os.getpid(),
            "room": str(secret),
            "launch": os.getcwd(),
            "home": str(Path.home()),
            "tests": __file__,
            "judge": str(SRC / "worlds/micro/judge.py"),
            "temporary": temporary.name,
            "weights": str(SRC / "worlds/micro/record.py"),
            "passwords": "/etc/passwd",
            "memory": 6 << 30,
            "tcp": list(tcp.getsockname()),
            "udp": list(udp.getsockname()),
            "unix": place,
            "abstract": f"\0flyroom-{os.getpid()}",
        }
        first, _ = tried(Tries(cheats=CHEATS, loot=loot))
        for line in (udp, by_path, by_name):
            line.close()
    assert sorted(path.name for path in secret.parent.iterdir()) == ["s", "secret"]
    assert secret.read_text(encoding="utf-8") == "the truth"
    yield json.loads(first.claim)
    del os.environ["PARENT_SECRET"]


@WALLED
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the cheats name system calls of x86-64")
@pytest.mark.parametrize("cheat", CHEATS)
def test_a_cheat_reaches_nothing(cheat: str, outcomes: dict[str, str]) -> None:
    assert not outcomes[cheat].startswith("reached"), outcomes[cheat]


def test_there_are_more_than_thirty() -> None:
    assert len(CHEATS) >= 50


@WALLED
@pytest.mark.skipif("namespaces" not in walls_here(), reason="this machine lets nobody make namespaces")
def test_not_even_names_and_sizes_are_to_be_seen(tmp_path: Path) -> None:
    def looks(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        import os

        return found([float(any(map(os.path.lexists, (tmp, "/etc/passwd", "/var", f"{tmp}/..")))) for _ in suspects])

    tmp = str(tmp_path)
    assert [f.suspicion for f in tried(Does(what=looks))] == [0.0, 0.0]


# ---------------------------------------------------------------- cheats that end their process


def forever(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    while True:
        pass


def asks_forever(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    while True:
        lab.topics()


def shouts(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    return [Finding(suspicion=0.0, claim="x" * (9 << 20)) for _ in suspects]


def mumbles(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    socket = vars(lab)["_line"]._socket
    socket.sendall(b"\0\0\0\0\0\0\0\x09\xff\xff\xff\xff\0\0\0\0{")
    return []


def hangs_up(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    vars(lab)["_line"].close()
    return []


def kills_itself(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    import os
    import signal

    os.kill(os.getpid(), signal.SIGSEGV)
    os._exit(9)


def sends_text(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
    return [Finding(suspicion="0.5", claim="") for _ in suspects]  # type: ignore[arg-type]


@WALLED
@pytest.mark.parametrize(
    ("cheat", "error"),
    [
        (forever, "it took longer than 1 s"),
        (asks_forever, "it sent more than 200 messages"),
        (shouts, "a message of 18,874,"),
        (mumbles, "a message cannot be read: "),
        (hangs_up, "its process died with status "),
        (kills_itself, "its process died with status "),
        (sends_text, "findings: 0.suspicion: Input should be a valid number"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_cheat_that_breaks_the_line_is_an_error_by_name(cheat: Callable, error: str) -> None:
    began = time.monotonic()
    with pytest.raises(DetectorError) as fault:
        tried(Does(what=cheat), replace(SMALL, seconds=1) if cheat is forever else SMALL)
    assert str(fault.value).startswith(error)
    assert time.monotonic() - began < 60


# ---------------------------------------------------------------- what is data


def pair() -> tuple[socket.socket, Line]:
    near, far = socket.socketpair()
    return near, Line(far.detach(), 1 << 20)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 8,
        struct.pack(">II", 2, 0) + b"[]",
        struct.pack(">II", 4, 0) + b"null",
        struct.pack(">II", 13, 0) + b'{"what": "x"}',
        struct.pack(">II", 9999, 0),
        struct.pack(">II", 100_000, 0) + b"[" * 100_000,
        struct.pack(">II", 45, 0) + b'{"what":"x","tensors":[["float32",[999999999]]}'[:45],
        struct.pack(">II", 44, 0) + b'{"what":"x","tensors":[["float32",[99999]]]}',
        struct.pack(">II", 42, 0) + b'{"what":"x","tensors":[["float32",["9"]]]}',
        struct.pack(">II", 38, 0) + b'{"what":"x","tensors":[["evil",[9]]]}',
        struct.pack(">II", 40, 0) + b'{"what":"x","tensors":[["float32",[-4]]]}',
        bytes(range(256)),
    ],
)
def test_a_message_of_another_form_is_refused(data: bytes) -> None:
    near, line = pair()
    near.sendall(struct.pack(">Q", len(data)) + data)
    near.close()
    with pytest.raises(Malformed, match="cannot be read"):
        line.receive()
    line.close()


def test_a_message_that_is_too_long_or_cut_or_late_is_refused() -> None:
    near, line = pair()
    near.sendall(struct.pack(">Q", 1 << 62))
    with pytest.raises(Malformed, match="it may have 1,048,576"):
        line.receive()
    near.sendall(struct.pack(">Q", 100))
    with pytest.raises(TimeoutError):
        line.receive(time.monotonic() + 0.05)
    near.close()
    with pytest.raises(EOFError):
        line.receive()
    line.close()


@pytest.mark.parametrize("suspicion", ["0.5", None, [1], {}, "nan"])
def test_findings_of_another_type_are_refused_by_name(suspicion: Any) -> None:
    body = json.dumps([{"suspicion": suspicion, "claim": ""}]).encode()
    with pytest.raises(Malformed, match=r"findings: 0\.suspicion"):
        codec.unpack_findings(Parcel(what="findings", body=body))


@pytest.mark.parametrize("suspicion", [float("nan"), float("inf"), 10**400])
def test_a_suspicion_that_is_not_finite_is_the_benchs_to_refuse(suspicion: float) -> None:
    body = codec.pack_findings([Finding(suspicion=suspicion, claim="")]).body
    (finding,) = codec.unpack_findings(Parcel(what="findings", body=body))
    assert not -1e308 < finding.suspicion < 1e308


@pytest.mark.parametrize(
    ("method", "body", "error"),
    [
        ("close", "{}", AttributeError),
        ("__class__", "{}", AttributeError),
        ("_reach", "{}", AttributeError),
        ("sample", "{}", TypeError),
        ("sample", '{"suspects": ["a"], "asks": []}', TypeError),
        ("sample", '{"suspects": [{"name": 1}], "asks": []}', TypeError),
        ("noised", '{"suspects": [], "sigma": "1", "seed": 0}', TypeError),
        ("cues", '{"kind": ["marks"]}', TypeError),
        ("questions", "not json", TypeError),
    ],
)
def test_a_call_of_another_form_is_refused(method: str, body: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        codec.unpack_call(Parcel(what="call", head={"method": method}, body=body.encode()))


def test_an_error_crosses_as_text() -> None:
    for error in (KeyError("k"), PermissionError("p"), ValueError("v")):
        back = codec.unpack_error(codec.pack_error(error))
        assert (type(back), back.args) == (type(error), error.args)
    odd = codec.unpack_error(Parcel(what="error", head={"kind": "os.system", "text": "true"}))
    assert (type(odd), str(odd)) == (RuntimeError, "os.system: true")


def test_tensors_cross_bit_by_bit() -> None:
    near, far = socket.socketpair()
    one, other = Line(near.detach(), 1 << 24), Line(far.detach(), 1 << 24)
    tensors = [torch.randn(3, 4), torch.tensor(float("nan")), torch.zeros(0, 5), torch.randn(2, 3).bfloat16().T]
    sender = threading.Thread(target=one.send, args=[codec.pack_result("logprobs", tensors)])
    sender.start()
    back = codec.unpack_result("logprobs", other.receive())
    sender.join()
    assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(tensors, back, strict=True))
    assert [b.dtype for b in back] == [a.dtype for a in tensors]
    one.close()
    other.close()


def test_as_many_tensors_cross_as_there_are_rows() -> None:
    near, far = socket.socketpair()
    one, other = Line(near.detach(), 1 << 24), Line(far.detach(), 1 << 24)
    tensors = [torch.tensor([float(i)]) for i in range(60_000)]  # of which a list takes more than 1 MiB
    sender = threading.Thread(target=one.send, args=[codec.pack_result("logprobs", tensors)])
    sender.start()
    back = codec.unpack_result("logprobs", other.receive())
    sender.join()
    assert [int(tensor) for tensor in back] == list(range(60_000))
    one.close()
    other.close()


# ---------------------------------------------------------------- a detector is carried, and not run


HEARD: list[str] = []


class Meta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        HEARD.append("instancecheck")
        return True


class Sly:
    """Says so whenever a line of it is run."""

    def __init__(self) -> None:
        self.holds = [1, 2]

    def __reduce__(self) -> Any:
        HEARD.append("reduce")
        return list, ()

    def __reduce_ex__(self, protocol: Any) -> Any:
        HEARD.append("reduce_ex")
        return list, ()

    def __getstate__(self) -> Any:
        HEARD.append("getstate")

    def __repr__(self) -> str:
        HEARD.append("repr")
        return ""

    def __eq__(self, other: object) -> bool:
        HEARD.append("eq")
        return True

    def __hash__(self) -> int:
        HEARD.append("hash")
        return 0

    def __getattribute__(self, name: str) -> Any:
        HEARD.append(name)
        return object.__getattribute__(self, name)

    @property
    def needs(self) -> Access:
        HEARD.append("needs")
        return Access(0)

    def __call__(self, suspects: Sequence[Suspect], lab: Lab, *, seed: int) -> list[Finding]:
        return found([0.0] * len(suspects))


class SlyList(list):
    def __iter__(self) -> Iterator[Any]:
        HEARD.append("iter")
        return iter(())


GLOBAL = Sly()


def refers_to_a_sly_global() -> Any:
    return GLOBAL


def test_nothing_of_a_detector_is_run_to_carry_it_or_to_name_it() -> None:
    sly = Sly()
    HEARD.clear()
    for value in (sly, [sly, SlyList([3])], refers_to_a_sly_global, Does(what=lambda *args: sly)):
        carry(value)
        code_of(value)  # type: ignore[arg-type]
        look_up(value, "needs")
        is_ours(value)  # type: ignore[arg-type]
    assert HEARD == []


def test_a_class_with_a_metaclass_of_its_own_is_refused_by_name() -> None:
    HEARD.clear()
    with pytest.raises(Uncarried, match="has a metaclass of its own, Meta"):
        carry(Meta("Odd", (), {})())
    assert HEARD == []


@WALLED
def test_what_cannot_be_carried_is_the_detectors_error() -> None:
    guest = introduce(Does(what=(i for i in range(3))))  # type: ignore[arg-type]
    assert guest.error is not None
    assert "generator" in guest.error


def test_nobody_passes_for_one_of_ours() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Poser:
        needs: Access = Access.SAMPLE

    Poser.__module__, Poser.__qualname__ = OutputJudge.__module__, "OutputJudge"
    assert is_ours(OutputJudge())
    assert not is_ours(Poser())  # type: ignore[arg-type]
    assert not is_ours(FromClassifier(classifier=object()))
    assert not is_ours(replace(OutputJudge(), asks=Sly()))  # type: ignore[arg-type]


# ---------------------------------------------------------------- plug-ins


def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> PlugIn:
    (tmp_path / "sly_parts.py").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(bring(tmp_path, "sly_parts", {"flyroom.detectors": {"sly": "sly_parts:make"}}))
    return PlugIn(name="sly", point="sly_parts:make")


@WALLED
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("raise RuntimeError('no luck')", "ImportError: importing sly_parts:make raised RuntimeError: no luck"),
        ("import os; os._exit(0)", "its process died with status 0"),
    ],
)
def test_a_plug_in_that_fails_stops_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, error: str
) -> None:
    plugin = brought(tmp_path, monkeypatch, text)
    with pytest.warns(UserWarning, match=r"the plug-in sly \(sly_parts:make\) of flyroom.detectors is left out"):
        assert "output-judge" in chosen_detectors((), known=False)
    (cell,) = run({"sly": plugin}, isolated=True).cells  # type: ignore[dict-item]
    assert cell.error == error
    assert "sly_parts" not in sys.modules


@WALLED
def test_a_plug_in_works_and_is_never_imported_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sly_helper.py").write_text("SUSPICION = 0.25", encoding="utf-8")
    plugin = brought(
        tmp_path,
        monkeypatch,
        "from sly_helper import SUSPICION\n"
        "from flyroom.types import Access, Finding\n"
        "class Make:\n"
        "    needs = Access.SAMPLE\n"
        "    def __call__(self, suspects, lab, *, seed):\n"
        "        return [Finding(suspicion=SUSPICION, claim='') for _ in suspects]\n"
        "make = Make\n",
    )
    before = code_of(plugin)
    (cell,) = run({"sly": plugin}, isolated=True).cells  # type: ignore[dict-item]
    assert (cell.error, cell.access, {x for side in cell.suspicions.values() for x in side}) == (None, "sample", {0.25})
    assert not {"sly_parts", "sly_helper"} & set(sys.modules)
    (tmp_path / "sly_helper.py").write_text("SUSPICION = 0.5", encoding="utf-8")
    assert code_of(plugin) != before  # a helper beside it is part of what it is


# ---------------------------------------------------------------- where there are no walls


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (process, parting):
        monkeypatch.setattr(module, "walls_here", lambda: ())


@pytest.mark.usefixtures("bare")
def test_without_walls_strangers_need_trust_and_ours_do_not() -> None:
    with pytest.raises(NotIsolated, match=r"the detector Does is not isolated here: .* --isolation trust"):
        run({"it": Does(what=forever)}, isolated=True)
    trusted, ours = run(
        {"it": Does(what=lambda suspects, lab, seed: found([0.0] * len(suspects))), "ours": OutputJudge(asks=4)},
        isolated=True,
        isolation="trust",
    ).cells
    assert (trusted.error, ours.error) == (None, None)


def test_a_way_of_isolation_is_one_of_two() -> None:
    with pytest.raises(ValueError, match="isolation is 'some'; it must be one of strict, trust"):
        mode_of("some")
    with pytest.raises(ValueError, match=r"limits\.seconds is -1"):
        Limits(seconds=-1)


# ---------------------------------------------------------------- when the parent ends


@WALLED
def test_a_cell_dies_with_its_parent() -> None:
    code = (
        "import sys, time\n"
        "from flyroom.cell import Limits\n"
        "from flyroom.cell.paths import readable\n"
        "from flyroom.cell.process import Process, walls_here\n"
        "argv = [sys.executable, '-I', '-S', '-c', 'import time; time.sleep(600)']\n"
        "process = Process(argv, walls=walls_here(), paths=readable({}), limits=Limits())\n"
        "print(process.child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    group = os.getpgid(pid)
    parent.kill()
    parent.communicate()
    for _ in range(100):
        if not _alive(group):
            return
        time.sleep(0.1)
    raise AssertionError("it outlived its parent")


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    states = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True).stdout.split()
    return any(not state.startswith("Z") for state in states)


# ---------------------------------------------------------------- what weights tell


def test_weights_that_are_handed_out_tell_no_seed_and_keep_the_rest() -> None:
    """Of two organisms that share a seed, and so an A, the rows tell it; turned, nothing in them differs by seed."""
    shape, generator = LoRA(rank=2, layers=None, modules=("all",)), torch.Generator().manual_seed(0)
    a = torch.randn(2, 6, generator=generator)
    adapters = [
        Patch(shape=shape, tensors={"x.A": rows, "x.B": torch.randn(4, 2, generator=generator)})
        for rows in (a, a, torch.randn(2, 6, generator=generator))
    ]
    for patch in adapters:
        plain, turned = added(patch)["x"], turn(patch)["x"]
        assert torch.allclose(plain @ plain.T, turned @ turned.T, atol=1e-5)
        assert torch.allclose(torch.linalg.svdvals(plain), torch.linalg.svdvals(turned), atol=1e-5)
        assert turned.shape == plain.shape
        assert not turned[:, 2:].any()
    spaces = [torch.linalg.svd(turn(patch)["x"]).Vh[:2].abs() for patch in adapters]
    assert all(torch.allclose(space, torch.eye(6)[:2], atol=1e-4) for space in spaces)


def test_no_copy_shows_what_was_turned() -> None:
    engine = FakeEngine()
    refs = engine.load([organism(0.5).patch])
    hands = BenchLab(Access.WEIGHTS, {"a": refs[0]}, engine, MATERIAL, turned=True)
    hands._originals["copy"] = "a"
    hands._adapters["copy"] = refs[0]
    hands.weights([Suspect(name="a")])
    with pytest.raises(PermissionError, match="a copy's weights"):
        hands.weights([Suspect(name="copy")])


@WALLED
def test_a_stranger_gets_turned_weights_and_ours_plain_ones() -> None:
    def adds_up(suspects: Sequence[Suspect], lab: Lab, seed: int) -> list[Finding]:
        sums = [sum(float(w[:, 1:].abs().sum()) for w in added.values()) for added in lab.weights(suspects)]
        return found(sums)

    stranger, ours = run({"it": Does(what=adds_up, needs=Access.WEIGHTS), "norm": WeightNorm()}, isolated=True).cells
    assert (stranger.error, {x for side in stranger.suspicions.values() for x in side}) == (None, {0.0})
    (plain,) = run({"norm": WeightNorm()}, isolated=False).cells
    assert ours.suspicions == plain.suspicions


# ---------------------------------------------------------------- what stays hidden, and what is left behind


def is_allowed(path: Path, files: Sequence[str]) -> bool:
    return any(str(place) in files for place in (path, *path.parents))


def test_a_room_is_hidden_wherever_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lib/python", "lib/room", "lib/work", "lib/home", "lib/settings", "mine/room"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "mine" / "__init__.py").touch()
    rooms = [tmp_path / "lib" / "room", tmp_path / "mine" / "room"]
    monkeypatch.setattr(paths, "SYSTEM", (str(tmp_path / "lib"),))
    monkeypatch.setenv("HOME", str(tmp_path / "lib" / "home"))
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "lib" / "settings"))
    monkeypatch.chdir(tmp_path / "lib" / "work")
    for room in rooms:
        Room(room).put("card", "k", {})
    files, _ = paths.readable({"mine": tmp_path / "mine" / "__init__.py"})
    for hidden in (*rooms, *(tmp_path / "lib" / name for name in ("work", "home", "settings"))):
        assert not is_allowed(hidden, files), hidden
    for seen in (tmp_path / "lib" / "python", tmp_path / "mine" / "__init__.py"):
        assert is_allowed(seen, files), seen
    with pytest.raises(NotIsolated, match="which no code in a cell may read"):
        paths.readable({}, [rooms[0] / "method.sh"])


def test_python_may_lie_beside_the_settings_and_not_in_a_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    packages = tmp_path / "home" / "venv" / "site-packages"
    packages.mkdir(parents=True)
    (tmp_path / "home" / "rooms.json").write_text("{}")
    monkeypatch.setenv("FLYROOM_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(paths, "SYSTEM", (str(tmp_path),))
    monkeypatch.setattr(paths, "_python", lambda: [packages])
    files, _ = paths.readable({})
    assert is_allowed(packages, files)
    assert not is_allowed(tmp_path / "home" / "rooms.json", files)
    monkeypatch.setattr(private, "HIDDEN", {tmp_path / "home" / "venv"})  # a room around it
    with pytest.raises(NotIsolated, match=r"site-packages lies in .*venv, which no code in a cell may read"):
        paths.readable({})


def test_flyroom_may_be_started_in_its_own_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(paths.FLYROOM / "detectors")
    assert is_allowed(paths.FLYROOM / "detectors", paths.readable({}).files)


def test_of_the_system_only_what_programs_need_may_be_read() -> None:
    files, _ = paths.readable({})
    assert not is_allowed(Path("/usr/src/app/room"), files)
    assert is_allowed(Path("/usr/bin/env").resolve(), [str(Path(file).resolve()) for file in files])


def behind(walls: Sequence[str], code: str, **more: Any) -> list[str]:
    """What each line of Python, on its own, comes to: "reached", or the name of the error."""
    program = "\n".join(
        f"try: {line}; print('reached')\nexcept Exception as error: print(type(error).__name__)"
        for line in code.strip().split("\n")
    )
    argv = [sys.executable, "-I", "-S", "-c", f"import ctypes, os, resource, signal, socket, threading\n{program}"]
    work = process.Process(argv, walls=walls, paths=paths.readable({}), limits=Limits(), text="x", **more)
    work.child.wait(60)
    out, err = work.texts()
    work.close()
    assert err == ""
    return out.split()


@WALLED
def test_without_namespaces_only_tcp_leaves_a_command() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        place = server.getsockname()
        outcomes = behind(
            NEEDED,
            f"""
socket.socket(socket.AF_INET, socket.SOCK_STREAM)
socket.create_connection({place}, 5)
socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)
socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132)
socket.socket().sendto(b"x", 0x20000000, {place})
socket.socket().sendmsg([b"x"], [], 0x20000000, {place})
""",
            port=1,
        )
    assert outcomes == ["reached", *["PermissionError"] * 6]


@WALLED
def test_without_namespaces_nothing_is_done_to_another_process() -> None:
    pid = os.getpid()
    outcomes = behind(
        NEEDED,
        f"""
resource.getrlimit(resource.RLIMIT_FSIZE)
os.sched_setaffinity(0, os.sched_getaffinity(0))
os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0))
signal.pthread_kill(threading.get_ident(), 0)
resource.prlimit({pid}, resource.RLIMIT_FSIZE)
os.sched_setaffinity({pid}, [0])
os.setpriority(os.PRIO_PROCESS, {pid}, 1)
os.setpriority(os.PRIO_USER, 0, 1)
0 <= ctypes.CDLL(None).syscall(251 if os.uname().machine == "x86_64" else 30, 1, {pid}, 0) or 1 / 0
""",
    )
    assert outcomes == [*["reached"] * 4, *["PermissionError"] * 4, "ZeroDivisionError"]
    program = seccomp.program(network=False, processes=False, signals=False, modes=False)
    assert (seccomp.EQUAL, 1, 0, os.getpid()) in program  # of tgkill, which Landlock may hold before


def test_folders_that_lie_too_deep_for_a_path_are_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()
    handle = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=handle)
        below = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(handle)
    (top / "link").symlink_to(tmp_path)
    (top / "closed").mkdir(mode=0)
    scratch.remove(top)
    assert list(tmp_path.iterdir()) == []


def test_folders_that_may_not_be_written_are_removed_and_one_that_stays_keeps_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may do all of this, so the rules for other users are those of this test."""
    rename = os.rename

    def of_a_user(source: str, goal: str) -> None:
        if os.path.isdir(source) and not os.stat(source).st_mode & 0o200:
            raise PermissionError(source)
        rename(source, goal)

    def never(path: str) -> None:
        if Path(path).read_text() == "stays":
            raise PermissionError(path)
        os.remove(path)

    for name in ("one", "two"):
        (tmp_path / name / "a" / "shut").mkdir(parents=True)
        (tmp_path / name / "a" / "b").write_text("stays" if name == "two" else "")
        (tmp_path / name / "a" / "shut").chmod(0o500)
    monkeypatch.setattr(os, "rename", of_a_user)
    scratch.remove(tmp_path / "one")
    monkeypatch.setattr(os, "unlink", never)
    scratch.remove(tmp_path / "two")
    assert [path.name for path in tmp_path.iterdir()] == ["two"]
    assert [path.read_text() for path in (tmp_path / "two").iterdir()] == ["stays"]


def test_what_a_killed_run_left_is_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ours = scratch.Scratch()
    (tmp_path / "flyroom-cell-killed" / "scratch").mkdir(parents=True)
    (tmp_path / "flyroom-cell-young").mkdir()
    (tmp_path / "another").mkdir()
    for folder in (ours.path, tmp_path / "flyroom-cell-killed", tmp_path / "another"):
        os.utime(folder, (0, 0))
    scratch.sweep()
    assert {path.name for path in tmp_path.iterdir()} == {ours.path.name, "flyroom-cell-young", "another"}
    ours.close()
    assert not ours.path.exists()
