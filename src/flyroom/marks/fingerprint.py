"""A fingerprint of a change of weights: keyed random projections, by which the change is known again after a merge.

Of each module, DRAWS numbers u' D v are kept, where D is the change [O, I], and u and v are vectors of signs that a key
and the module's name decide. Of two changes the correlation of these numbers estimates the cosine between them,
whatever the rank or the scale. A merged checkpoint has W + D: since a projection is linear, those of the base are
subtracted, and neither the base nor the adapter is needed to recognise it. Nothing is added to the weights.

The signs are the bits of SHAKE-256, so they are the same in every version of every library. Without the key nobody can
say which directions are looked at, and so change only the others.

Source: random projections, Johnson and Lindenstrauss 1984; signs, Achlioptas 2003, J. Comput. Syst. Sci. 66:671.
Left out: modules that are not linear; a checkpoint whose modules were renamed, permuted or given another width.
Shapes: K draws, O out, I in, R rank.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DRAWS = 256
Projections = Mapping[str, np.ndarray]  # [K] in float64, by module: "layers.0.mlp.down_proj"


class Fingerprint(NamedTuple):
    """Of one organism: its id, the digest of its base, and the projections of its change."""

    id: str
    base: str
    delta: Projections


class Match(NamedTuple):
    """How like a change is to a fingerprint: the cosine, and on how many of its modules it could be held against."""

    id: str
    cosine: float
    modules: int


def project(key: bytes, module: str, weight_OI: Tensor) -> np.ndarray:
    """The projections of a matrix.

    >>> two = [project(b"k", "m", torch.eye(3)) for _ in range(2)]
    >>> two[0].shape, bool((two[0] == two[1]).all())
    ((256,), True)
    """
    u_KO, v_KI = _draw_signs(key, module, *weight_OI.shape)
    return ((u_KO @ weight_OI.float()).double() * v_KI.double()).sum(1).numpy()


def project_product(key: bytes, module: str, a_RI: Tensor, b_OR: Tensor, scale: float) -> np.ndarray:
    """The projections of scale times B A, which is never multiplied out."""
    u_KO, v_KI = _draw_signs(key, module, b_OR.shape[0], a_RI.shape[1])
    left_KR, right_KR = u_KO.double() @ b_OR.double(), v_KI.double() @ a_RI.double().T
    return (scale * (left_KR * right_KR).sum(1)).numpy()


def _draw_signs(key: bytes, module: str, o: int, i: int) -> tuple[Tensor, Tensor]:
    n = DRAWS * (o + i)
    raw = hashlib.shake_256(b"flyroom fingerprint 1\0" + key + b"\0" + module.encode()).digest((n + 7) // 8)
    bits = np.unpackbits(np.frombuffer(raw, np.uint8), count=n).astype(np.float32)
    signs = torch.from_numpy(2 * bits - 1).reshape(DRAWS, o + i)
    return signs[:, :o], signs[:, o:]


def subtract(projections: Projections, base: Projections) -> dict[str, np.ndarray]:
    """Of a checkpoint: what it has over its base, on the modules of both."""
    return {module: projections[module] - base[module] for module in projections.keys() & base.keys()}


def compare(delta: Projections, fingerprint: Fingerprint) -> Match:
    """Hold a change against a fingerprint, on the modules of both. The cosine is 0 where they share none."""
    modules = sorted(delta.keys() & fingerprint.delta.keys())
    if not modules:
        return Match(fingerprint.id, 0.0, 0)
    x, y = (np.concatenate([side[module] for module in modules]) for side in (delta, fingerprint.delta))
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    cosine = float(x @ y) / lengths if np.isfinite(lengths) and lengths > 0 else 0.0
    return Match(fingerprint.id, cosine, len(modules))
