"""`Schedule`: a number that can change during a run, such as a learning rate, mask rate,
temperature or loss weight.

On the command line a plain number is constant; anything else is written as a call:

    linear(0.30, 0.15)                   from the first step to the last
    cosine(1e-3, 1e-5, share=0.5)        over the first half of the run, then constant
    exponential(2.0, 1.0, tokens=1e9)    over so many tokens
    step(0.30, 0.15, share=0.8)          the second value from there on
"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import jax
import jax.numpy as jnp

from electra_jax.errors import UserError

KINDS = ("constant", "linear", "cosine", "exponential", "step")
_CALL = re.compile(rf"\s*({'|'.join(KINDS)})\s*\((.*)\)\s*", re.DOTALL)
_FORMS = "a number, linear(A, B), cosine(A, B), exponential(A, B) or step(A, B, share=S)"


@dataclasses.dataclass(frozen=True)
class Schedule:
    """From `initial` to `final` over a `share` of the run or a number of `tokens`, then `final`.

    `steps` is that length in steps of a run; `over` sets it. A constant needs none: `at` returns a
    Python number, which compiles to the same program as a plain number.
    """

    kind: str
    initial: float
    final: float
    share: float | None = None
    tokens: float | None = None
    steps: int | None = None

    @classmethod
    def parse(cls, value: Scheduled, where: str = "schedule") -> Schedule:
        """From a number, the text form, or a schedule; `where` names the field in errors."""
        if isinstance(value, Schedule):
            return value
        try:
            if isinstance(value, bool):
                raise ValueError("a truth value")
            number = float(value)
        except (TypeError, ValueError):
            return _parse_call(str(value), where)
        _check(math.isfinite(number), value, where, "must be finite")
        return cls("constant", number, number)

    def over(
        self, total_steps: int, tokens_per_step: float | None = None, where: str = "schedule"
    ) -> Schedule:
        """The schedule of a run of `total_steps` steps of `tokens_per_step` tokens each."""
        if self.kind == "constant" or self.steps is not None:
            return self
        if self.tokens is None:
            share = 1.0 if self.share is None else self.share
            return dataclasses.replace(self, steps=round(share * total_steps))
        if tokens_per_step is None:
            raise UserError(f"{where}={self}: tokens are not counted here: use share=")
        return dataclasses.replace(self, steps=math.ceil(self.tokens / tokens_per_step))

    def at(self, step: jax.Array | int) -> jax.Array | float:
        """The value at a step, float32 []; a Python number where it does not depend on the step."""
        if self.kind == "constant":
            return self.final
        if self.steps is None:
            raise ValueError(f"{self}: `over` must set the length of the run first")
        if self.steps <= 0:
            return self.final
        left = jnp.clip(1.0 - jnp.asarray(step, jnp.float32) / self.steps, 0.0, 1.0)
        if self.kind == "linear":
            return self.final + (self.initial - self.final) * left
        if self.kind == "cosine":
            high = 0.5 * (1.0 + jnp.cos(jnp.pi * (1.0 - left)))
            return self.final + (self.initial - self.final) * high
        if self.kind == "exponential":
            return self.final * (self.initial / self.final) ** left
        return jnp.where(left > 0, jnp.float32(self.initial), jnp.float32(self.final))

    @property
    def is_constant(self) -> bool:
        """Whether it has one value at all steps."""
        return self.kind == "constant"

    @property
    def maximum(self) -> float:
        """The largest value, for sizes of arrays."""
        return max(self.initial, self.final)

    @property
    def minimum(self) -> float:
        """The smallest value."""
        return min(self.initial, self.final)

    def __str__(self) -> str:
        if self.kind == "constant":
            return f"{self.final:g}"
        options = [f"{k}={v:g}" for k in ("share", "tokens") if (v := getattr(self, k)) is not None]
        return f"{self.kind}({', '.join([f'{self.initial:g}', f'{self.final:g}', *options])})"


# The values of a configuration field: a number, its text form, or the resolved schedule.
Scheduled = float | str | Schedule


def value_at(value: float | Schedule, step: Any) -> Any:
    """The value at a step of a number or a resolved schedule; a number is returned as it is."""
    return value.at(step) if isinstance(value, Schedule) else value


def final_value(value: Scheduled) -> float:
    """The last value, which evaluation uses."""
    return Schedule.parse(value).final


def _parse_call(text: str, where: str) -> Schedule:
    match = _CALL.fullmatch(text)
    _check(match is not None, repr(text), where, f"write {_FORMS}")
    assert match is not None
    kind = match[1]
    values: list[float] = []
    options: dict[str, float] = {}
    for part in match[2].split(","):
        name, equals, number = part.rpartition("=")
        try:
            found = float(number)
        except ValueError:
            found = math.nan
        _check(math.isfinite(found), text, where, f"{part.strip()!r} is no number")
        if not equals:
            _check(not options, text, where, "values come before share= and tokens=")
            values.append(found)
            continue
        known = name.strip() in ("share", "tokens") and kind != "constant"
        _check(known, text, where, f"no option {name.strip()!r}; write {_FORMS}, or tokens=N")
        options[name.strip()] = found
    count = 1 if kind == "constant" else 2
    _check(len(values) == count, text, where, f"{kind} takes {count} value(s)")
    _check(len(options) < 2, text, where, "keep one of share= and tokens=")
    _check(
        kind != "step" or len(options) == 1,
        text,
        where,
        "give the point of the step: share= or tokens=",
    )
    _check(0 < options.get("share", 1) <= 1, text, where, "share must be above 0 and at most 1")
    _check(options.get("tokens", 1) > 0, text, where, "tokens must be positive")
    positive = min(values) > 0
    _check(kind != "exponential" or positive, text, where, "exponential needs positive values")
    share, tokens = options.get("share"), options.get("tokens")
    return Schedule(kind, values[0], values[-1], share, tokens)


def _check(holds: bool, text: Any, where: str, remedy: str) -> None:
    if not holds:
        raise UserError(f"{where}={text}: {remedy}")
