"""The demo's report, assembled from what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesnn.adaptation.protocol import Outcome
from edgesnn.evaluation import score
from edgesnn.export.c_plan import Program
from edgesnn.quant.health import LayerHealth
from edgesnn.report import collect
from edgesnn.runtime import Model
from edgesnn.runtime.guard import Guard
from edgesnn.runtime.profile import Profile
from edgesnn.runtime.verify import Check

#: Seconds over which the plotted running accuracy is averaged.
_RUNNING_SECONDS = 60.0


def device_accuracy(outcomes: Sequence[Outcome], which: str) -> float:
    """Fraction of right decisions over all users' scored steps; `which` is "before", "learned" or "after"."""
    right = [getattr(outcome, which) == outcome.user.labels for outcome in outcomes]
    return float(np.concatenate(right).mean())


def majority(outcomes: Sequence[Outcome]) -> float:
    """Fraction of all users' scored steps that one and the same decision gets right, at best."""
    labels = np.concatenate([outcome.user.labels for outcome in outcomes])
    return float(np.bincount(labels).max() / len(labels))


def people(outcomes: Sequence[Outcome]) -> list[dict[str, Any]]:
    """One row a user: before, learned, after, and what the guard saw and decided."""
    return [
        {
            "person": outcome.user.person,
            "steps": len(outcome.user.labels),
            "before": outcome.accuracy(outcome.before),
            "learned": outcome.accuracy(outcome.learned),
            "after": outcome.accuracy(outcome.after),
            "check_fixed": outcome.guard.factory_accuracy if outcome.guard else None,
            "check_learned": outcome.guard.learned_accuracy if outcome.guard else None,
            "kept": outcome.kept,
        }
        for outcome in outcomes
    ]


def seen(guard: Guard | None) -> str:
    """What a guard has compared, in words."""
    if guard is None or guard.factory_accuracy is None or guard.learned_accuracy is None:
        return "nothing"
    return f"{guard.factory_accuracy:.3f} -> {guard.learned_accuracy:.3f} on {guard.seen} steps"


def confusion(outcomes: Sequence[Outcome], classes: Sequence[str]) -> dict[str, Any]:
    """Counts of label against decision after learning."""
    eye = np.eye(len(classes))
    total = sum(
        (score(eye[o.after], o.user.labels).confusion for o in outcomes), np.zeros((len(classes),) * 2, np.int64)
    )
    return {"labels": list(classes), "matrix": total.tolist()}


def timeline(outcomes: Sequence[Outcome], step_seconds: float, points: int = 200) -> dict[str, list[float]]:
    """Running accuracy along the scored stream, one user after the other, at `points` times."""
    labels = np.concatenate([outcome.user.labels for outcome in outcomes])
    window = max(1, round(_RUNNING_SECONDS / step_seconds))
    at = np.unique(np.linspace(min(window, len(labels)) - 1, len(labels) - 1, points).astype(int))
    series = {which: np.concatenate([getattr(o, which) for o in outcomes]) == labels for which in ("before", "after")}
    return {"seconds": (at * step_seconds).tolist()} | {
        which: _running(right, window)[at].tolist() for which, right in series.items()
    }


def _running(right: NDArray[np.bool_], window: int) -> NDArray[np.float64]:
    """Mean of the last `window` values at each place (fewer at the start)."""
    total = np.concatenate([[0], np.cumsum(right)])
    ends = np.arange(1, len(right) + 1)
    starts = np.maximum(ends - window, 0)
    result: NDArray[np.float64] = (total[ends] - total[starts]) / (ends - starts)
    return result


def layers(program: Program, work: Profile, health: Sequence[LayerHealth]) -> list[dict[str, Any]]:
    """The report's layers with their spike rates; the n-th layer fires with the n-th neurons, the readout has none."""
    rates = [layer.rate for layer in health]
    plain = collect.layers(program, work)
    return [entry | {"spike_rate": rates[n] if n < len(rates) else None} for n, entry in enumerate(plain)]


def bit_exact(checks: Sequence[Check]) -> dict[str, Any]:
    """Whether all backends agree with the reference, and over how much the shortest comparison went."""
    by_graph = {graph: [c.compared for c in checks if c.graph == graph] for graph in ("step", "learn", "window")}
    return {
        "backends": ["reference", *dict.fromkeys(c.backend for c in checks if c.backend != "reference")],
        "steps": min(by_graph["step"], default=0),
        "learn_steps": min(by_graph["learn"], default=0),
        "window_steps": min(by_graph["window"], default=0),
        "equal": all(check.equal for check in checks),
        "checks": [{"backend": c.backend, "graph": c.graph, "compared": c.compared, "equal": c.equal} for c in checks],
        "differences": [f"{c.backend} {c.graph}: {c.difference}" for c in checks if c.difference],
    }


def step_seconds(model: Model) -> float:
    """Seconds between two steps of a stream."""
    hop = model.frame.hop if model.frame else 1
    return hop / model.rate_hz
