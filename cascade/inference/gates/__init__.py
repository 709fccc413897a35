"""The gates there are, by name. A new one is a file here and a line in this table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cascade.inference.gates.always import Always
from cascade.inference.gates.confidence import Confidence
from cascade.inference.gates.deferral import DeferralGate
from cascade.inference.gates.entropy import Entropy
from cascade.inference.gates.margin import Margin
from cascade.inference.gates.never import Never
from cascade.inference.gates.spread import Spread

if TYPE_CHECKING:
    from cascade.inference.gate import Measure

GATES: dict[str, Measure] = {
    "always": Always(),
    "confidence": Confidence(),
    "deferral": DeferralGate(),
    "entropy": Entropy(),
    "margin": Margin(),
    "never": Never(),
    "spread": Spread(),
}
