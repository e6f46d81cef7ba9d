"""What torch says of the processor, in versions that can tell and in those that cannot."""

from __future__ import annotations

import pytest
import torch

from flyroom.processor import multiplies_bf16


@pytest.mark.parametrize(
    ("capabilities", "answers"),
    [
        ({"avx512_bf16": False, "amx_bf16": True}, (True, True)),
        ({"avx512_bf16": False, "avx2": True}, (False, False)),
        ({}, (False, True)),
    ],
)
def test_bf16_is_there_where_torch_says_so(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], answers: tuple[bool, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert (multiplies_bf16(unknown=False), multiplies_bf16(unknown=True)) == answers


def test_a_torch_that_cannot_tell_opens_bases_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert (multiplies_bf16(unknown=False), multiplies_bf16(unknown=True)) == (False, True)
